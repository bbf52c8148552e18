package bench

import (
	"context"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
)

// What passes measures, beside a plain forward pass of the same sequences.
const (
	whatMetrics = "metrics" // the metrics of hidden states together, cka's neighbours only
	whatCKA     = "cka"     // cka alone, the whole matrix
	whatPPL     = "ppl"     // all single removals
	whatTail    = "tail"    // the tail curve
)

// passes measures metrics in pairs with a plain forward pass through the layers,
// and the head where they meet it. The limit is the time that the count of
// token-layers predicts from that pass, the head counted as the layers it equals.
func (opt Options) passes(ctx context.Context, m *model.Model, l engine.Limiter) (report.Bench, error) {
	run := forest.New(m, opt.Engine, forest.Options{})
	defer run.Close()
	seqs := opt.sequences(m.Spec.Vocab)
	measured, cost, err := opt.measured(ctx, run, seqs)
	if err != nil {
		return report.Bench{}, err
	}
	opt.Tokens = streamSequences * streamLength
	plain := forest.Cost{TokenLayers: int64(opt.Tokens * m.Spec.Layers)}
	forward := forest.Variant{Observe: func(context.Context, forest.Step) error { return nil }}
	if cost.HeadRows > 0 {
		plain.HeadRows = int64(opt.Tokens - len(seqs))
		forward = forest.Variant{Scores: func(int, []engine.TokenScore) error { return nil }}
	}
	work := forest.Sequences(seqs)
	predicted := operationsOf(m.Spec, cost) / operationsOf(m.Spec, plain)
	p := pairs{opt: opt, run: measured, tokens: opt.Tokens, operations: operationsOf(m.Spec, cost), l: l}
	p.limit = func() (time.Duration, error) {
		start := time.Now()
		err := run.Run(ctx, []forest.Variant{forward}, work, forest.RunOptions{})
		return time.Duration(float64(time.Since(start)) * predicted), err
	}
	return p.measure()
}

// measured returns what runs once, and what it computes.
func (opt Options) measured(ctx context.Context, run *forest.Runner, seqs [][]int32) (func() error, forest.Cost, error) {
	if opt.What == whatTail {
		return again(func() (*score.Losses, error) {
			m := score.Measurement{Run: run, Sequences: seqs} // keeps nothing of the last round
			return m.Price(tails(run.Model().Spec.Layers))
		}, (*score.Losses).Cost, func(l *score.Losses) error {
			_, err := l.Run(ctx, forest.RunOptions{})
			return err
		})
	}
	ask := score.Options{Sequences: seqs}
	switch opt.What {
	case whatMetrics:
		ask.Metrics = []string{score.BI, score.BIGlobal, score.Relative, score.Angular, score.CKA}
	case whatCKA:
		ask.Metrics, ask.Matrix = []string{score.CKA}, true
	case whatPPL:
		ask.Metrics = []string{score.PPL}
	}
	return again(func() (*score.Priced, error) { return score.Price(run.Model(), run, ask) },
		func(p *score.Priced) forest.Cost { return p.Costs()[0].Forest },
		func(p *score.Priced) error {
			_, err := p.Run(ctx, forest.RunOptions{})
			return err
		})
}

// again returns what plans and runs anew each time, and what a plan costs.
func again[P any](plan func() (P, error), cost func(P) forest.Cost, run func(P) error) (func() error, forest.Cost, error) {
	p, err := plan()
	if err != nil {
		return nil, forest.Cost{}, err
	}
	return func() error {
		p, err := plan()
		if err != nil {
			return err
		}
		return run(p)
	}, cost(p), nil
}

// tails are the lists of the first L, L-1, … layers.
func tails(layers int) (lists [][]int) {
	for n := range layers {
		list := make([]int, layers-n)
		for i := range list {
			list[i] = i
		}
		lists = append(lists, list)
	}
	return lists
}
