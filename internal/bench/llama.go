package bench

import (
	"context"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/synth"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
)

// whatLlama is a forward pass beside that of a Llama of the same widths.
const whatLlama = "llama"

// besideLlama measures a forward pass in turns with that of a Llama of the same
// widths, whose time is taken for as many products as the shape has: what is left of
// the ratio is what else the family computes.
func (opt Options) besideLlama(ctx context.Context, m *model.Model, l engine.Limiter) (report.Bench, error) {
	twin, err := llamaLike(m.Spec)
	if err != nil {
		return report.Bench{}, err
	}
	if opt.Memory > 0 { // what the shape's weights leave
		opt.Memory = max(1, opt.Memory-m.Source.(*Source).bytes())
	}
	llama, err := synthetic(ctx, twin, opt)
	if err != nil {
		return report.Bench{}, err
	}
	run, done := opt.logProbs(ctx, m)
	defer done()
	plain, done := opt.logProbs(ctx, llama)
	defer done()
	count := operations(products(m.Spec, opt.Tokens))
	more := count / operations(products(twin.Spec, opt.Tokens))
	p := pairs{opt: opt, tokens: opt.Tokens, operations: count, l: l, run: run, way: "a Llama of the same widths"}
	p.limit = func() (time.Duration, error) {
		start := time.Now()
		err := plain()
		return time.Duration(float64(time.Since(start)) * more), err
	}
	return p.measure()
}

// logProbs returns what runs one sequence through all layers and the head.
func (opt Options) logProbs(ctx context.Context, m *model.Model) (run func() error, done func()) {
	// No bound for the runner: the check in synthetic has seen to memory, and
	// layers made again in every pass would be measured with it.
	runner := forest.New(m, opt.Engine, forest.Options{BatchTokens: opt.Tokens})
	seq := [][]int32{tokens(opt, m.Spec.Vocab)}
	return func() error {
		return runner.LogProbs(ctx, nil, seq, func(int, []engine.TokenScore) error { return nil })
	}, runner.Close
}

// llamaLike is a Llama with the widths of another model.
func llamaLike(s *model.Spec) (Shape, error) {
	return madeUp("a Llama of the same widths", synth.Options{
		Layers: s.Layers, Hidden: s.Hidden, Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, FF: s.FF, Vocab: s.Vocab,
		MaxPositions: s.MaxPositions, Tied: s.Tied,
	})
}
