package stage

import (
	"context"
	"fmt"
	"time"

	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/report"
)

// lengthy is how many forward passes work takes before it is timed beforehand.
const lengthy = 8

// explain says what a call will take, in passes over the weights and in forward
// passes, and where the bound on memory cannot be kept.
func (s *Session) explain(what string, c forest.Cost, seqs [][]int32) {
	if c.Passes == 0 {
		s.env.Talk.Note("%s: known from earlier runs", what)
		s.warnOfMemory(c)
		return
	}
	forwards := s.forwards(c, seqs)
	stay := "layers stay in memory"
	if !c.Resident {
		stay = fmt.Sprintf("layers stream through, %d brought in", c.Loads)
	}
	passes := "1 pass"
	if c.Passes != 1 {
		passes = fmt.Sprintf("%d passes", c.Passes)
	}
	s.env.Talk.Note("%s: %s over the weights, the work of %.3g forward passes, up to %s; %s", what, passes, forwards, report.FormatBytes(c.Memory), stay)
	s.warnOfMemory(c)
}

// forwards is the work of a call in forward passes of the whole model, the head
// counted as the layers it equals.
func (s *Session) forwards(c forest.Cost, seqs [][]int32) float64 {
	spec := s.Model.Spec
	layer := float64(spec.LayerParameters())
	head := float64(spec.Vocab) * float64(spec.Hidden)
	whole := float64(countTokens(seqs)) * (layer*float64(spec.Layers) + head)
	return (float64(c.TokenLayers)*layer + float64(c.HeadRows)*head) / whole
}

// consent estimates the time of lengthy work and asks whether to go on.
func (s *Session) consent(ctx context.Context, what string, c forest.Cost, seqs [][]int32) error {
	forwards := s.forwards(c, seqs)
	if forwards < lengthy {
		return nil
	}
	one, err := s.timeForward(ctx, seqs)
	if err != nil {
		return err
	}
	return s.env.Talk.Consent(ctx, Estimate{What: what, Time: time.Duration(forwards * float64(one))})
}

// timeForward estimates a forward pass over the sequences from one layer on a
// few of them.
func (s *Session) timeForward(ctx context.Context, seqs [][]int32) (time.Duration, error) {
	some := seqs[:1]
	for len(some) < len(seqs) && countTokens(some) < 512 {
		some = seqs[:len(some)+1]
	}
	nothing := func(context.Context, forest.Step) error { return nil }
	var took time.Duration
	for range 2 { // the first warms up
		start := time.Now()
		if err := s.Runner.Observe(ctx, []int{0}, some, nothing); err != nil {
			return 0, err
		}
		took = time.Since(start)
	}
	spec := s.Model.Spec
	head := float64(spec.Vocab) * float64(spec.Hidden) / float64(spec.LayerParameters())
	return time.Duration(float64(took) * (float64(spec.Layers) + head) * float64(countTokens(seqs)) / float64(countTokens(some))), nil
}
