//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
)

// hidden are hidden states [rows, width] on the device.
type hidden struct {
	e      *Engine
	at     address
	rows   int
	width  int
	memory buffer // of the whole; none of a slice
}

// NewHidden implements engine.Engine.
func (e *Engine) NewHidden(m *model.Model, rows int) (engine.Hidden, error) {
	h := &hidden{e: e, rows: rows, width: m.Spec.Hidden}
	err := e.w.do("NewHidden", func() (err error) {
		h.memory, err = e.pool.take(work, int64(4*rows*h.width))
		return err
	})
	h.at = h.memory.at
	return h, err
}

func (h *hidden) Rows() int { return h.rows }

func (h *hidden) Slice(lo, hi int) engine.Hidden {
	if lo < 0 || hi < lo || hi > h.rows {
		panic(fmt.Sprintf("cuda: rows [%d, %d) of %d", lo, hi, h.rows))
	}
	return &hidden{e: h.e, at: h.at + address(4*lo*h.width), rows: hi - lo, width: h.width}
}

// Host implements engine.Hidden: a copy.
func (h *hidden) Host(ctx context.Context) ([]float32, error) {
	out := make([]float32, h.rows*h.width)
	if err := h.e.stage.down(ctx, "Hidden.Host", bytesOf(out), h.at); err != nil {
		return nil, err
	}
	h.e.w.settled()
	return out, nil
}

// Read implements engine.Hidden; it has been computed when the call returns.
func (h *hidden) Read(dst engine.Values) error {
	h.fits(dst)
	out := dst.F32
	if dst.BF16 != nil {
		out = make([]float32, len(dst.BF16))
	}
	if err := h.e.stage.down(context.Background(), "Hidden.Read", bytesOf(out), h.at); err != nil {
		return err
	}
	for i := range dst.BF16 {
		dst.BF16[i] = number.ToBF16(out[i])
	}
	return nil
}

// Write implements engine.Hidden; src has been read when the call returns.
func (h *hidden) Write(src engine.Values) error {
	h.fits(src)
	in := src.F32
	if src.BF16 != nil {
		in = make([]float32, len(src.BF16))
		for i, v := range src.BF16 {
			in[i] = number.FromBF16(v)
		}
	}
	return h.e.stage.up(context.Background(), "Hidden.Write", h.e.compute, func(at int) address { return h.at + address(at) }, bytesOf(in), 4, nil)
}

func (h *hidden) fits(v engine.Values) {
	if v.Len() != h.rows*h.width {
		panic(fmt.Sprintf("cuda: %d values for hidden states [%d, %d]", v.Len(), h.rows, h.width))
	}
}

// Sync implements engine.Hidden.
func (h *hidden) Sync(ctx context.Context) error { return h.e.await(ctx, "Hidden.Sync") }

// Release implements engine.Hidden. What is queued may still use the memory: who
// gets it next queues behind.
func (h *hidden) Release() {
	if h.memory.at == 0 {
		return
	}
	_ = h.e.w.do("Hidden.Release", func() error { return h.e.pool.give(h.memory) })
	h.memory = buffer{}
}

// states returns hidden states of at least so many rows, or panics: another
// engine's or another model's are a bug.
func (e *Engine) states(x engine.Hidden, rows, width int) address {
	h, ok := x.(*hidden)
	if !ok || h.e != e || h.width != width || h.rows < rows {
		panic(fmt.Sprintf("cuda: hidden states do not fit: want [%d, %d]", rows, width))
	}
	return h.at
}
