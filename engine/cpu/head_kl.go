package cpu

import (
	"context"
	"math"

	"github.com/coppice-ml/coppice/engine"
)

// KL implements engine.Head. Of every block of the vocabulary the logits of p
// are computed once and compared with those of each q:
//
//	KL(p || q) = sum_v p_v (a_v - b_v) - log Z_a + log Z_b
//
// with logits a, b and p_v = exp(a_v) / Z_a. What a block comes to is merged in
// the order of the blocks, so a row's value depends on that row alone.
func (h *head) KL(ctx context.Context, p engine.Hidden, q []engine.Hidden, rows []int, out [][]float64) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if len(rows) == 0 || len(q) == 0 {
		return nil
	}
	if err := h.refresh(); err != nil {
		return err
	}
	var xs []operand
	for _, y := range append([]engine.Hidden{p}, q...) {
		x, in := operand{}.grow(h.e.room(len(rows))*h.s.Hidden, h.e.half), floats(y, y.Rows(), h.s.Hidden)
		err := h.e.pool.split(len(rows), rowTile, 1, func(w *worker, lo, hi int) { h.gather(w, x, in, rows, lo, hi) })
		if err != nil {
			return err
		}
		xs = append(xs, x)
	}
	blocks := blocksOf(h.s.Vocab)
	parts := make([]divergence, blocks*len(q)*len(rows)) // [block, q, row]
	err := h.e.pool.each(blocks, func(w *worker, block int) {
		column := block * headBlock
		width := min(headBlock, h.s.Vocab-column)
		weights := h.block(w, column, column+width)
		h.compare(w, xs, weights, len(rows), column, width, parts[block*len(q)*len(rows):])
		h.leave(column, width)
	})
	if err != nil {
		return err
	}
	stride := len(q) * len(rows)
	for j := range q {
		for i := range rows {
			d := parts[j*len(rows)+i]
			for b := 1; b < blocks; b++ {
				d.merge(parts[b*stride+j*len(rows)+i])
			}
			out[j][i] = d.value()
		}
	}
	return nil
}

// klTile is how many rows' logits of p stay in cache while each q's are compared.
const klTile = 64

// compare fills parts [q, row] for one block of the vocabulary.
func (h *head) compare(w *worker, xs []operand, weights operand, rows, column, width int, parts []divergence) {
	d := h.s.Hidden
	tile := roundUp(klTile, h.e.quantum())
	for lo := 0; lo < rows; lo += tile {
		n := min(tile, rows-lo)
		room := h.e.room(n) * width
		logits := w.head.logits.floats(2*room + width)
		a, b, exps := logits[:room], logits[room:2*room], logits[2*room:]
		project := func(x operand, dst []float32) {
			h.e.mul.filled(w, shape{n: width, k: d}, n, h.e.room(n), x.from(lo*d), weights, dst)
			h.finish(dst[:n*width], column, width)
		}
		project(xs[0], a)
		for j, x := range xs[1:] {
			project(x, b)
			for i := range n {
				parts[j*rows+lo+i] = h.e.k.diverge(a[i*width:][:width], b[i*width:][:width], exps)
			}
		}
	}
}

// divergence is what one row's two softmaxes over a part of the vocabulary come
// to, relative to the largest logits.
type divergence struct {
	topA, topB float32
	sumA, sumB float64 // of exp(a - topA), exp(b - topB)
	cross      float64 // sum of exp(a - topA) (a - b)
}

// diverge compares two rows of logits; exps is scratch of their length.
func (k *kernels) diverge(a, b, exps []float32) divergence {
	var d divergence
	d.topB, _ = k.argmax(b)
	d.sumB = k.expSum(exps, b, d.topB)
	d.topA, _ = k.argmax(a)
	d.sumA = k.expSum(exps, a, d.topA)
	for i, e := range exps {
		d.cross += float64(e) * (float64(a[i]) - float64(b[i]))
	}
	return d
}

func (d *divergence) merge(o divergence) {
	topA, topB := max(d.topA, o.topA), max(d.topB, o.topB)
	mine, others := math.Exp(float64(d.topA-topA)), math.Exp(float64(o.topA-topA))
	d.sumA = d.sumA*mine + o.sumA*others
	d.cross = d.cross*mine + o.cross*others
	d.sumB = d.sumB*math.Exp(float64(d.topB-topB)) + o.sumB*math.Exp(float64(o.topB-topB))
	d.topA, d.topB = topA, topB
}

// value is the divergence in nats; rounding can make it a little negative.
func (d *divergence) value() float64 {
	logA := float64(d.topA) + math.Log(d.sumA)
	logB := float64(d.topB) + math.Log(d.sumB)
	return max(0, d.cross/d.sumA-logA+logB)
}
