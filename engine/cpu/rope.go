package cpu

import (
	"math"

	"github.com/coppice-ml/coppice/model"
)

// ropeTable holds cosines and sines [positions, width] of one rotary setting:
// of each pair once, or, for interleaved pairs, of both columns, the sine
// negative for the first. A table is never changed once published; longer ones
// replace it.
type ropeTable struct {
	cos, sin    []float32
	width       int
	interleaved bool
}

func (t *ropeTable) positions() int { return len(t.cos) / t.width }

// rotate applies the rotary embedding of a position to one head.
func (t *ropeTable) rotate(k *kernels, head []float32, position int32) {
	lo, hi := int(position)*t.width, (int(position)+1)*t.width
	cos, sin := t.cos[lo:hi], t.sin[lo:hi]
	if t.interleaved {
		k.rotatePairs(head, cos, sin)
	} else {
		k.rotate(head[:t.width], head[t.width:], cos, sin)
	}
}

func newRopeTable(r model.Rope, positions int) *ropeTable {
	frequencies := r.Frequencies()
	t := &ropeTable{width: len(frequencies), interleaved: r.Interleaved}
	if r.Interleaved {
		t.width *= 2
	}
	t.cos, t.sin = make([]float32, 0, positions*t.width), make([]float32, 0, positions*t.width)
	for p := range positions {
		for _, f := range frequencies {
			// the angle is rounded to float32, as the reference implementation does
			sin, cos := math.Sincos(float64(float32(p) * f))
			if r.Interleaved {
				t.cos, t.sin = append(t.cos, float32(cos)), append(t.sin, float32(-sin))
			}
			t.cos, t.sin = append(t.cos, float32(cos)), append(t.sin, float32(sin))
		}
	}
	return t
}

// rope returns a table that reaches the given position.
func (e *Engine) rope(r model.Rope, position int32) *ropeTable {
	e.ropeMu.RLock()
	old := e.ropes[r]
	e.ropeMu.RUnlock()
	if old != nil && int(position) < old.positions() {
		return old
	}
	e.ropeMu.Lock()
	defer e.ropeMu.Unlock()
	n := 256
	for n <= int(position) {
		n *= 2
	}
	t := newRopeTable(r, n)
	e.ropes[r] = t
	return t
}
