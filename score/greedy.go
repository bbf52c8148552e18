package score

import (
	"context"
	"slices"
)

// round is one layer that greedy-ppl dropped, and the mean loss without it and
// those before.
type round struct {
	layer int
	loss  float64
}

// rankGreedily drops layers one by one, each time the one whose removal leaves
// the lowest perplexity, the later of two equal ones. Source: SLEB (Song et al.
// 2024).
func (r *request) rankGreedily(ctx context.Context, m *Measurement) error {
	layers := r.layers
	for range r.roundCount() {
		candidates := r.candidates(layers)
		lists := make([][]int, len(candidates))
		for i, l := range candidates {
			lists[i] = drop(layers, l)
		}
		losses, err := m.Losses(ctx, lists)
		if err != nil {
			return err
		}
		best := 0
		for i := range losses {
			if losses[i].Mean() <= losses[best].Mean() {
				best = i
			}
		}
		r.greedy = append(r.greedy, round{candidates[best], losses[best].Mean()})
		layers = lists[best]
	}
	return nil
}

// roundCount is how many layers greedy-ppl drops: at least one stays.
func (r *request) roundCount() int {
	n := min(len(r.candidates(r.layers)), len(r.layers)-1)
	if r.opt.Rounds > 0 {
		n = min(n, r.opt.Rounds)
	}
	return n
}

// rounds fills a ranking with what was dropped: scores count the rounds from 1;
// layers that stayed have none and drop last, the later first.
func (r *request) rounds(out *Ranking) {
	out.Scores = r.undefined()
	for i, round := range r.greedy {
		out.Scores[round.layer] = float64(i + 1)
		out.Losses = append(out.Losses, round.loss)
	}
	out.Order = order(out.Scores, Lowest, r.layers, slices.Clone(r.protect))
}
