package slow

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
)

// head is the final norm and the projection.
type head struct {
	e          *Engine
	s          *model.Spec
	norm       *vector
	normBias   *vector
	projection *tensor
	unit       bool
	parts      *parts
}

// Head implements engine.Engine.
func (e *Engine) Head(m *model.Model, o engine.HeadOptions) (engine.Head, error) {
	made := block.HeadOf(m.Spec)
	h := &head{e: e, s: m.Spec, unit: made.UnitRows, parts: &parts{e, m, o.Options, map[string]*tensor{}}}
	var err error
	if h.norm, err = h.parts.vector(made.Norm); err != nil {
		return nil, err
	}
	if h.normBias, err = h.parts.vector(made.NormBias); err != nil {
		return nil, err
	}
	h.projection, err = h.parts.tensor(made.Projection)
	return h, err
}

func (h *head) Release() {
	h.e.drain()
	for _, t := range h.parts.tensors {
		h.e.meter.take(-t.bytes())
	}
	clear(h.parts.tensors)
}

// weights are the projection's as products take them, and the norms its rows are
// divided by, nil where they are not.
func (h *head) weights() (w, norms []float64) {
	w = h.projection.inputs(h.e)
	if !h.unit {
		return w, nil
	}
	exact, d := h.projection.values(), h.s.Hidden
	norms = make([]float64, h.s.Vocab)
	for v := range norms {
		row := exact[v*d:][:d]
		norms[v] = math.Max(math.Sqrt(dot(row, row)), 1e-12)
	}
	return w, norms
}

// logits are those of one row of x, and the slopes of their cap.
func (h *head) logits(w, norms, x []float64) (logits, slopes []float64) {
	n := h.e.inputs(h.last().apply(x))
	logits, slopes = make([]float64, h.s.Vocab), make([]float64, h.s.Vocab)
	for v := range logits {
		logit := dot(n, w[v*len(x):][:len(x)])
		if norms != nil {
			logit /= norms[v]
		}
		logits[v], slopes[v] = capped(logit*h.s.Logit(), h.s.LogitSoftCap)
		slopes[v] *= h.s.Logit()
	}
	return logits, slopes
}

// run queues work on given rows of x and waits; do is called for each of rows,
// in no order, with its logits.
func (h *head) run(ctx context.Context, name string, x engine.Hidden, rows []int, do func(i int, logits []float64)) error {
	d := h.s.Hidden
	in := h.e.states(x, x.Rows(), d)
	rows = slices.Clone(rows)
	return h.e.await(ctx, task{name: name, in: append(pick(in.faults, rows), h.faults()...), do: func() error {
		w, norms := h.weights()
		bytes := int64(len(norms)+2*h.s.Vocab) * value
		h.e.meter.take(bytes)
		defer h.e.meter.take(-bytes)
		parallel(len(rows), func(i int) {
			logits, _ := h.logits(w, norms, in.v[rows[i]*d:][:d])
			do(i, logits)
		})
		return nil
	}})
}

func (h *head) faults() (all []faults) {
	for _, t := range h.parts.tensors {
		if t.trains != nil {
			all = append(all, t.trains.weight)
		}
	}
	return all
}

// distinct lists the rows that targets name, and for each target the place of its
// row in the list.
func distinct(targets []engine.Target) (rows, of []int) {
	place := map[int]int{}
	for _, t := range targets {
		at, ok := place[t.Row]
		if !ok {
			at = len(rows)
			place[t.Row] = at
			rows = append(rows, t.Row)
		}
		of = append(of, at)
	}
	return rows, of
}

// LogProbs implements engine.Head.
func (h *head) LogProbs(ctx context.Context, x engine.Hidden, targets []engine.Target, out []engine.TokenScore) error {
	rows, of := distinct(targets)
	scores, targets := make([]engine.TokenScore, len(targets)), slices.Clone(targets)
	err := h.run(ctx, "Head.LogProbs", x, rows, func(i int, logits []float64) {
		greedy := argmax(logits)
		for t, target := range targets {
			if of[t] == i {
				scores[t] = engine.TokenScore{LogProb: logits[target.Token], Greedy: greedy == int(target.Token)}
			}
		}
		total := softmax(logits)
		for t := range targets {
			if of[t] == i {
				scores[t].LogProb -= total
			}
		}
	})
	if err == nil {
		copy(out, scores)
	}
	return err
}

// argmax is the index of the largest value as float32 tells them apart, the lowest
// of equals.
func argmax(xs []float64) int {
	best := 0
	for i, x := range xs {
		if float32(x) > float32(xs[best]) {
			best = i
		}
	}
	return best
}

// Logits implements engine.Head.
func (h *head) Logits(ctx context.Context, x engine.Hidden, rows []int, out []float32) error {
	all := make([]float32, len(rows)*h.s.Vocab)
	err := h.run(ctx, "Head.Logits", x, rows, func(i int, logits []float64) {
		for v, logit := range logits {
			all[i*h.s.Vocab+v] = float32(logit)
		}
	})
	if err == nil {
		copy(out, all)
	}
	return err
}

// KL implements engine.Head.
func (h *head) KL(ctx context.Context, p engine.Hidden, q []engine.Hidden, rows []int, out [][]float64) error {
	from := make([][]float64, len(rows))
	err := h.run(ctx, "Head.KL", p, rows, func(i int, logits []float64) { from[i] = logits })
	for j := range q {
		if err != nil {
			return err
		}
		all := make([]float64, len(rows))
		err = h.run(ctx, "Head.KL", q[j], rows, func(i int, logits []float64) { all[i] = divergence(slices.Clone(from[i]), logits) })
		if err == nil {
			copy(out[j], all)
		}
	}
	return err
}

// divergence is KL(softmax(a) || softmax(b)); both are overwritten.
func divergence(a, b []float64) (kl float64) {
	logits := slices.Clone(a)
	other := slices.Clone(b)
	za, zb := softmax(a), softmax(b)
	for i, p := range a {
		kl += p * (logits[i] - za - other[i] + zb)
	}
	return math.Max(0, kl)
}

// Norm implements engine.Head.
func (h *head) Norm(ctx context.Context, x, y engine.Hidden) error {
	in, out := h.e.states(x, x.Rows(), h.s.Hidden), h.e.states(y, x.Rows(), h.s.Hidden)
	return h.e.enqueue(ctx, task{name: "Head.Norm", in: append(h.faults(), in.faults), out: []faults{out.faults}, do: func() error {
		copy(out.v, h.last().apply(in.v))
		return nil
	}})
}

// Loss implements engine.TrainHead.
func (h *head) Loss(ctx context.Context, x engine.Hidden, targets []engine.Target, weights []float32, dx engine.Hidden) (float64, error) {
	rows, of := distinct(targets)
	targets, weights = slices.Clone(targets), slices.Clone(weights)
	return h.train(ctx, "Head.Loss", x, dx, rows, func(i int, logits []float64) (loss float64, d []float64) {
		d = make([]float64, len(logits))
		named := slices.Clone(logits)
		total := softmax(logits)
		for t, target := range targets {
			if of[t] == i {
				w := float64(weights[t])
				loss += w * (total - named[target.Token])
				addScaled(d, w, logits)
				d[target.Token] -= w
			}
		}
		return loss, d
	})
}

// Distil implements engine.TrainHead.
func (h *head) Distil(ctx context.Context, teacher engine.Head, t, x engine.Hidden, rows []int, weights []float32, temperature float64, dx engine.Hidden) (float64, error) {
	from, ok := teacher.(*head)
	if !ok || from.s.Vocab != h.s.Vocab {
		return 0, fmt.Errorf("distillation: the teacher's head has another vocabulary or engine")
	}
	rows, weights = slices.Clone(rows), slices.Clone(weights)
	p := make([][]float64, len(rows))
	err := from.run(ctx, "Head.Distil", t, rows, func(i int, logits []float64) { p[i] = scaled(logits, 1/temperature) })
	if err != nil {
		return 0, err
	}
	return h.train(ctx, "Head.Distil", x, dx, rows, func(i int, logits []float64) (loss float64, d []float64) {
		w, q := float64(weights[i]), scaled(logits, 1/temperature)
		loss = w * temperature * temperature * divergence(p[i], q)
		d = make([]float64, len(q))
		for v := range d {
			d[v] = w * temperature * (q[v] - p[i][v])
		}
		return loss, d
	})
}

func scaled(xs []float64, by float64) []float64 {
	out := make([]float64, len(xs))
	for i, x := range xs {
		out[i] = x * by
	}
	return out
}

// train sums the losses of rows of x and takes their gradients back to dx and to
// what trains; loss gives a row's, and its derivative by the logits.
func (h *head) train(ctx context.Context, name string, x, dx engine.Hidden, rows []int, loss func(i int, logits []float64) (float64, []float64)) (float64, error) {
	n, d := x.Rows(), h.s.Hidden
	in := h.e.states(x, n, d)
	t := task{name: name, in: append(pick(in.faults, rows), h.faults()...)}
	for _, part := range h.parts.tensors {
		if part.trains != nil {
			t.in, t.out = append(t.in, part.trains.grad), append(t.out, part.trains.grad)
		}
	}
	var to *hidden
	if dx != nil {
		to = h.e.states(dx, n, d)
		t.out = append(t.out, to.faults)
	}
	var sum float64
	t.do = func() error {
		w, norms := h.weights()
		back := make([]float64, n*d)
		for i, r := range rows {
			row := in.v[r*d:][:d]
			logits, slopes := h.logits(w, norms, row)
			l, dl := loss(i, logits)
			sum += l
			for v := range dl {
				dl[v] *= slopes[v]
			}
			copy(back[r*d:], h.back(w, norms, row, dl))
		}
		if to != nil {
			copy(to.v, back)
		}
		return nil
	}
	if err := h.e.await(ctx, t); err != nil {
		return 0, err
	}
	return sum, nil
}

// back takes a row's gradient by the logits before their cap to its hidden state.
func (h *head) back(w, norms, x, dl []float64) []float64 {
	d := len(x)
	n, g, exact := h.last().apply(x), h.projection.gradient(), h.projection.values()
	dn := make([]float64, d)
	for v, slope := range dl {
		if slope == 0 {
			continue
		}
		row, by := w[v*d:][:d], slope
		if norms != nil {
			by /= norms[v]
		}
		addScaled(dn, by, row)
		if g == nil {
			continue
		}
		addScaled(g[v*d:][:d], by, n)
		if norms != nil { // and of the division: w / |w| changes across w only
			addScaled(g[v*d:][:d], -by*dot(n, row)/(norms[v]*norms[v]), exact[v*d:][:d])
		}
	}
	return h.last().back(x, dn)
}
