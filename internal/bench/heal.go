package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/resident"
)

// What is measured of healing.
const (
	whatHeal     = "heal"      // head and last 3 layers on rows of 256, every token a target
	whatHealLoRA = "heal-lora" // adapters of all linear maps on the same rows
	HealRows     = "heal-rows" // head and last 3 layers on given rows, beside every row computed
)

// Rows of plain healing.
const (
	healRows   = 4
	healLength = 256
)

// healing measures a step of training in turns with its limit: the time of its
// products alone or, of given rows, what the count of products makes of the time
// that the same batch takes when every row is computed.
func (opt Options) healing(ctx context.Context, m *model.Model, l engine.Limiter) (report.Bench, error) {
	r, err := opt.run(ctx, m)
	if err != nil {
		return report.Bench{}, err
	}
	defer r.Set.Release()
	parts := resident.New(m, opt.Engine, resident.Options{Budget: resident.Budget{Host: opt.Memory}, Trained: &r.Set.Trained})
	defer parts.Close()
	opt.fit(r, parts)
	needed := r.Trial(false)
	defer needed.Close()
	p := pairs{opt: opt, tokens: needed.Tokens(), operations: 2 * needed.MACs(), l: l, run: func() error { return needed.Step(ctx) }}
	if opt.What != HealRows {
		if l != nil {
			run, way := l.Products(ctx, needed.Products())
			p.limit, p.way = unlessDone(ctx, run), way
		}
		p.opt.Tokens = p.tokens
		return p.measure()
	}
	all := r.Trial(true)
	defer all.Close()
	share := needed.MACs() / all.MACs()
	p.limit = func() (time.Duration, error) {
		start := time.Now()
		err := all.Step(ctx)
		return time.Duration(float64(time.Since(start)) * share), err
	}
	p.opt.Tokens = p.tokens
	b, err := p.measure()
	b.Saved = report.Number(1 / share)
	return b, err
}

// run sets a training run up.
func (opt Options) run(ctx context.Context, m *model.Model) (*heal.Run, error) {
	trainer, ok := opt.Engine.(engine.Trainer)
	if !ok {
		return nil, fmt.Errorf("this engine computes no gradients: %w", engine.ErrUnsupported)
	}
	sel := heal.Selection{Method: heal.Partial, Last: 3, Head: true, Norm: true}
	if opt.What == whatHealLoRA {
		sel = heal.Selection{Method: heal.LoRA, Targets: []string{"all"}}
	}
	kept := make([]int, m.Spec.Layers)
	for i := range kept {
		kept[i] = i
	}
	chosen, err := sel.Choose(m.Spec, kept)
	if err != nil {
		return nil, err
	}
	set, err := heal.NewSet(ctx, trainer, m, chosen, heal.Adapters{Rank: 8, Alpha: 16, Dropout: .05}, engine.Float32, opt.Seed)
	if err != nil {
		return nil, err
	}
	o := heal.Defaults(sel.Method)
	o.Steps, o.BatchSize, o.Shuffle = 1<<20, healRows, false
	r := &heal.Run{Engine: opt.Engine, Model: m, Layers: kept, Set: set, Low: chosen.Low, Train: opt.Samples, Options: o, Now: time.Now}
	if opt.What == HealRows {
		r.BatchSize = 64
	} else {
		r.Train = opt.plainRows(m.Spec.Vocab)
	}
	return r, nil
}

// plainRows are random tokens, all of them learnt.
func (opt Options) plainRows(vocab int) []heal.Sample {
	random := rand.New(rand.NewPCG(opt.Seed, 2))
	out := make([]heal.Sample, healRows)
	for i := range out {
		ids := make([]int32, healLength+1) // the last one is only a target
		for j := range ids {
			ids[j] = int32(random.IntN(vocab))
		}
		out[i] = heal.Sample{Tokens: ids, Labels: ids}
	}
	return out
}

// fit keeps layers and what they compute, as far as memory allows.
func (opt Options) fit(r *heal.Run, parts *resident.Set) {
	depths := len(r.Layers) - max(0, r.Low)
	need := resident.Need{
		Layers: r.Layers, Head: true, Tokens: int64(r.MicroTokens), Longest: r.MicroTokens, Batch: r.MicroTokens, States: depths + 2,
		Backward: true, Tapes: depths, Trained: int64(r.Parameters()),
	}
	f := parts.Plan(need)
	r.Tapes = f.Keep && !f.Over
	if !r.Tapes {
		need.Tapes, need.Tokens = 0, 1<<20
		f = parts.Plan(need)
	}
	parts.Use(f)
	r.Parts, r.GroupTokens = parts, f.Tokens
	if f.Keep {
		r.GroupTokens = r.MicroTokens
	}
}
