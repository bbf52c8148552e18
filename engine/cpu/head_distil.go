package cpu

import (
	"context"
	"fmt"
	"math"

	"github.com/coppice-ml/coppice/engine"
)

// distillation is what a call of Distil adds to one of Loss: a teacher, whose
// softened probabilities take the place of targets. With logits a of the teacher
// and b of the student, both divided by the temperature T,
//
//	T² KL(p || q) = T² (sum_v p_v (a_v - b_v) - log Z_a + log Z_b)
//
// whose gradient by the student's undivided logits is T (q - p) (Hinton et al. 2015).
type distillation struct {
	teacher     *head
	in          []float32
	weights     []float32
	temperature float64
	cool        float32 // 1 / T

	x        operand
	logits   [][]float32
	room     []float32
	partials []partial // [block, row of the chunk]
	norms    []float64 // [n]
	cross    []float64 // [block, row of the chunk] sums of p (a - b)
}

// Distil implements engine.TrainHead.
func (h *head) Distil(ctx context.Context, teacher engine.Head, t, x engine.Hidden, rows []int, weights []float32, temperature float64, dx engine.Hidden) (float64, error) {
	if err := ctx.Err(); err != nil {
		return 0, context.Cause(ctx)
	}
	other, ok := teacher.(*head)
	if !ok || other.s.Vocab != h.s.Vocab {
		return 0, fmt.Errorf("the teacher's head is another engine's or of another vocabulary than %d tokens", h.s.Vocab)
	}
	if err := other.refresh(); err != nil {
		return 0, err
	}
	g := h.e.headGrads.take()
	defer h.e.headGrads.put(g)
	targets := make([]engine.Target, len(rows)) // of any token: only the rows count
	for i, row := range rows {
		targets[i].Row = row
	}
	g.targets.targets = targets
	g.targets.sortTargets(targets, x.Rows(), blocksOf(h.s.Vocab))
	g.distil = &distillation{teacher: other, in: floats(t, t.Rows(), other.s.Hidden), weights: weights, temperature: temperature, cool: float32(1 / temperature)}
	return g.run(h, x, dx)
}

func (s *distillation) prepare(g *headGrad) {
	s.x = s.x.grow(g.n*s.teacher.s.Hidden, g.e.half)
	s.room = grow(s.room, g.n*g.h.s.Vocab)
	s.logits = s.logits[:0]
	for b := range g.logits {
		at := b * headBlock * g.n
		s.logits = append(s.logits, s.room[at:at+len(g.logits[b])])
	}
	s.partials, s.cross = resize(s.partials, len(g.logits)*g.n), resize(s.cross, len(g.logits)*g.n)
	s.norms = resize(s.norms, g.n)
}

func (s *distillation) gather(w *worker, g *headGrad, lo, hi int) {
	s.teacher.gather(w, s.x, s.in, g.rows(), lo, hi)
}

// project computes the teacher's logits of a block, after the student's, and
// what both come to.
func (s *distillation) project(w *worker, g *headGrad, b int) {
	g.blockLogits(w, s.teacher, s.x, b, s.logits[b])
	width := len(s.logits[b]) / g.n
	exps := w.headBack.row.floats(width)
	for i := range g.n {
		a, student := s.logits[b][i*width:][:width], g.logits[b][i*width:][:width]
		top, _ := g.e.k.argmax(a)
		p := partial{top: top, sum: g.e.k.expSum(exps, a, top)}
		var cross float64
		for v, e := range exps {
			cross += float64(e) * (float64(a[v]) - float64(student[v]))
		}
		s.partials[b*g.n+i], s.cross[b*g.n+i] = p, cross
	}
}

// combine makes the loss of a row of the chunk.
func (s *distillation) combine(g *headGrad, i int) {
	norm, _ := combine(s.partials[i:], g.n)
	s.norms[i] = norm
	var cross float64
	for b := range g.logits {
		cross += s.cross[b*g.n+i] * math.Exp(float64(s.partials[b*g.n+i].top)-norm)
	}
	weight, t := s.weights[g.lo+i], s.temperature
	g.sums[i] = float32(float64(weight) * t)
	g.losses[i] = float64(weight) * t * t * max(0, cross-norm+g.targets.norms[g.lo+i])
}

// subtract takes the teacher's probabilities from the student's.
func (s *distillation) subtract(g *headGrad, b, i int, p, scratch []float32) {
	row := s.logits[b][i*len(p):][:len(p)]
	g.e.k.expSum(scratch, row, float32(s.norms[i]))
	g.e.k.scale(scratch, -1)
	g.e.k.add(p, p, scratch)
}
