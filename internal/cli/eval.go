package cli

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newEval(a *app) *cobra.Command {
	o := stage.DefaultEval()
	var show string
	all := false
	c := &cobra.Command{
		Use:   "eval MODEL --tasks A,B",
		Short: "Zero- and few-shot tasks, as lm-evaluation-harness 0.4.5 scores them",
		Long: `Ask a model the questions of benchmark tasks, or a pruning of it that is never
written (--drop, --keep, --plan). Requests and scores are those of
lm-evaluation-harness 0.4.5. Names may hold * and ?; groups and tags are names too:

  piqa hellaswag winogrande arc_easy arc_challenge openbookqa mmlu cmmlu
  wikitext lambada_openai gsm8k boolq sciq race commonsense_qa
  llm-pruner      boolq and the first six, as in LLM-Pruner's tables
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
			if len(args) == 0 && (show != "" || o.RequestsOnly) {
				return nil
			}
			return modelArg(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.Model = args[0]
			}
			if err := atLeastOne(c, "limit", o.Limit); err != nil {
				return err
			}
			if show != "" {
				o.Names = show
				return showRequests(c.Context(), a, o)
			}
			return runEval(c.Context(), a, o, all)
		},
	}
	a.workFlags(c)
	c.Flags().StringVar(&show, "show", "", "print the requests of these tasks and stop")
	evalFlags(c, &o)
	allFlag(c, &all)
	exclusive(c, "show", "tasks")
	layerFlags(c, flagsLayers, &o.Layers)
	engineFlags(c, &o.Engine)
	adapterFlag(c, &o.Engine)
	return c
}

func evalFlags(c *cobra.Command, o *stage.Eval) {
	f := c.Flags()
	f.StringVar(&o.Names, "tasks", "", "tasks, groups and tags, separated by commas")
	f.StringVar(&o.DataDir, "data-dir", "", "directory of datasets (default: the hub)")
	f.StringVar(&o.TaskDir, "task-dir", "", "directory of your own task files")
	f.IntVar(&o.Limit, "limit", 0, "ask the first so many documents of each task only; marks the results as partial")
	f.IntVar(&o.Shots, "num-fewshot", o.Shots, "examples before each question (default: what the task says, mostly 0)")
	f.Uint64Var(&o.FewshotSeed, "fewshot-seed", o.FewshotSeed, "seed of drawing examples")
	f.StringVar(&o.AddBOS, "add-bos", o.AddBOS, "special tokens around every text: auto (for Gemma alone, as the harness), true or false")
	f.BoolVar(&o.EvalChat.Apply, "apply-chat-template", false, "ask in the model's chat template")
	f.StringVar(&o.EvalChat.Template, "chat-template", "", "with it: another template, a .jinja file or a built-in one")
	f.BoolVar(&o.EvalChat.Multiturn, "fewshot-as-multiturn", false, "with it: examples are turns of their own")
	f.StringVar(&o.EvalChat.Instruction, "system-instruction", "", "said before everything")
	f.StringVar(&o.Out, "out", "", "file for the results")
	f.BoolVar(&o.Force, "force", false, "replace --out, and start over")
	f.StringVar(&o.SamplesOut, "samples-out", "", "file for what came of every document, JSON lines")
	f.StringVar(&o.RequestsOut, "requests-out", "", "file for what is sent to the model, JSON lines")
	f.BoolVar(&o.RequestsOnly, "requests-only", false, "write --requests-out and stop")
	f.StringArrayVar(&o.FailUnder, "fail-under", nil, "exit with code 4 when a metric is worse than this: TASK:METRIC=VALUE, such as piqa:acc=0.7")
	f.IntVar(&o.Bootstrap, "bootstrap-iters", o.Bootstrap, "resamples for the standard errors of perplexities")
	f.StringSliceVar(&o.Plans, "plans", nil, "plan files, separated by commas: evaluate all of them and the whole model together")
	for _, other := range []string{"drop", "keep", "plan", "samples-out", "fail-under", "show", "requests-only"} {
		exclusive(c, "plans", other)
	}
	nonEmpty(c, "tasks", "data-dir", "task-dir", "show", "out", "samples-out", "requests-out")
}

func showRequests(ctx context.Context, a *app, o stage.Eval) error {
	tasks, err := o.Requests(ctx, a.env())
	if err != nil {
		return err
	}
	for _, task := range tasks {
		if !a.json {
			if err := a.printf("# %s, version %s, %s, %d of %d documents\n", task.Task, task.Version, task.Output, task.Documents, task.Total); err != nil {
				return err
			}
		}
		for _, r := range task.Requests {
			if a.json {
				err = a.line(report.Shown{Request: r})
			} else {
				err = a.printf("## document %d, choice %d\n%s⟦%s⟧\n", r.DocID, r.Choice, r.Context, r.Continuation)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func runEval(ctx context.Context, a *app, o stage.Eval, all bool) error {
	lines, err := o.Run(ctx, a.env())
	if lines == nil || err != nil && !errors.Is(err, stage.ErrGate) {
		return err
	}
	printed := printResults
	if len(o.Plans) > 0 {
		printed = printPlans
	}
	if o.Out != "" {
		defer a.note("wrote %s", o.Out)
	}
	return errors.Join(printed(a, lines, all), err)
}

func printResults(a *app, lines [][]report.Result, all bool) error {
	if slices.ContainsFunc(lines[0], func(l report.Result) bool { return l.Partial }) {
		a.warn("the results are partial: not all documents of every task were asked")
	}
	if a.json {
		return jsonLines(a, lines[0])
	}
	o := outline(resultEntries(lines[0]), all)
	t := &report.Table{Header: []string{"task", "version", "shots", "metric", "value", "stderr", "documents"}}
	if a.terminal { // what fits into 80 columns; the rest is the same in all rows, or warned of
		t.Header = []string{"task", "metric", "value", "stderr", "documents"}
	}
	for _, i := range o.rows {
		if o.apart(i) {
			t.Rule()
		}
		l := lines[0][i]
		metric := report.String(l.Metric)
		if l.Filter != "none" {
			metric = report.String(l.Metric + "," + l.Filter)
		}
		if a.terminal {
			t.Add(report.String(l.Task), metric, report.Float(l.Value), report.Float(l.StdErr), report.Int(l.N))
		} else {
			t.Add(report.String(l.Task), report.String(l.Version), report.Int(l.Shots), metric, report.Float(l.Value), report.Float(l.StdErr), documents(l))
		}
	}
	if err := a.table(t); err != nil {
		return err
	}
	a.noteLeft(o)
	return nil
}

func resultEntries(lines []report.Result) []entry {
	out := make([]entry, len(lines))
	for i, l := range lines {
		out[i] = entry{l.Task, l.Members}
	}
	return out
}

// jsonLines prints all results.
func jsonLines[T report.Line](a *app, lines []T) error {
	for _, l := range lines {
		if err := a.line(l); err != nil {
			return err
		}
	}
	return nil
}

// documents says how many were asked.
func documents(l report.Result) report.Cell {
	n := strconv.Itoa(l.N)
	if l.Partial {
		n += " (partial)"
	}
	return report.String(n)
}

func printPlans(a *app, lines [][]report.Result, all bool) error {
	if a.json {
		return jsonLines(a, slices.Concat(lines...))
	}
	t := &report.Table{Header: []string{"plan", "task", "metric", "value", "stderr", "documents"}}
	var o outlined
	for _, of := range lines {
		o = outline(resultEntries(of), all)
		for _, i := range o.rows {
			l := of[i]
			name := l.Plan
			if name == "" {
				name = "(the whole model)"
			}
			t.Add(report.String(name), report.String(l.Task), report.String(l.Metric), report.Float(l.Value), report.Float(l.StdErr), documents(l))
		}
	}
	if err := a.table(t); err != nil {
		return err
	}
	a.noteLeft(o)
	return nil
}
