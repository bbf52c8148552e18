package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

func newBuffered(w io.Writer) *bufio.Writer { return bufio.NewWriterSize(w, 1<<16) }

// evalRun is one run of eval over a model.
type evalRun struct {
	o         evalOptions
	a         *app
	name      string // of the model, as it was given
	selection *eval.Selection
	asked     []*eval.Asked
	source    *taskData

	s        *session
	encoder  *eval.Encoder
	hash     string
	state    *eval.State
	outcomes map[string]*eval.Outcome
	groups   []eval.GroupOutcome
	lines    []report.Result
	start    time.Time
	progress func(done, total int64)
}

func (r *evalRun) run(ctx context.Context) error {
	r.start = time.Now()
	var err error
	if r.s, err = r.o.layers.open(r.o.dir); err != nil {
		return err
	}
	defer r.s.close()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.openState(); err != nil {
		return err
	}
	if err := r.answerAll(ctx); err != nil {
		return r.leave(err)
	}
	if err := r.finish(); err != nil {
		return r.leave(err)
	}
	if err := r.write(); err != nil {
		return r.leave(err)
	}
	return r.print()
}

// openEncoder readies the model's tokenizer.
func (r *evalRun) openEncoder() error {
	t, err := tokenizer.Load(r.s.c.Dir())
	if err != nil {
		return err
	}
	spec := r.s.m.Spec
	r.encoder = &eval.Encoder{Tokenizer: t, AddBOS: r.o.addsBOS(r.s.c.Config()), MaxLength: spec.MaxPositions, Vocab: spec.Vocab}
	return r.encoder.Check()
}

// prepare readies encoder and engine.
func (r *evalRun) prepare(ctx context.Context) error {
	err := r.openEncoder()
	if err != nil {
		return err
	}
	if r.hash, err = r.s.c.Hash(ctx); err != nil {
		return err
	}
	bar := r.a.progress("eval")
	r.trackProgress(bar)
	return r.s.start(r.a, r.o.engine, r.progress)
}

// trackProgress counts the requests of finished tasks, and of the current one
// the share that is done.
func (r *evalRun) trackProgress(bar func(done, total int64)) {
	if bar == nil {
		return
	}
	var all int64
	for _, a := range r.asked {
		all += int64(len(a.Requests))
	}
	r.progress = func(done, total int64) {
		var before, current int64
		for _, a := range r.asked {
			if current = int64(len(a.Requests)); r.outcomes[a.Task.Name] == nil {
				break
			}
			before += current
		}
		bar(before+current*done/max(total, 1), all)
	}
}

// openState takes up what an interrupted run has left.
func (r *evalRun) openState() error {
	r.outcomes = map[string]*eval.Outcome{}
	if r.o.out == "" {
		return nil
	}
	if r.o.force {
		if err := os.Remove(r.o.statePath()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	c := r.s.compute()
	var err error
	r.state, err = eval.OpenState(r.o.statePath(), map[string]any{
		"model": r.hash, "keep": r.s.keep, "dtype": c.DType, "device": c.Device, "provider": c.Provider,
		"add-bos": r.encoder.AddBOS, "limit": r.o.limit, "num-fewshot": r.o.shots, "fewshot-seed": r.o.fewshotSeed,
	})
	return err
}

// leave says that the same command goes on, where there is something to go on from.
func (r *evalRun) leave(err error) error {
	if r.state == nil {
		return err
	}
	closed := r.state.Leave()
	if len(r.outcomes) > 0 && !errors.Is(err, context.Canceled) {
		return &hinted{err: errors.Join(err, closed), kind: errPartial, hint: fmt.Sprintf("%s of %d are done; the same command goes on from there", plural(len(r.outcomes), "task"), len(r.asked))}
	}
	return errors.Join(err, closed)
}

func (r *evalRun) answerAll(ctx context.Context) error {
	for _, asked := range r.asked {
		responses, err := r.answer(ctx, asked)
		if err != nil {
			return err
		}
		if err := r.take(asked, responses); err != nil {
			return err
		}
	}
	return nil
}

// batchTokens is how many tokens eval packs into one batch.
const batchTokens = 2048

// answer asks one task, unless that was done before.
func (r *evalRun) answer(ctx context.Context, asked *eval.Asked) ([]eval.Response, error) {
	if r.state != nil {
		if done, err := r.state.Responses(asked); done != nil || err != nil {
			return done, err
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r.a.detail("%s: %s", asked.Task.Name, plural(len(asked.Requests), "request"))
	var responses []eval.Response
	if asked.Task.Output == eval.GenerateUntil {
		var err error
		if responses, err = eval.WriteAll(ctx, eval.Generate(r.s.run, r.s.keep), asked, r.encoder, r.progress); err != nil {
			return nil, err
		}
	} else {
		all, err := eval.ScoreAll(ctx, r.s.run, [][]int{r.s.keep}, []*eval.Asked{asked}, r.encoder, batchTokens, r.progress)
		if err != nil {
			return nil, err
		}
		responses = all[0][0]
	}
	if r.state != nil {
		return responses, r.state.Add(asked, responses)
	}
	return responses, nil
}

// makeLines makes the results of groups and tasks, outer groups first.
func (r *evalRun) makeLines() {
	c := r.s.compute()
	for _, g := range r.groups {
		for _, m := range g.Metrics {
			r.lines = append(r.lines, report.Result{
				Task: g.Name, Metric: m.Name, Filter: m.Filter, Value: report.Number(m.Result), StdErr: report.Number(m.StdErr), N: g.Size,
				Version: string(g.Metadata.Version), Group: true, HigherIsBetter: m.HigherIsBetter, Partial: g.Partial, Compute: c,
			})
		}
	}
	for _, asked := range r.asked {
		o := r.outcomes[asked.Task.Name]
		for _, m := range o.Metrics {
			r.lines = append(r.lines, report.Result{
				Task: asked.Task.Name, Metric: m.Name, Filter: m.Filter, Value: report.Number(m.Result), StdErr: report.Number(m.StdErr), N: len(asked.Docs),
				Version: string(asked.Task.Metadata.Version), Shots: asked.Shots, HigherIsBetter: m.HigherIsBetter, Partial: asked.Partial(), Compute: c,
			})
		}
	}
}

func (r *evalRun) write() error {
	if r.o.samplesOut != "" {
		if err := writeLines(r.o.samplesOut, r.samples); err != nil {
			return err
		}
	}
	if r.o.out == "" {
		return nil
	}
	file, err := r.file()
	if err != nil {
		return err
	}
	err = writeWhole(r.o.out, func(f *os.File) error {
		e := json.NewEncoder(f)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		return e.Encode(file)
	})
	if err != nil {
		return err
	}
	return r.state.Remove()
}

func (r *evalRun) print() error {
	partial := false
	for _, l := range r.lines {
		partial = partial || l.Partial
		if r.a.json {
			if err := r.a.line(l); err != nil {
				return err
			}
		}
	}
	if partial {
		r.a.warn("the results are partial: not all documents of every task were asked")
	}
	if r.a.json {
		return nil
	}
	r.a.stopProgress()
	t := &report.Table{Header: []string{"task", "version", "shots", "metric", "value", "stderr", "documents"}}
	for _, l := range r.lines {
		metric, n := l.Metric, strconv.Itoa(l.N)
		if l.Filter != "none" {
			metric += "," + l.Filter
		}
		if l.Partial {
			n += " (partial)"
		}
		t.Add(report.String(l.Task), report.String(l.Version), report.Int(l.Shots), report.String(metric), report.Float(l.Value), report.Float(l.StdErr), report.String(n))
	}
	return r.a.table(t)
}

// samples writes what came of every document, once for each chain of filters.
func (r *evalRun) samples(line func(report.Line) error) error {
	for _, asked := range r.asked {
		o := r.outcomes[asked.Task.Name]
		var filters []string
		for _, m := range o.Metrics {
			if len(filters) == 0 || filters[len(filters)-1] != m.Filter {
				filters = append(filters, m.Filter)
			}
		}
		for _, filter := range filters {
			for i := range asked.Docs {
				if err := line(sample(o, i, filter)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func sample(o *eval.Outcome, i int, filter string) report.Sample {
	l := report.Sample{Task: o.Task.Name, DocID: i, Doc: o.Docs[i], Target: o.Target(i), Filter: filter, Metrics: map[string]report.Number{}}
	for j, request := range o.Of(i) {
		answer := o.Answers(i)[j]
		l.Arguments = append(l.Arguments, []string{request.Context, request.Continuation})
		if o.Task.Output == eval.GenerateUntil {
			l.Responses = append(l.Responses, []any{answer.Text})
		} else {
			l.Responses = append(l.Responses, []any{report.Number(answer.LogProb), answer.Greedy})
		}
	}
	for _, m := range o.Metrics {
		if m.Filter == filter {
			l.Metrics[m.Name] = report.Number(m.Values[i].Value)
		}
	}
	l.PromptHash, l.TargetHash = o.Hashes(i)
	return l
}

// orNA is a standard error as the harness writes it.
func orNA(v float64) any {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "N/A"
	}
	return v
}
