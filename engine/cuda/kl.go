//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"math"
	"unsafe"

	"github.com/coppice-ml/coppice/engine"
)

// divergence is head.cu's.
type divergence struct {
	sumA, sumB, cross float64
	topA, topB        float32
}

// value is KL(softmax(a) || softmax(b)) in nats; rounding can make it a little
// negative.
func (d divergence) value() float64 {
	logA := float64(d.topA) + math.Log(d.sumA)
	logB := float64(d.topB) + math.Log(d.sumB)
	return max(0, d.cross/d.sumA-logA+logB)
}

// KL implements engine.Head. Of every block of the vocabulary the logits of p are
// computed once and compared with those of each q; what a block comes to is merged
// in the order of the blocks.
func (h *head) KL(ctx context.Context, p engine.Hidden, q []engine.Hidden, rows []int, out [][]float64) error {
	const name = "Head.KL"
	if ctx.Err() != nil || len(rows) == 0 || len(q) == 0 {
		return context.Cause(ctx)
	}
	var inputs []address
	for _, x := range append([]engine.Hidden{p}, q...) {
		inputs = append(inputs, h.e.states(x, x.Rows(), h.s.Hidden))
	}
	h.e.calls.Lock()
	defer h.e.calls.Unlock()
	const size = int(unsafe.Sizeof(divergence{}))
	n := len(rows)
	states, give, err := h.e.results(name, size*n*len(q))
	if err != nil {
		return err
	}
	defer give()
	err = h.call(ctx, name, n, numbers(rows), func(p *projecting) error {
		return p.project(inputs, func(j int, a, b buffer, lo, count, column, width int) error {
			return h.e.rowsOf("diverge_block", count, states.from(int64(size*(j*n+lo))), a, b, count, width, column)
		})
	})
	if err != nil {
		return err
	}
	all := make([]divergence, n*len(q))
	if err := h.e.stage.down(ctx, name, bytesOf(all), states.at); err != nil {
		return err
	}
	h.e.w.settled()
	for j := range q {
		for i := range rows {
			out[j][i] = all[j*n+i].value()
		}
	}
	return nil
}
