package score

import (
	"context"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
)

// greedy drops layers one by one, each time the one whose removal leaves the
// lowest perplexity, the later of two equal ones. Source: SLEB (Song et al. 2024).
type greedy struct {
	p      *Priced
	left   []int   // layers
	rounds []round // played
	next   *passes // of the next round; nil when all are played
	cost   forest.Cost
}

// round is one layer that greedy-ppl dropped, and the mean loss without it and
// those before.
type round struct {
	layer int
	loss  float64
}

// greedily is the source of greedy-ppl: scores count the rounds from 1; layers
// that stayed have none and drop last, the later first.
func greedily(p *Priced, metric Metric) (reader, error) {
	p.greedy = &greedy{p: p, left: p.layers}
	return func(out *Ranking) {
		scores := p.undefined()
		for i, round := range p.greedy.rounds {
			scores[round.layer] = float64(i + 1)
			out.Losses = append(out.Losses, round.loss)
		}
		p.rank(metric, scores, out)
	}, nil
}

// roundCount is how many layers greedy-ppl drops: at least one stays.
func (g *greedy) roundCount() int {
	n := min(len(g.p.candidates(g.p.layers)), len(g.p.layers)-1)
	if g.p.opt.Rounds > 0 {
		n = min(n, g.p.opt.Rounds)
	}
	return n
}

// price plays the rounds that are known from earlier runs, plans the one after,
// and counts the others as if each dropped the first layer, which costs most.
func (g *greedy) price() error {
	for {
		if err := g.plan(); err != nil || g.next == nil {
			return err
		}
		if len(g.next.priced) > 0 {
			break
		}
		g.play()
	}
	g.cost = g.next.cost
	layers := g.left
	for range g.roundCount() - len(g.rounds) - 1 {
		layers = drop(layers, g.p.candidates(layers)[0])
		variants := make([]forest.Variant, 0, len(layers))
		for _, l := range g.p.candidates(layers) {
			variants = append(variants, forest.Variant{Layers: drop(layers, l), Scores: func(int, []engine.TokenScore) error { return nil }})
		}
		priced, err := g.p.run.Price(variants, g.p.measure.allWork())
		if err != nil {
			return err
		}
		g.cost.Add(priced.Cost())
	}
	return nil
}

// plan plans the next round, unless all are played.
func (g *greedy) plan() (err error) {
	g.next = nil
	if len(g.rounds) == g.roundCount() {
		return nil
	}
	var asks []ask
	for _, l := range g.p.candidates(g.left) {
		asks = append(asks, ask{layers: drop(g.left, l), loss: true})
	}
	g.next, err = g.p.measure.plan(nil, asks, nil)
	return err
}

// play drops the layer that is missed least, once the round's losses are known.
func (g *greedy) play() {
	candidates := g.p.candidates(g.left)
	var best round
	for i, l := range candidates {
		if loss := g.p.measure.loss(drop(g.left, l)).Mean(); i == 0 || loss <= best.loss {
			best = round{l, loss}
		}
	}
	g.rounds = append(g.rounds, best)
	g.left = drop(g.left, best.layer)
}

// run plays the rounds that are left.
func (g *greedy) run(ctx context.Context, t *tracker) error {
	for g.next != nil {
		if err := g.next.run(ctx, t); err != nil {
			return err
		}
		g.play()
		if err := g.plan(); err != nil {
			return err
		}
	}
	return nil
}
