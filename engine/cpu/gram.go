package cpu

import (
	"context"

	"github.com/coppice-ml/coppice/engine"
)

var _ engine.Gram = (*Engine)(nil)

// Gram implements engine.Gram: bands of rows against the rows up to their own.
func (e *Engine) Gram(ctx context.Context, x []float32, n int, out []float32) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	d := len(x) / n
	bands := (n + gramBand - 1) / gramBand
	return e.pool.each(bands, func(w *worker, i int) {
		band := bands - 1 - i // the longest first, so that workers end together
		lo, hi := band*gramBand, min((band+1)*gramBand, n)
		rows := x[lo*d:]
		if tile := e.padded(hi-lo) * d; len(rows) < tile { // products read whole tiles
			rows = w.floats(slotConvert, tile)
			copy(rows, x[lo*d:hi*d])
		}
		dst := w.floats(slotHeadLogits, e.padded(hi-lo)*hi)
		e.mul.product(w, shape{n: hi, k: d}, hi-lo, operand{f32: rows}, operand{f32: x[:hi*d]}, dst)
		for i := lo; i < hi; i++ {
			copy(out[i*n:][:i+1], dst[(i-lo)*hi:])
		}
	})
}

// gramBand rows share one product; the quantum of any provider divides it.
const gramBand = 128
