package cpu

import (
	"context"
	"slices"

	"github.com/coppice-ml/coppice/engine"
)

var _ engine.Gram = (*Engine)(nil)

// Gram implements engine.Gram: bands of rows against the rows up to their own.
func (e *Engine) Gram(ctx context.Context, x engine.Hidden, n int, out []float32) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	g := e.grams.take()
	defer e.grams.put(g)
	h := x.(*hidden)
	d := len(h.data) / n
	rows, err := g.operand(e, h.data, n, d)
	if err != nil {
		return err
	}
	rowsOf := roundUp(gramBand, e.quantum())
	bands := (n + rowsOf - 1) / rowsOf
	return e.pool.each(bands, func(w *worker, i int) {
		band := bands - 1 - i // the longest first, so that workers end together
		lo, hi := band*rowsOf, min((band+1)*rowsOf, n)
		dst := w.gram.band.floats((hi - lo) * hi)
		e.mul.product(w, shape{n: hi, k: d}, hi-lo, rows.from(lo*d), rows, dst)
		for i := lo; i < hi; i++ {
			copy(out[i*(i+1)/2:][:i+1], dst[(i-lo)*hi:])
		}
		w.lap(lapGram)
	})
}

// gramBand rows, or a few more where they come in quanta, share one product.
const gramBand = 128

// gramRows is a matrix in the form products take, kept between calls.
type gramRows operand

// operand rounds x [n, d] to what products take.
func (g *gramRows) operand(e *Engine, x []float32, n, d int) (operand, error) {
	size := n * d
	var rows operand
	switch {
	case e.half:
		g.bf16 = slices.Grow(g.bf16[:0], size)[:size]
		rows.bf16 = g.bf16
	case !e.round:
		return operand{f32: x}, nil
	default:
		g.f32 = slices.Grow(g.f32[:0], size)[:size]
		rows.f32 = g.f32
	}
	return rows, e.pool.split(n, gramBand, 1, func(w *worker, lo, hi int) {
		e.pack(rows.from(lo*d), x[lo*d:hi*d])
		w.lap(lapGram)
	})
}
