package stage

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/internal/wholefile"
	"github.com/coppice-ml/coppice/report"
)

// Eval asks a model, or prunings of it, the questions of benchmark tasks.
type Eval struct {
	Model        string `yaml:"model"`
	Tasks        `yaml:",inline"`
	AddBOS       string   `yaml:"add_bos"`         // special tokens around every text: auto (for Gemma alone, as the harness), true or false
	Out          string   `yaml:"out"`             // file for the results
	Force        bool     `yaml:"force"`           // replace Out, and start over
	SamplesOut   string   `yaml:"samples_out"`     // file for what came of every document, JSON lines
	RequestsOut  string   `yaml:"requests_out"`    // file for what is sent to the model, JSON lines
	RequestsOnly bool     `yaml:"requests_only"`   // write RequestsOut and stop
	FailUnder    []string `yaml:"fail_under"`      // TASK:METRIC=VALUE, each to be reached
	Bootstrap    int      `yaml:"bootstrap_iters"` // resamples for the standard errors of perplexities
	Plans        []string `yaml:"plans"`           // plan files: evaluate all of them after the whole model
	PlanOuts     []string `yaml:"plan_outs"`       // files for the results of the plans; none: beside Out
	EvalChat     `yaml:",inline"`
	Layers       `yaml:",inline"`
	Engine       `yaml:",inline"`
}

// DefaultEval has every field that is not given.
func DefaultEval() Eval { return Eval{Tasks: DefaultTasks(), AddBOS: "auto", Bootstrap: 100000} }

// Check finds what can be wrong before any file is opened.
func (e Eval) Check() error {
	if err := e.Tasks.Check(); err != nil {
		return err
	}
	if err := e.EvalChat.check(); err != nil {
		return err
	}
	switch {
	case e.Bootstrap < 0:
		return wrong("{bootstrap_iters} %d: want 0 (no such errors) or more", e.Bootstrap)
	case len(e.PlanOuts) > 0 && len(e.PlanOuts) != len(e.Plans):
		return wrong("{plan_outs}: %d files for %s", len(e.PlanOuts), report.Plural(len(e.Plans), "plan"))
	case e.RequestsOnly && e.RequestsOut == "":
		return wrong("{requests_only} goes with {requests_out}, which is not given")
	}
	if err := oneOf("add_bos", e.AddBOS, "auto", "true", "false"); err != nil {
		return err
	}
	return e.Engine.Check()
}

// Run gives the results of the model, or of the whole model and every plan. Where
// they do not reach FailUnder, they come with a Problem of the kind ErrGate.
func (e Eval) Run(ctx context.Context, env Env) ([][]report.Result, error) {
	q, gates, err := e.read(ctx, env)
	if err != nil {
		return nil, evalRemedy(err)
	}
	if e.RequestsOnly {
		return nil, e.writeRequests(q.asked)
	}
	lines, err := e.run(ctx, env, q)
	if err != nil {
		return nil, evalRemedy(err)
	}
	if err := e.writeRequests(q.asked); err != nil { // last: an interrupted run would meet it again
		return nil, err
	}
	return lines, gates.check(lines[0])
}

// read finds what can be wrong before the model is opened, and makes the requests.
func (e Eval) read(ctx context.Context, env Env) (*questions, gates, error) {
	if err := e.Check(); err != nil {
		return nil, nil, err
	}
	if e.Model != "" && !isRemote(e.Model) { // before anything else is tried
		if err := isDir(e.Model); err != nil {
			return nil, nil, err
		}
	}
	if err := e.checkOutputs(); err != nil {
		return nil, nil, err
	}
	selection, err := e.Tasks.choose()
	if err != nil {
		return nil, nil, err
	}
	gates, err := parseGates(e.FailUnder, selection)
	if err != nil {
		return nil, nil, err
	}
	chat, err := e.EvalChat.load(ctx, env, e.Model)
	if err != nil {
		return nil, nil, err
	}
	q, err := e.Tasks.readSelection(ctx, env, selection, chat)
	if err == nil {
		q.asking = chat
	}
	return q, gates, err
}

// checkOutputs refuses files that cannot be written or are there already, before
// anything is done.
func (e Eval) checkOutputs() error {
	outs, err := e.outs()
	if err != nil {
		return err
	}
	for field, paths := range map[string][]string{"out": outs, "samples_out": {e.SamplesOut}, "requests_out": {e.RequestsOut}} {
		for _, path := range paths {
			if path == "" {
				continue
			}
			if _, err := os.Lstat(path); err == nil && !e.Force {
				return failed("%s exists", path).with("replace it with {force}, or name another file")
			}
			if err := Writable(field, path); err != nil {
				return err
			}
		}
	}
	return nil
}

// outs are the files for the results of the whole model, Out itself, and of
// each plan beside it: results.PLAN.json. Without Out their names are empty.
func (e Eval) outs() ([]string, error) {
	outs := []string{e.Out}
	if len(e.PlanOuts) > 0 {
		return append(outs, e.PlanOuts...), nil
	}
	for _, path := range e.Plans {
		out := ""
		if e.Out != "" {
			ext := filepath.Ext(e.Out)
			name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
			out = strings.TrimSuffix(e.Out, ext) + "." + name + ext
			if slices.Contains(outs, out) {
				return nil, wrong("{plans}: the results of two plans would be %s", out).with("give plans file names of their own")
			}
		}
		outs = append(outs, out)
	}
	return outs, nil
}

// Asked are the requests of a task.
type Asked struct {
	Task, Version, Output string
	Documents, Total      int // asked, and of the split
	Requests              []report.Request
}

// Requests are what would be sent to a model, which need not be named.
func (e Eval) Requests(ctx context.Context, env Env) ([]Asked, error) {
	q, _, err := e.read(ctx, env)
	if err != nil {
		return nil, evalRemedy(err)
	}
	out := make([]Asked, len(q.asked))
	for i, a := range q.asked {
		t := a.Task
		out[i] = Asked{Task: t.Name, Version: string(t.Metadata.Version), Output: string(t.Output), Documents: len(a.Docs), Total: a.Total, Requests: a.Lines()}
	}
	return out, nil
}

func (e Eval) writeRequests(asked []*eval.Asked) error {
	if e.RequestsOut == "" {
		return nil
	}
	return writeLines(e.RequestsOut, func(line func(report.Line) error) error {
		for _, a := range asked {
			for _, l := range a.Lines() {
				if err := line(l); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// evalRun is one run of eval over a model.
type evalRun struct {
	Eval
	env   Env
	q     *questions
	s     *Session
	hash  string // of the model
	start time.Time

	session eval.Session
	outs    []string // by pruning
	results *eval.Results
}

func (e Eval) run(ctx context.Context, env Env, q *questions) ([][]report.Result, error) {
	s, err := e.open(ctx, env, q)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	r := &evalRun{Eval: e, env: env, q: q, s: s, start: time.Now()}
	if err := r.prunings(ctx); err != nil {
		return nil, err
	}
	if err := q.encode(ctx, s, e.AddBOS); err != nil {
		return nil, err
	}
	if r.hash, err = s.Checkpoint.Hash(ctx); err != nil {
		return nil, err
	}
	if err := s.Start(e.Engine, nil); err != nil {
		return nil, err
	}
	r.session.Runner, r.session.Encoder = s.Runner, q.encoder
	if err := r.openStates(); err != nil {
		return nil, r.leave(err)
	}
	if err := r.ask(ctx); err != nil {
		return nil, r.leave(err)
	}
	lines := make([][]report.Result, len(r.results.Prunings))
	for i := range lines {
		if err := r.write(i); err != nil {
			return nil, r.leave(err)
		}
		lines[i] = r.results.Prunings[i].Lines(q.asked, s.Compute())
		for j := range lines[i] {
			if i > 0 {
				lines[i][j].Plan = e.Plans[i-1]
			}
		}
	}
	return lines, nil
}

// open opens the model, which several prunings share.
func (e Eval) open(ctx context.Context, env Env, q *questions) (*Session, error) {
	if len(e.Plans) > 0 {
		if err := shareable(q.asked, "{plans}", "leave the task out, or evaluate one {plan} at a time"); err != nil {
			return nil, err
		}
	}
	return Open(ctx, env, e.Model, e.Layers)
}

// prunings are the model as it was opened, and every plan.
func (r *evalRun) prunings(ctx context.Context) (err error) {
	r.session.Prunings = []eval.Pruning{{Keep: r.s.Keep}}
	for _, path := range r.Plans {
		p, err := r.s.readPlanFor(ctx, path)
		if err != nil {
			return err
		}
		r.session.Prunings = append(r.session.Prunings, eval.Pruning{Keep: p.Keep})
	}
	r.outs, err = r.Eval.outs()
	return err
}

// openStates takes up what an interrupted run has left.
func (r *evalRun) openStates() error {
	if r.Out == "" {
		return nil
	}
	c := r.s.Compute()
	for i := range r.session.Prunings {
		p := &r.session.Prunings[i]
		identity := map[string]any{
			"model": r.hash, "layers": report.FormatLayers(r.layers(p)), "dtype": c.DType, "device": c.Device, "provider": c.Provider,
			"add-bos": r.q.encoder.AddBOS, "limit": r.Limit, "num-fewshot": r.Shots, "fewshot-seed": r.FewshotSeed,
		}
		if c.Adapter != "" {
			identity["adapter"] = c.Adapter
		}
		if c.Trained != "" {
			identity["trained"] = c.Trained
		}
		if asking := r.q.asking; asking.hash != "" || asking.Instruction != "" {
			identity["chat"] = []any{asking.hash, asking.Multiturn, asking.Instruction}
		}
		var err error
		if p.State, err = r.openState(r.outs[i]+".partial", identity); err != nil {
			return err
		}
	}
	return r.checkOutputs() // another run may have finished meanwhile
}

// layers are those of a pruning, all of the model's where it names none.
func (r *evalRun) layers(p *eval.Pruning) []int {
	if p.Keep == nil {
		return span(0, r.s.Model.Spec.Layers)
	}
	return p.Keep
}

// openState opens a state file; with Force an empty one, unless somebody is writing
// to it.
func (r *evalRun) openState(path string, settings map[string]any) (*eval.State, error) {
	s, err := eval.OpenState(path, settings)
	if !r.Force || errors.Is(err, eval.ErrInUse) {
		return s, err
	}
	if err == nil {
		err = s.Remove()
	} else if err = os.Remove(path); errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return eval.OpenState(path, settings)
}

// ask asks all prunings everything.
func (r *evalRun) ask(ctx context.Context) (err error) {
	tell, end := r.env.Talk.Progress("eval", Steps)
	defer end()
	r.results, err = eval.Run(ctx, r.session, r.q.selection, r.q.encoded, eval.RunOptions{
		Bootstrap: r.Bootstrap, Progress: tell, Begin: func(a *eval.Asked) {
			r.env.Talk.Detail("%s: %s", a.Task.Name, report.Plural(len(a.Requests), "request"))
		},
	})
	return err
}

// leave says that the same command goes on, where there is something to go on from.
func (r *evalRun) leave(err error) error {
	kept := false
	for _, p := range r.session.Prunings {
		if p.State != nil {
			kept = true
			err = errors.Join(err, p.State.Leave())
		}
	}
	done := 0
	if r.results != nil {
		done = len(r.results.Prunings[0].Tasks)
	}
	if !kept || done == 0 {
		return err
	}
	p := failed("%w", err)
	if errors.Is(err, context.Canceled) {
		p = failed("cancelled")
	}
	p.Kind = ErrPartial
	goesOn := "the same command goes on from there"
	if outOfSpace(err) {
		goesOn = again(err)
	}
	return p.with("%s of %d are done; "+goesOn, report.Plural(done, "task"), len(r.q.asked))
}

// write leaves the files of a pruning.
func (r *evalRun) write(i int) error {
	p := r.results.Prunings[i]
	if r.SamplesOut != "" {
		if err := writeLines(r.SamplesOut, func(line func(report.Line) error) error { return p.Samples(r.q.asked, line) }); err != nil {
			return err
		}
	}
	if r.Out == "" {
		return nil
	}
	origin := report.EvalOrigin{
		Version: r.env.Version, Model: r.Model, ModelHash: r.hash, Layers: r.s.Model.Spec.Layers, Compute: r.s.Compute(),
		AddBOS: r.q.encoder.AddBOS, Limit: r.Limit, Seconds: seconds(r.start), Truncated: r.q.cut(),
	}
	r.q.asking.origin(&origin)
	file, err := p.File(r.q.asked, eval.Origin{
		EvalOrigin: origin,
		Start:      float64(r.start.UnixMilli()) / 1000, Bootstrap: r.Bootstrap, FewshotSeed: r.FewshotSeed, Source: r.Tasks.describe,
	})
	if err != nil {
		return err
	}
	err = wholefile.Write(r.outs[i], func(f *os.File) error {
		e := json.NewEncoder(f)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		return e.Encode(file)
	})
	if err != nil {
		return err
	}
	return r.session.Prunings[i].State.Remove()
}
