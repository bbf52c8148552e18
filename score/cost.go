package score

import (
	"context"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/model"
)

// Cost is what one group of metrics that share passes will take.
type Cost struct {
	Metrics []string
	Forest  forest.Cost // of all rounds
	Rounds  int         // of greedy-ppl; 1 for metrics that take one
}

// Costs says what Rank will compute with these options: token-layers, passes
// over the weights and memory. What a store has kept is not taken off. Rounds
// of greedy-ppl are counted as if it dropped the first layer each time, which
// costs most.
func Costs(ctx context.Context, m *model.Model, run *forest.Runner, opt Options) ([]Cost, error) {
	r, err := newRequest(ctx, m, run, opt)
	if err != nil {
		return nil, err
	}
	return r.costs(ctx)
}

func (r *request) costs(ctx context.Context) (out []Cost, err error) {
	var shared Cost
	for _, metric := range r.metrics {
		if metric.NeedsData && metric.Name != GreedyPPL {
			shared.Metrics = append(shared.Metrics, metric.Name)
		}
	}
	work := forest.Sequences(r.opt.Sequences)
	if len(shared.Metrics) > 0 {
		variants, err := r.variants(ctx)
		if err != nil {
			return nil, err
		}
		priced, err := r.run.Price(variants, work)
		if err != nil {
			return nil, err
		}
		shared.Forest = priced.Cost()
		shared.Rounds = 1
		out = append(out, shared)
	}
	if !r.wants(GreedyPPL) {
		return out, nil
	}
	greedy := Cost{Metrics: []string{GreedyPPL}, Rounds: r.roundCount()}
	layers := r.layers
	for range greedy.Rounds {
		candidates := r.candidates(layers)
		var variants []forest.Variant
		for _, l := range candidates {
			variants = append(variants, forest.Variant{Layers: drop(layers, l), Scores: func(int, []engine.TokenScore) error { return nil }})
		}
		priced, err := r.run.Price(variants, work)
		if err != nil {
			return nil, err
		}
		greedy.Forest.Add(priced.Cost())
		layers = drop(layers, candidates[0])
	}
	return append(out, greedy), nil
}

// variants are those of the shared pass, without what they do.
func (r *request) variants(ctx context.Context) ([]forest.Variant, error) {
	probes, err := r.probes(ctx)
	if err != nil {
		return nil, err
	}
	whole := forest.Variant{Layers: r.layers}
	if v := r.observer(probes); v != nil {
		whole = *v
	}
	asks := r.removals()
	var variants []forest.Variant
	if len(probes) > 0 || len(asks) == 0 || asks[0].kl {
		variants = append(variants, whole)
	}
	for _, a := range asks {
		v := forest.Variant{Layers: a.layers}
		if a.loss {
			v.Scores = func(int, []engine.TokenScore) error { return nil }
		}
		if a.kl {
			v.Divergence = func(int, []float64) error { return nil }
		}
		variants = append(variants, v)
	}
	return variants, nil
}
