package forest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/engine"
)

// NotFiniteError says where a NaN or Inf among hidden states began.
type NotFiniteError struct {
	Layer    int  // original index
	Sequence int  // index of the caller's sequence: see Work.Sequences
	Token    int  // index in it: the token's position
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
	e := &NotFiniteError{Layer: s.Layer, Token: int(s.Batch.Positions[t]), Entering: entering}
	for i, segment := range s.Batch.Segments {
		if t < segment.Start+segment.Len {
			e.Sequence = s.Sequences[i]
			return e
		}
	}
	return e
}

// badScore is a score that is no number, before it is known why.
type badScore struct {
	variant  Variant
	work     int // its index
	sequence int // and position of the row that the score is of
	token    int
}

// badScore is the error for a row of the Work, whose index is given.
func (w *Work) badScore(variant Variant, index, row int) *badScore {
	e := &badScore{variant: variant, work: index, token: int(w.Batch.Positions[row])}
	segment := slices.IndexFunc(w.Batch.Segments, func(s engine.Segment) bool { return row < s.Start+s.Len })
	e.sequence = w.appendSequences(nil, index)[segment]
	return e
}

func (e *badScore) Error() string {
	return fmt.Sprintf("head: sequence %d, token %d: a score is NaN or Inf while all hidden states are finite", e.sequence, e.token)
}

// explain runs a Work whose scores are no numbers once more and looks for the
// layer where that began.
func (p *pass) explain(ctx context.Context, err error) error {
	var bad *badScore
	if !errors.As(err, &bad) {
		return err
	}
	work := p.work[bad.work]
	work.Sequences = work.appendSequences(nil, bad.work)
	again := p.r.Run(ctx, []Variant{{Layers: bad.variant.Layers, Observe: func(ctx context.Context, s Step) error {
		if err := s.notFinite(ctx, s.In, true); err != nil {
			return err
		}
		return s.notFinite(ctx, s.Out, false)
	}}}, []Work{work}, RunOptions{})
	if again != nil {
		return again
	}
	return err
}

// notFinite looks for the first row with a NaN or Inf on one side of a step.
func (s Step) notFinite(ctx context.Context, side engine.Hidden, entering bool) error {
	states, err := side.Host(ctx)
	if err != nil {
		return err
	}
	d := len(states) / s.Batch.Len()
	for i, v := range states {
		if v := float64(v); math.IsNaN(v) || math.IsInf(v, 0) {
			return s.NotFinite(i/d, entering)
		}
	}
	return nil
}

func layerError(index int, err error) error { return fmt.Errorf("layer %d: %w", index, err) }
