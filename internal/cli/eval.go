package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
)

type evalOptions struct {
	dir          string // empty with --show and --requests-only
	tasks        string
	dataDir      string
	taskDir      string
	show         string
	limit        int
	shots        int
	fewshotSeed  uint64
	addBOS       string
	out          string
	force        bool
	samplesOut   string
	requestsOut  string
	requestsOnly bool
	failUnder    []string
	bootstrap    int
	plans        []string
	layers       layerFlags
	engine       engineFlags
}

func newEval(a *app) *cobra.Command {
	var o evalOptions
	c := &cobra.Command{
		Use:   "eval MODEL --tasks A,B",
		Short: "Zero- and few-shot tasks, as lm-evaluation-harness 0.4.5 scores them",
		Long: `Ask a model the questions of benchmark tasks, or a pruning of it that is never
written (--drop, --keep, --plan). Requests and scores are those of
lm-evaluation-harness 0.4.5. Names may hold * and ?; groups and tags are names too:

  piqa hellaswag winogrande arc_easy arc_challenge openbookqa mmlu cmmlu
  wikitext lambada_openai gsm8k
  layer-pruning   the first eight, and the plain mean of their acc

Datasets come from the hub, at pinned revisions, or from --data-dir, which holds
a directory for each (ai2_arc/ARC-Easy/test.jsonl; .csv, .json and .parquet too).

With --out, results.json has the harness's fields and the value of every document,
which "coppice compare" reads. A run that is interrupted goes on where it stopped
when the same command is given again. With --plans, results.json is the whole model's
and results.PLAN.json, beside it, that of each plan.

--show TASK prints the requests of --limit documents and needs no MODEL.`,
		Example: `  coppice eval ./model --tasks layer-pruning --out full.json
  coppice eval ./model --tasks "piqa,mmlu_*" --num-fewshot 5 --drop 24-31
  coppice eval --show piqa --limit 2`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && (o.show != "" || o.requestsOnly) {
				return nil
			}
			return modelArg(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.dir = args[0]
			}
			return withRemedy(o.run(c.Context(), a))
		},
	}
	a.workFlags(c)
	f := c.Flags()
	f.StringVar(&o.tasks, "tasks", "", "tasks, groups and tags, separated by commas")
	f.StringVar(&o.dataDir, "data-dir", "", "directory of datasets (default: the hub)")
	f.StringVar(&o.taskDir, "task-dir", "", "directory of your own task files")
	f.StringVar(&o.show, "show", "", "print the requests of these tasks and stop")
	f.IntVar(&o.limit, "limit", 0, "ask the first so many documents of each task only; marks the results as partial")
	f.IntVar(&o.shots, "num-fewshot", -1, "examples before each question (default: what the task says, mostly 0)")
	f.Uint64Var(&o.fewshotSeed, "fewshot-seed", eval.DefaultFewshotSeed, "seed of drawing examples")
	f.StringVar(&o.addBOS, "add-bos", "auto", "special tokens around every text: auto (for Gemma alone, as the harness), true or false")
	f.StringVar(&o.out, "out", "", "file for the results")
	f.BoolVar(&o.force, "force", false, "replace --out, and start over")
	f.StringVar(&o.samplesOut, "samples-out", "", "file for what came of every document, JSON lines")
	f.StringVar(&o.requestsOut, "requests-out", "", "file for what is sent to the model, JSON lines")
	f.BoolVar(&o.requestsOnly, "requests-only", false, "write --requests-out and stop")
	f.StringArrayVar(&o.failUnder, "fail-under", nil, "exit with code 4 when a metric is worse than this: TASK:METRIC=VALUE, such as piqa:acc=0.7")
	f.IntVar(&o.bootstrap, "bootstrap-iters", 100000, "resamples for the standard errors of perplexities")
	f.StringSliceVar(&o.plans, "plans", nil, "plan files, separated by commas: evaluate all of them and the whole model together")
	for _, other := range []string{"drop", "keep", "plan", "samples-out", "fail-under", "show", "requests-only"} {
		exclusive(c, "plans", other)
	}
	nonEmpty(c, "tasks", "data-dir", "task-dir", "show", "out", "samples-out", "requests-out")
	exclusive(c, "show", "tasks")
	o.layers.register(c)
	o.engine.register(c)
	return c
}

// check finds what can be wrong before any file is opened.
func (o *evalOptions) check() error {
	if o.show != "" {
		o.tasks = o.show
	}
	switch {
	case len(splitNames(o.tasks)) == 0:
		return usage("eval: which tasks?").withHint("pass --tasks, such as --tasks piqa,arc_easy or --tasks layer-pruning")
	case o.limit < 0:
		return usage("--limit %d: want a positive number, or 0 for all documents", o.limit)
	case o.shots < -1:
		return usage("--num-fewshot %d: want 0 or more", o.shots)
	case o.bootstrap < 0:
		return usage("--bootstrap-iters %d: want 0 (no such errors) or more", o.bootstrap)
	case o.requestsOnly && o.requestsOut == "":
		return usage("--requests-only goes with --requests-out, which is not given")
	}
	if err := oneOf("add-bos", o.addBOS, "auto", "true", "false"); err != nil {
		return err
	}
	return o.engine.check()
}

func (o evalOptions) run(ctx context.Context, a *app) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.dir != "" && !isRemote(o.dir) { // before anything else is tried
		if err := isDir(o.dir); err != nil {
			return err
		}
	}
	if err := o.outputsFree(); err != nil {
		return err
	}
	selection, err := o.selectTasks()
	if err != nil {
		return err
	}
	gates, err := parseGates(o.failUnder, selection)
	if err != nil {
		return err
	}
	source := newTaskData(a, o.dataDir)
	asked, err := source.build(ctx, selection.Tasks, eval.BuildOptions{Limit: o.limit, Shots: o.shots, FewshotSeed: o.fewshotSeed})
	if err != nil {
		return evalHints(err)
	}
	if o.show != "" {
		return showRequests(a, asked)
	}
	if o.requestsOut != "" {
		if err := writeRequests(o.requestsOut, asked); err != nil || o.requestsOnly {
			return err
		}
	}
	name := o.dir
	if o.dir, err = a.findModel(ctx, o.dir, hub.NeedAll); err != nil {
		return err
	}
	r := &evalRun{o: o, a: a, name: name, selection: selection, asked: asked, source: source}
	if len(o.plans) > 0 {
		return evalHints(r.runPlans(ctx))
	}
	if err := r.run(ctx); err != nil {
		return evalHints(err)
	}
	return gates.check(r)
}

// outputsFree refuses files that are there already, before anything is done.
func (o evalOptions) outputsFree() error {
	outs, err := o.outs()
	if err != nil || o.force {
		return err
	}
	for _, path := range append(outs, o.samplesOut, o.requestsOut) {
		if path == "" {
			continue
		}
		if _, err := os.Lstat(path); err == nil {
			return failed("%s exists", path).withHint("replace it with --force, or name another file")
		}
	}
	return nil
}

func (o evalOptions) selectTasks() (*eval.Selection, error) {
	l, err := eval.Builtin()
	if err != nil {
		return nil, err
	}
	if o.taskDir != "" {
		if err := l.AddDir(o.taskDir); err != nil {
			return nil, fmt.Errorf("--task-dir: %w", err)
		}
	}
	s, err := l.Select(splitNames(o.tasks))
	var unknown *eval.UnknownError
	if errors.As(err, &unknown) {
		return nil, usage("--tasks: %w", err).withHint("did you mean %s? Your own task files are named by --task-dir", strings.Join(unknown.Nearest, ", "))
	}
	return s, err
}

// evalHints adds remedies to errors of package eval.
func evalHints(err error) error {
	var h *hinted
	if err == nil || errors.As(err, &h) {
		return err
	}
	var long *eval.LengthError
	var gold *eval.GoldError
	var empty *eval.EmptyError
	switch {
	case errors.As(err, &long):
		return failed("%w", err).withHint("use a model with more positions, or leave the task out")
	case errors.As(err, &gold):
		return failed("%w", err).withHint("the file is damaged, or its columns are not those of this task")
	case errors.As(err, &empty):
		return failed("%w", err).withHint("the dataset's files hold no rows for this split")
	case errors.Is(err, eval.ErrState):
		return failed("%w", err).withHint("start over with --force, or name another --out")
	case errors.Is(err, eval.ErrNoBOS):
		return usage("--add-bos true: %w", err).withHint("pass --add-bos auto or false")
	}
	return err
}

func showRequests(a *app, asked []*eval.Asked) error {
	for _, task := range asked {
		if !a.json {
			if err := a.printf("# %s, version %s, %s, %s of %d documents\n", task.Task.Name, task.Task.Metadata.Version, task.Task.Output, strconv.Itoa(len(task.Docs)), task.Total); err != nil {
				return err
			}
		}
		for _, r := range task.Requests {
			if a.json {
				if err := a.line(requestLine(task, r)); err != nil {
					return err
				}
				continue
			}
			if err := a.printf("## document %d, choice %d\n%s⟦%s⟧\n", r.Doc, r.Choice, r.Context, r.Continuation); err != nil {
				return err
			}
		}
	}
	return nil
}

func requestLine(a *eval.Asked, r eval.Request) report.Request {
	return report.Request{Task: a.Task.Name, DocID: r.Doc, Choice: r.Choice, Context: r.Context, Continuation: r.Continuation}
}

func writeRequests(path string, asked []*eval.Asked) error {
	return writeLines(path, func(line func(report.Line) error) error {
		for _, a := range asked {
			for _, r := range a.Requests {
				if err := line(requestLine(a, r)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// addsBOS decides whether texts get special tokens.
func (o evalOptions) addsBOS(config []byte) bool {
	if o.addBOS != "auto" {
		return o.addBOS == "true"
	}
	var c struct {
		ModelType string `json:"model_type"`
	}
	// The harness's rule, by the name in config.json.
	return json.Unmarshal(config, &c) == nil && strings.Contains(c.ModelType, "gemma")
}

// statePath is where a run that is not finished keeps what it has.
func (o evalOptions) statePath() string { return o.out + ".partial" }

// gate is a value that a metric must reach.
type gate struct {
	text, task, metric, filter string
	value                      float64
}

type gates []gate

func parseGates(texts []string, s *eval.Selection) (gates, error) {
	var out gates
	for _, text := range texts {
		left, number, ok := strings.Cut(text, "=")
		task, metric, named := strings.Cut(left, ":")
		value, err := strconv.ParseFloat(number, 64)
		if !ok || !named || err != nil {
			return nil, usage("--fail-under %s: want TASK:METRIC=VALUE, such as piqa:acc=0.7", text)
		}
		g := gate{text: text, task: task, value: value}
		g.metric, g.filter, _ = strings.Cut(metric, ",")
		known := selectedMetrics(s, task)
		if known == nil {
			return nil, usage("--fail-under %s: %q is not among --tasks", text, task)
		}
		if !slices.Contains(known, g.metric) {
			return nil, usage("--fail-under %s: %s has no metric %q", text, task, g.metric).withHint("it has %s", strings.Join(known, ", "))
		}
		out = append(out, g)
	}
	return out, nil
}

func selectedMetrics(s *eval.Selection, name string) []string {
	var out []string
	for _, t := range s.Tasks {
		if t.Name == name {
			for _, m := range t.Metrics {
				out = append(out, m.Metric)
			}
		}
	}
	for _, g := range s.Groups {
		if g.Name == name {
			for _, m := range g.Aggregate {
				out = append(out, m.Metric)
			}
		}
	}
	return out
}

// check compares the results with what is asked of them.
func (gs gates) check(r *evalRun) error {
	var failures []string
	for _, g := range gs {
		for _, l := range r.lines {
			if l.Task != g.task || l.Metric != g.metric || g.filter != "" && l.Filter != g.filter {
				continue
			}
			v := float64(l.Value)
			if l.HigherIsBetter && !(v >= g.value) || !l.HigherIsBetter && !(v <= g.value) {
				failures = append(failures, fmt.Sprintf("%s: %s is %s", g.text, l.Metric, l.Value))
			}
		}
	}
	if len(failures) == 0 {
		return nil
	}
	return &hinted{err: fmt.Errorf("--fail-under is not met: %s", strings.Join(failures, "; ")), kind: errGate}
}

// writeLines writes JSON lines to a file that appears complete or not at all.
func writeLines(path string, each func(line func(report.Line) error) error) error {
	return writeWhole(path, func(f *os.File) error {
		w := newBuffered(f)
		if err := each(func(l report.Line) error { return report.Write(w, l) }); err != nil {
			return err
		}
		return w.Flush()
	})
}

// writeWhole writes a file under another name and gives it its own when it is complete.
func writeWhole(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}
