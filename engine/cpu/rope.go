package cpu

import (
	"math"

	"github.com/coppice-ml/coppice/model"
)

// ropeTable holds cosines and sines [positions, Dim/2] of one rotary setting.
// A table is never changed once published; longer ones replace it.
type ropeTable struct {
	cos, sin []float32
	half     int
}

func (t *ropeTable) positions() int { return len(t.cos) / t.half }

func (t *ropeTable) at(position int32) (cos, sin []float32) {
	lo, hi := int(position)*t.half, (int(position)+1)*t.half
	return t.cos[lo:hi], t.sin[lo:hi]
}

// rope returns a table that reaches the given position.
func (e *Engine) rope(r model.Rope, position int32) *ropeTable {
	e.ropeMu.Lock()
	defer e.ropeMu.Unlock()
	old := e.ropes[r]
	if old != nil && int(position) < old.positions() {
		return old
	}
	n := 256
	for n <= int(position) {
		n *= 2
	}
	frequencies := r.Frequencies()
	t := &ropeTable{half: len(frequencies), cos: make([]float32, n*len(frequencies)), sin: make([]float32, n*len(frequencies))}
	for p := range n {
		for j, f := range frequencies {
			// the angle is rounded to float32, as the reference implementation does
			sin, cos := math.Sincos(float64(float32(p) * f))
			t.cos[p*t.half+j], t.sin[p*t.half+j] = float32(cos), float32(sin)
		}
	}
	e.ropes[r] = t
	return t
}
