package score

import (
	"context"
	"fmt"
	"math"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
)

// Sum adds up a quantity of tokens, in float64 and in the order of the sequences.
type Sum struct {
	Total  float64
	Tokens int
}

// Mean is per token; NaN where there is none.
func (s Sum) Mean() float64 { return s.Total / float64(s.Tokens) }

// Perplexity is exp of the mean, for sums of negative log-probabilities.
func (s Sum) Perplexity() float64 { return math.Exp(s.Mean()) }

// Measurement evaluates lists of layers on sequences, any number in one pass,
// and keeps what is finished in a store.
type Measurement struct {
	Run       *forest.Runner
	Sequences [][]int32
	Store     *Store // may be nil
	// Progress, if set, is told how much of all calls up to this one is done, in
	// token-layers.
	Progress func(done, total int64)

	done int64 // of earlier calls
}

// ask is a list of layers and what is wanted of it.
type ask struct {
	layers   []int
	loss, kl bool
}

// Losses is the negative log-probability of every token given those before it,
// for each list of layers (nil: all).
func (m *Measurement) Losses(ctx context.Context, lists [][]int) ([]Sum, error) {
	asks := make([]ask, len(lists))
	for i, l := range lists {
		asks[i] = ask{layers: m.spelled(l), loss: true}
	}
	losses, _, err := m.measure(ctx, nil, asks, nil)
	return losses, err
}

// spelled is a list of layers with the whole model written out.
func (m *Measurement) spelled(layers []int) []int {
	if layers == nil {
		return everyIndex(m.Run.Model().Spec.Layers)
	}
	return layers
}

// Cost is what Losses would compute, kept results left out.
func (m *Measurement) Cost(lists [][]int) (forest.Cost, error) {
	var variants []forest.Variant
	for _, l := range lists {
		variants = append(variants, forest.Variant{Layers: l, Scores: func(int, []engine.TokenScore) error { return nil }})
	}
	priced, err := m.Run.Price(variants, forest.Sequences(m.Sequences))
	if err != nil {
		return forest.Cost{}, err
	}
	return priced.Cost(), nil
}

// measure answers the asks; divergences are from the list base. observe, which
// may be nil, is an observer of base that sees all sequences.
func (m *Measurement) measure(ctx context.Context, base []int, asks []ask, observe *forest.Variant) (losses, kls []Sum, err error) {
	if err := m.answer(ctx, base, asks, observe); err != nil {
		return nil, nil, err
	}
	losses, kls = make([]Sum, len(asks)), make([]Sum, len(asks))
	for i, a := range asks {
		if a.loss {
			losses[i] = m.sum("loss", a.layers)
		}
		if a.kl {
			kls[i] = m.sum("kl", a.layers)
		}
	}
	return losses, kls, nil
}

func (m *Measurement) answer(ctx context.Context, base []int, asks []ask, observe *forest.Variant) error {
	if m.Store == nil {
		m.Store = &Store{kept: map[string][]float64{}}
	}
	sets := m.missing(asks)
	all := len(sets) == 1 && len(sets[0].seqs) == len(m.Sequences)
	if observe != nil && !all { // the observer needs every sequence, the asks do not
		if err := m.run(ctx, base, nil, everyIndex(len(m.Sequences)), observe); err != nil {
			return err
		}
		observe = nil
	}
	for _, s := range sets {
		if err := m.run(ctx, base, s.asks, s.seqs, observe); err != nil {
			return err
		}
	}
	return nil
}

// unanswered is a set of asks and the sequences for which just these are left.
type unanswered struct {
	asks []ask
	seqs []int
}

// missing groups the sequences by what is not yet known of them.
func (m *Measurement) missing(asks []ask) (sets []unanswered) {
	index := map[string]int{}
	for i := range m.Sequences {
		var left []ask
		for _, a := range asks {
			_, loss := m.Store.get(key("loss", a.layers, i))
			_, kl := m.Store.get(key("kl", a.layers, i))
			if want := (ask{a.layers, a.loss && !loss, a.kl && !kl}); want.loss || want.kl {
				left = append(left, want)
			}
		}
		if len(left) == 0 {
			continue
		}
		name := fmt.Sprint(left)
		at, ok := index[name]
		if !ok {
			at = len(sets)
			index[name] = at
			sets = append(sets, unanswered{asks: left})
		}
		sets[at].seqs = append(sets[at].seqs, i)
	}
	return sets
}

func (m *Measurement) run(ctx context.Context, base []int, asks []ask, seqs []int, observe *forest.Variant) error {
	var variants []forest.Variant
	first := forest.Variant{Layers: base}
	if observe != nil {
		first = *observe
	}
	compared := false
	for _, a := range asks {
		compared = compared || a.kl
	}
	if observe != nil || compared {
		variants = append(variants, first)
	}
	for _, a := range asks {
		v := forest.Variant{Layers: a.layers}
		if a.loss {
			v.Scores = func(i int, scores []engine.TokenScore) error {
				var sum float64
				for _, s := range scores {
					sum -= s.LogProb
				}
				return m.Store.keep(key("loss", a.layers, seqs[i]), sum, float64(len(scores)))
			}
		}
		if a.kl {
			v.Divergence = func(i int, nats []float64) error {
				var sum float64
				for _, n := range nats {
					sum += n
				}
				return m.Store.keep(key("kl", a.layers, seqs[i]), sum, float64(len(nats)))
			}
		}
		variants = append(variants, v)
	}
	chosen := make([][]int32, len(seqs))
	for i, s := range seqs {
		chosen[i] = m.Sequences[s]
	}
	return m.pass(ctx, variants, chosen)
}

// pass runs the forest and adds its progress to that of earlier passes.
func (m *Measurement) pass(ctx context.Context, variants []forest.Variant, seqs [][]int32) error {
	last := int64(0)
	err := m.Run.Run(ctx, variants, forest.Sequences(seqs), forest.RunOptions{Progress: func(done, total int64) {
		last = done
		if m.Progress != nil && done > 0 {
			m.Progress(m.done+done, m.done+total)
		}
	}})
	m.done += last
	return err
}

func (m *Measurement) sum(what string, layers []int) (s Sum) {
	for i := range m.Sequences {
		v, _ := m.Store.get(key(what, layers, i))
		s.Total += v[0]
		s.Tokens += int(v[1])
	}
	return s
}

func key(what string, layers []int, seq int) string { return fmt.Sprint(what, " ", layers, " ", seq) }

// keep is put, in memory too where there is no file.
func (s *Store) keep(key string, values ...float64) error {
	if s.file == nil {
		s.kept[key] = values
		return nil
	}
	return s.put(key, values...)
}

func everyIndex(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
