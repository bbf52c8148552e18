package block

import (
	"math"
	"sync"

	"github.com/coppice-ml/coppice/model"
)

// Rotary holds cosines and sines [positions, Width] of one rotary setting: of
// each pair once or, for interleaved pairs, of both columns, the sine negative for
// the first. It is never changed: longer tables are new ones.
type Rotary struct {
	Cos, Sin    []float32
	Width       int
	Interleaved bool
	back        []float32 // Sin of the angles the other way round, of interleaved pairs
}

// Positions is how many positions the table reaches.
func (t *Rotary) Positions() int { return len(t.Cos) / t.Width }

// At returns the cosines and sines of a position, [Width] each.
func (t *Rotary) At(position int32) (cos, sin []float32) {
	lo, hi := int(position)*t.Width, (int(position)+1)*t.Width
	return t.Cos[lo:hi], t.Sin[lo:hi]
}

// Back returns what turns a position back: the same as At but for interleaved
// pairs; of others, halves that change places turn the other way.
func (t *Rotary) Back(position int32) (cos, sin []float32) {
	cos, sin = t.At(position)
	if t.Interleaved {
		sin = t.back[int(position)*t.Width:][:t.Width]
	}
	return cos, sin
}

// NewRotary makes a table of so many positions for sequences of a choice.
func NewRotary(r model.Rope, choice, positions int) *Rotary {
	frequencies, magnitude := r.Frequencies(choice), r.Magnitude()
	t := &Rotary{Width: len(frequencies), Interleaved: r.Interleaved}
	if r.Interleaved {
		t.Width *= 2
	}
	t.Cos, t.Sin = make([]float32, 0, positions*t.Width), make([]float32, 0, positions*t.Width)
	for p := range positions {
		for _, f := range frequencies {
			// the angle is rounded to float32, as the reference implementation does
			sin, cos := math.Sincos(float64(float32(p) * f))
			sin, cos = sin*magnitude, cos*magnitude
			if r.Interleaved {
				t.Cos, t.Sin = append(t.Cos, float32(cos)), append(t.Sin, float32(-sin))
			}
			t.Cos, t.Sin = append(t.Cos, float32(cos)), append(t.Sin, float32(sin))
		}
	}
	if r.Interleaved {
		t.back = make([]float32, len(t.Sin))
		for i, s := range t.Sin {
			t.back[i] = -s
		}
	}
	return t
}

// Rotaries keeps the longest table of each setting and choice. Its methods may be
// called by several goroutines at once; the zero value is ready for use.
type Rotaries struct {
	mu     sync.RWMutex
	tables map[setting]*Rotary
}

// setting is what a table depends on.
type setting struct {
	rope   model.Rope
	choice int
}

// mostTables bounds what is kept: where each length has a choice of its own,
// tables come and go.
const mostTables = 64

// Reach returns a table of a choice that reaches the given position.
func (ts *Rotaries) Reach(r model.Rope, choice int, position int32) *Rotary {
	key := setting{r, choice}
	ts.mu.RLock()
	old := ts.tables[key]
	ts.mu.RUnlock()
	if old != nil && int(position) < old.Positions() {
		return old
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	n := 256
	for n <= int(position) {
		n *= 2
	}
	if ts.tables == nil {
		ts.tables = map[setting]*Rotary{}
	}
	for k := range ts.tables {
		if len(ts.tables) >= mostTables && k.choice > 1 {
			delete(ts.tables, k)
		}
	}
	t := NewRotary(r, choice, n)
	ts.tables[key] = t
	return t
}
