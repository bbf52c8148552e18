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

// Add adds another sum's tokens.
func (s *Sum) Add(o Sum) {
	s.Total += o.Total
	s.Tokens += o.Tokens
}

// Loss sums the negative log-probabilities of a sequence's tokens.
func Loss(scores []engine.TokenScore) Sum {
	s := Sum{Tokens: len(scores)}
	for _, t := range scores {
		s.Total -= t.LogProb
	}
	return s
}

// Measurement evaluates lists of layers on sequences, any number in one pass,
// and keeps what is finished in a store.
type Measurement struct {
	Run       *forest.Runner
	Sequences [][]int32
	Store     *Store // nil keeps nothing for later runs

	work []forest.Work // one a sequence, made once
}

// Losses is a planned measurement of losses.
type Losses struct {
	m      *Measurement
	lists  [][]int
	passes *passes
}

// Price plans to measure the negative log-probability of every token given those
// before it, for each list of layers (nil: all). What the store has is not
// computed again, nor counted.
func (m *Measurement) Price(lists [][]int) (*Losses, error) {
	l := &Losses{m: m}
	var asks []ask
	for _, list := range lists {
		if list == nil {
			list = everyIndex(m.Run.Model().Spec.Layers)
		}
		l.lists, asks = append(l.lists, list), append(asks, ask{layers: list, loss: true})
	}
	var err error
	l.passes, err = m.plan(nil, asks, nil)
	return l, err
}

// Cost is what Run will take.
func (l *Losses) Cost() forest.Cost { return l.passes.cost }

// Run measures: a sum for each list. After an error what is finished is in the
// store, and a new Price counts what is left.
func (l *Losses) Run(ctx context.Context, o forest.RunOptions) ([]Sum, error) {
	if err := l.passes.run(ctx, newTracker(work(l.passes.cost), o.Progress)); err != nil {
		return nil, err
	}
	sums := make([]Sum, len(l.lists))
	for i, list := range l.lists {
		sums[i] = l.m.loss(list)
	}
	return sums, nil
}

// ask is a list of layers and what is wanted of it.
type ask struct {
	layers   []int
	loss, kl bool
}

// passes are planned ones that answer asks.
type passes struct {
	priced []*forest.Priced
	cost   forest.Cost
}

// plan plans to answer the asks, as far as the store does not; divergences are
// from the list base. observe, which may be nil, is an observer of base that sees
// all sequences.
func (m *Measurement) plan(base []int, asks []ask, observe *forest.Variant) (*passes, error) {
	if m.Store == nil {
		m.Store = NewStore()
	}
	p := &passes{}
	sets := m.missing(asks)
	everything := len(sets) == 1 && len(sets[0].seqs) == len(m.Sequences)
	if observe != nil && !everything { // the observer needs every sequence, the asks do not
		sets = append([]unanswered{{seqs: everyIndex(len(m.Sequences))}}, sets...)
	}
	for _, s := range sets {
		priced, err := m.Run.Price(m.variants(base, s, observe), m.workOf(s.seqs))
		if err != nil {
			return nil, err
		}
		observe = nil
		p.priced = append(p.priced, priced)
		p.cost.Add(priced.Cost())
	}
	return p, nil
}

func (p *passes) run(ctx context.Context, t *tracker) error {
	for _, priced := range p.priced {
		if err := priced.Run(ctx, forest.RunOptions{Progress: t.ahead}); err != nil {
			return err
		}
		t.advance(work(priced.Cost()))
	}
	return nil
}

// work is how much of a call's progress a pass is.
func work(c forest.Cost) int64 { return c.TokenLayers + c.HeadRows }

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
			want := ask{a.layers, a.loss && !m.Store.has(key("loss", a.layers, i)), a.kl && !m.Store.has(key("kl", a.layers, i))}
			if want.loss || want.kl {
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

// variants are the asks, after the list that is observed or compared with.
func (m *Measurement) variants(base []int, s unanswered, observe *forest.Variant) []forest.Variant {
	var variants []forest.Variant
	compared := false
	for _, a := range s.asks {
		compared = compared || a.kl
	}
	switch {
	case observe != nil:
		variants = append(variants, *observe)
	case compared:
		variants = append(variants, forest.Variant{Layers: base})
	}
	for _, a := range s.asks {
		v := forest.Variant{Layers: a.layers}
		if a.loss {
			v.Scores = func(i int, scores []engine.TokenScore) error {
				m.keep("loss", a.layers, s.seqs[i], Loss(scores))
				return nil
			}
		}
		if a.kl {
			v.Divergence = func(i int, nats []float64) error {
				sum := Sum{Tokens: len(nats)}
				for _, n := range nats {
					sum.Total += n
				}
				m.keep("kl", a.layers, s.seqs[i], sum)
				return nil
			}
		}
		variants = append(variants, v)
	}
	return variants
}

// allWork is one Work a sequence.
func (m *Measurement) allWork() []forest.Work {
	if m.work == nil {
		m.work = forest.Sequences(m.Sequences)
	}
	return m.work
}

func (m *Measurement) workOf(seqs []int) []forest.Work {
	all := m.allWork()
	if len(seqs) == len(all) {
		return all
	}
	some := make([]forest.Work, len(seqs))
	for i, s := range seqs {
		some[i] = all[s]
		some[i].Sequences = []int{s}
	}
	return some
}

func (m *Measurement) keep(what string, layers []int, seq int, s Sum) {
	m.Store.put(key(what, layers, seq), s.Total, float64(s.Tokens))
}

// loss and divergence are sums over all sequences, once they have been measured.
func (m *Measurement) loss(layers []int) Sum       { return m.sum("loss", layers) }
func (m *Measurement) divergence(layers []int) Sum { return m.sum("kl", layers) }

func (m *Measurement) sum(what string, layers []int) (s Sum) {
	for i := range m.Sequences {
		v, _ := m.Store.get(key(what, layers, i))
		s.Add(Sum{Total: v[0], Tokens: int(v[1])})
	}
	return s
}

func key(what string, layers []int, seq int) string { return fmt.Sprint(what, " ", layers, " ", seq) }

func everyIndex(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
