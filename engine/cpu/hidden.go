package cpu

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// NewHidden implements engine.Engine.
func (e *Engine) NewHidden(m *model.Model, rows int) (engine.Hidden, error) {
	width := m.Spec.Hidden
	return &hidden{e: e, data: e.takeHidden(rows * width), width: width}, nil
}

func (e *Engine) takeHidden(n int) []float32 {
	e.hiddenMu.Lock()
	defer e.hiddenMu.Unlock()
	if free := e.hiddens[n]; len(free) > 0 {
		h := free[len(free)-1]
		e.hiddens[n] = free[:len(free)-1]
		return h
	}
	clear(e.hiddens) // sizes changed: what was kept is unlikely to fit again
	return make([]float32, n)
}

// hidden is a [rows, width] slice of memory.
type hidden struct {
	e      *Engine
	data   []float32
	width  int
	shared bool // a slice of another hidden
}

func (h *hidden) Rows() int { return len(h.data) / h.width }

// Nothing is ever queued: what a call returns has been computed.

func (h *hidden) Host(context.Context) ([]float32, error) { return h.data, nil }
func (h *hidden) Sync(context.Context) error              { return nil }

func (h *hidden) Read(dst engine.Values) error {
	h.fits("read", dst)
	if dst.BF16 != nil {
		h.e.k.pack(dst.BF16, h.data)
		return nil
	}
	copy(dst.F32, h.data)
	return nil
}

func (h *hidden) Write(src engine.Values) error {
	h.fits("write", src)
	if src.BF16 != nil {
		h.e.k.widen(h.data, src.BF16)
		return nil
	}
	copy(h.data, src.F32)
	return nil
}

func (h *hidden) fits(verb string, v engine.Values) {
	if v.Len() != len(h.data) {
		panic(fmt.Sprintf("cpu: %s %d values of hidden states [%d, %d]", verb, v.Len(), h.Rows(), h.width))
	}
}

func (h *hidden) Slice(lo, hi int) engine.Hidden {
	return &hidden{e: h.e, data: h.data[lo*h.width : hi*h.width : hi*h.width], width: h.width, shared: true}
}

func (h *hidden) Release() {
	if h.shared || h.data == nil {
		return
	}
	h.e.hiddenMu.Lock()
	defer h.e.hiddenMu.Unlock()
	full := h.data[:cap(h.data)]
	h.e.hiddens[len(full)] = append(h.e.hiddens[len(full)], full)
	h.data = nil
}

// floats returns the memory of hidden states of the given width, or panics:
// another engine's or another model's hidden states are a bug.
func floats(h engine.Hidden, rows, width int) []float32 {
	c, ok := h.(*hidden)
	if !ok || c.width != width || len(c.data) < rows*width {
		panic(fmt.Sprintf("cpu: hidden states do not fit: want [%d, %d]", rows, width))
	}
	return c.data[:rows*width]
}
