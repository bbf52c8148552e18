//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"errors"

	"github.com/coppice-ml/coppice/engine"
)

// gramBand is how many rows are multiplied by all at a time.
const gramBand = 512

// Gram implements engine.Gram. Nothing of it need keep bits beside other rows: the
// algorithm is the library's first.
func (e *Engine) Gram(ctx context.Context, x engine.Hidden, n int, out []float32) error {
	const name = "Gram"
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	h := x.(*hidden)
	s := shape{out: n, in: h.rows * h.width / n}
	e.calls.Lock()
	defer e.calls.Unlock()
	inputs, give, err := e.results(name, int(int64(n*s.in)*e.inputBytes()))
	if err != nil {
		return err
	}
	defer give()
	products, giveProducts, err := e.results(name, 4*n*min(n, gramBand))
	if err != nil {
		return err
	}
	defer giveProducts()
	if err := e.w.do(name, func() error { return e.spread("convert", n*s.in, inputs, h.at, 0, uint64(n*s.in)) }); err != nil {
		return err
	}
	for lo := 0; lo < n; lo += gramBand {
		count := min(gramBand, n-lo)
		err := e.w.do(name, func() error {
			best, err := e.b.algorithms(s, e.half, count, false)
			if err != nil {
				return err
			}
			return e.b.run(product{shape: s, half: e.half, n: count, w: inputs.at, x: inputs.from(int64(lo*s.in) * e.inputBytes()), y: products.at,
				algorithm: best[0].algorithm, workspace: e.law.workspace, stream: e.compute})
		})
		band := make([]float32, count*n)
		if err = errors.Join(err); err == nil {
			err = e.stage.down(ctx, name, bytesOf(band), products.at)
		}
		if err != nil {
			return err
		}
		for i := lo; i < lo+count; i++ {
			copy(out[i*(i+1)/2:][:i+1], band[(i-lo)*n:])
		}
	}
	return nil
}
