package forest

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// NotFiniteError says where a NaN or Inf among hidden states began.
type NotFiniteError struct {
	Layer    int  // original index
	Sequence int  // index of the sequence, or of the segment's Work
	Token    int  // index in it
	Entering bool // it came in with the embedding, not out of the layer
}

func (e *NotFiniteError) Error() string {
	side := "leaving"
	if e.Entering {
		side = "entering"
	}
	return fmt.Sprintf("layer %d: sequence %d, token %d: the hidden state %s the layer is NaN or Inf", e.Layer, e.Sequence, e.Token, side)
}

// ErrNotFinite is what errors about NaN and Inf are.
var ErrNotFinite = errors.New("not finite")

// Is makes errors.Is find ErrNotFinite.
func (e *NotFiniteError) Is(target error) bool { return target == ErrNotFinite }

func (e *badScore) Is(target error) bool { return target == ErrNotFinite }

// NotFinite is the error for row t of a step, whose state on the given side
// was found not to be finite.
func (s Step) NotFinite(t int, entering bool) *NotFiniteError {
	e := &NotFiniteError{Layer: s.Layer, Entering: entering}
	for i, segment := range s.Batch.Segments {
		if t < segment.Start+segment.Len {
			e.Sequence, e.Token = s.First+i, t-segment.Start
			return e
		}
	}
	return e
}

// badScore is a score that is no number, before it is known why.
type badScore struct {
	variant      Variant
	work, target int
}

func (e *badScore) Error() string {
	return fmt.Sprintf("head: sequence %d: score %d is NaN or Inf while all hidden states are finite", e.work, e.target)
}

// explain runs a Work whose scores are no numbers once more and looks for the
// layer where that began.
func (p *pass) explain(ctx context.Context, err error) error {
	var bad *badScore
	if !errors.As(err, &bad) {
		return err
	}
	again := p.r.Run(ctx, []Variant{{Layers: bad.variant.Layers, Observe: func(s Step) error {
		s.First = bad.work
		if at := firstNotFinite(s.In, s.Batch.Len()); at >= 0 {
			return s.NotFinite(at, true)
		}
		if at := firstNotFinite(s.Out, s.Batch.Len()); at >= 0 {
			return s.NotFinite(at, false)
		}
		return nil
	}}}, p.work[bad.work:bad.work+1])
	if again != nil {
		return again
	}
	return err
}

// firstNotFinite is the first of n rows with a NaN or Inf, or -1.
func firstNotFinite(states []float32, n int) int {
	d := len(states) / n
	for i, v := range states {
		if v := float64(v); math.IsNaN(v) || math.IsInf(v, 0) {
			return i / d
		}
	}
	return -1
}

func layerError(index int, err error) error { return fmt.Errorf("layer %d: %w", index, err) }
