package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
)

// Curve shows what is lost as more and more layers are cut: the loss, or the
// results of tasks.
type Curve struct {
	Model   string `yaml:"model"`
	Order   string `yaml:"order"`   // metric, or file with a ranking, that orders the layers; "": DefaultMetric
	Metric  string `yaml:"metric"`  // with a file of several rankings: the one that is meant
	Protect string `yaml:"protect"` // layers that are never cut
	Tasks   `yaml:",inline"`
	Data    `yaml:",inline"` // with tasks: for the metric that orders the layers
	Engine  `yaml:",inline"`
}

// DefaultCurve has every field that is not given.
func DefaultCurve() Curve {
	return Curve{Order: DefaultMetric, Tasks: DefaultTasks(), Data: DefaultData()}
}

// Check finds what can be wrong before any file is opened.
func (c Curve) Check() error {
	if err := c.Data.Check(); err != nil {
		return err
	}
	if c.Tasks.Names != "" {
		if err := c.Tasks.Check(); err != nil {
			return err
		}
	}
	return c.Engine.Check()
}

// UsesData says whether sequences are read.
func (c Curve) UsesData() bool { return c.Tasks.Names == "" || RunsModel(c.Order) }

// Run measures every point of the curve in one pass.
func (c Curve) Run(ctx context.Context, env Env) (result report.Curve, err error) {
	if err := c.Check(); err != nil {
		return result, err
	}
	var q *questions
	if c.Tasks.Names != "" {
		if q, err = c.Tasks.read(ctx, env); err != nil {
			return result, evalRemedy(err)
		}
		if err := shareable(q.asked, "{tasks}", "leave the task out, or use coppice eval --drop for one pruning at a time"); err != nil {
			return result, err
		}
	}
	s, err := Open(ctx, env, c.Model, Layers{})
	if err != nil {
		return result, err
	}
	defer s.Close()
	protect, err := parseProtect(c.Protect, s.Model.Spec.Layers)
	if err != nil {
		return result, err
	}
	sc, err := newScorer(ctx, env, s, c.Data, c.Engine, c.UsesData())
	if err != nil {
		return result, err
	}
	defer sc.close()
	cuts, result, err := c.cuts(ctx, sc, protect)
	if err != nil {
		return result, err
	}
	for _, cut := range cuts {
		result.Dropped = append(result.Dropped, append([]int{}, cut...))
	}
	if q != nil {
		err = evalRemedy(sc.answers(ctx, c, q, cuts, &result))
	} else {
		err = sc.curve(ctx, cuts, &result)
	}
	if err != nil {
		return result, err
	}
	result.Sequences, result.Tokens = len(sc.opt.Sequences), countTokens(sc.opt.Sequences)
	result.Data, result.Seconds, result.Compute = sc.data, seconds(sc.start), s.Compute()
	return result, nil
}

// curve measures the loss without each of the cuts.
func (sc *scorer) curve(ctx context.Context, cuts [][]int, c *report.Curve) error {
	sums, err := sc.losses(ctx, "curve", cuts)
	for _, sum := range sums {
		c.Loss = append(c.Loss, report.Number(sum.Mean()))
		c.Perplexity = append(c.Perplexity, report.Number(sum.Perplexity()))
	}
	return err
}

// answers asks the model without each of the cuts all questions, in one pass.
func (sc *scorer) answers(ctx context.Context, c Curve, q *questions, cuts [][]int, out *report.Curve) error {
	if err := q.encode(ctx, sc.Session, "auto"); err != nil {
		return err
	}
	if sc.Runner == nil {
		if err := sc.Start(c.Engine, nil); err != nil {
			return err
		}
	}
	tell, end := sc.env.Talk.Progress("curve", Steps)
	defer end()
	sc.start = time.Now()
	session := eval.Session{Runner: sc.Runner, Encoder: q.encoder}
	for _, keep := range without(sc.Model.Spec.Layers, cuts) {
		session.Prunings = append(session.Prunings, eval.Pruning{Keep: keep})
	}
	results, err := eval.Run(ctx, session, q.selection, q.encoded, eval.RunOptions{Together: true, Progress: tell})
	if err != nil {
		return err
	}
	out.Tasks = taskCurves(results)
	if slices.ContainsFunc(out.Tasks, func(t report.TaskCurve) bool { return t.Partial }) {
		sc.env.Talk.Warn("the results are partial: not all documents of every task were asked")
	}
	return nil
}

// taskCurves turns the lines of every pruning, which are of the same metrics, into
// one curve for each.
func taskCurves(r *eval.Results) (curves []report.TaskCurve) {
	for i, p := range r.Prunings {
		for j, l := range p.Lines(r.Asked, report.Compute{}) {
			if i == 0 {
				curves = append(curves, report.TaskCurve{
					Task: l.Task, Metric: l.Metric, Filter: l.Filter, N: l.N, Version: l.Version,
					Group: l.Group, HigherIsBetter: l.HigherIsBetter, Partial: l.Partial, Members: l.Members, Chance: l.Chance,
				})
			}
			curves[j].Values, curves[j].StdErr = append(curves[j].Values, l.Value), append(curves[j].StdErr, l.StdErr)
		}
	}
	return curves
}

// cuts are the layers to leave out for n = 0, 1, ….
func (c Curve) cuts(ctx context.Context, sc *scorer, protect []int) (cuts [][]int, result report.Curve, err error) {
	layers := sc.Model.Spec.Layers
	if _, err := score.Lookup(c.Order); err != nil {
		return c.fromFile(layers, protect)
	}
	result.Metric = c.Order
	metrics := []string{c.Order}
	priced, err := sc.price(metrics, nil, protect)
	if err == nil {
		err = sc.ask(ctx, metrics, priced)
	}
	if err != nil {
		return nil, result, err
	}
	rankings, err := sc.run(ctx, priced)
	if err != nil {
		return nil, result, err
	}
	if c.Order == score.Angular {
		cuts = [][]int{nil}
		for n := 1; n < layers; n++ {
			b := score.BestBlock(rankings[0].Matrix, n, protect)
			if b.Best < 0 {
				break
			}
			cuts = append(cuts, span(b.Best, n))
		}
		return cuts, result, nil
	}
	result.Order = rankings[0].Order
	return prefixes(result.Order, layers), result, nil
}

// fromFile takes the order of a file that score --json wrote.
func (c Curve) fromFile(layers int, protect []int) ([][]int, report.Curve, error) {
	rankings, err := report.ReadRankings(c.Order)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, report.Curve{}, wrong("{order} %s: neither a metric nor a file", c.Order).with("metrics are %s", strings.Join(MetricNames(), ", "))
	}
	if err != nil {
		return nil, report.Curve{}, err
	}
	if c.Metric != "" {
		rankings = slices.DeleteFunc(rankings, func(r report.Ranking) bool { return r.Metric != c.Metric })
	}
	if len(rankings) != 1 {
		return nil, report.Curve{}, wrong("{order} %s: %d rankings in it fit, and one is wanted", c.Order, len(rankings)).with("pass {metric} with the one that is meant")
	}
	r := rankings[0]
	if len(r.Scores) != layers {
		return nil, report.Curve{}, fmt.Errorf("%s ranks %d layers, and this model has %d", c.Order, len(r.Scores), layers)
	}
	order := slices.DeleteFunc(r.Order, func(l int) bool { return slices.Contains(protect, l) })
	return prefixes(order, layers), report.Curve{Metric: r.Metric, Order: order}, nil
}

// prefixes are the first n of an order, n = 0, 1, …; one layer always stays.
func prefixes(order []int, layers int) (cuts [][]int) {
	for n := 0; n <= min(len(order), layers-1); n++ {
		cuts = append(cuts, order[:n])
	}
	return cuts
}

// span is n layers from the first on.
func span(first, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = first + i
	}
	return out
}
