package score

import "slices"

// removals are the lists without one layer that may drop, each once, and what is
// measured of them: ppl and kl share a pass.
type removals struct {
	candidates []int // layers
	asks       []ask // [candidates]
}

// removed is the source of metrics that measure the model without each layer in
// turn: want marks what is asked of a list, value is the layer's score.
func removed(want func(*ask), value func(m *Measurement, layers []int) float64) source {
	return func(p *Priced, metric Metric) (reader, error) {
		if p.removals == nil {
			p.removals = p.newRemovals()
		}
		for i := range p.removals.asks {
			want(&p.removals.asks[i])
		}
		return p.scored(metric, func() []float64 {
			scores := p.undefined()
			for i, a := range p.removals.asks {
				scores[p.removals.candidates[i]] = value(p.measure, a.layers)
			}
			return scores
		}), nil
	}
}

func wantLoss(a *ask)       { a.loss = true }
func wantDivergence(a *ask) { a.kl = true }

func perplexityWithout(m *Measurement, layers []int) float64 { return m.loss(layers).Perplexity() }
func divergenceWithout(m *Measurement, layers []int) float64 { return m.divergence(layers).Mean() }

func (p *Priced) newRemovals() *removals {
	r := &removals{candidates: p.candidates(p.layers)}
	for _, l := range r.candidates {
		r.asks = append(r.asks, ask{layers: drop(p.layers, l)})
	}
	return r
}

// candidates are the layers of a list that may drop.
func (p *Priced) candidates(layers []int) []int {
	return slices.DeleteFunc(slices.Clone(layers), func(l int) bool { return slices.Contains(p.protect, l) })
}

// drop is a list without one of its layers.
func drop(layers []int, l int) []int {
	return slices.DeleteFunc(slices.Clone(layers), func(x int) bool { return x == l })
}
