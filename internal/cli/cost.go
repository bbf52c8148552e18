package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/doctor"
	"github.com/coppice-ml/coppice/report"
)

// askAbove is the estimate from which on work wants --yes.
const askAbove = time.Hour

// lengthy is how many forward passes work takes before it is timed beforehand.
const lengthy = 8

// explain says what a call will take, in passes over the weights and in forward
// passes, and where the bound on memory cannot be kept.
func (s *session) explain(a *app, what string, c forest.Cost, seqs [][]int32) {
	if c.Passes == 0 {
		a.note("%s: known from earlier runs", what)
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
	a.note("%s: %s over the weights, the work of %.3g forward passes, up to %s; %s", what, passes, forwards, report.FormatBytes(c.Memory), stay)
	s.warnOfMemory(a, c)
}

// warnOfMemory says where the bound on memory cannot be kept.
func (s *session) warnOfMemory(a *app, c forest.Cost) {
	resident, _ := doctor.Process()
	if s.memory > 0 && c.Memory+resident > s.memory {
		a.warn("--memory %s cannot be kept: one sequence beside one layer takes %s", report.FormatBytes(s.memory), report.FormatBytes(c.Memory+resident))
	}
}

// logProbs is LogProbs of the runner through the kept layers, with the warning.
func (s *session) logProbs(ctx context.Context, a *app, seqs [][]int32, emit func(i int, scores []engine.TokenScore) error) error {
	priced, err := s.run.Price([]forest.Variant{{Layers: s.keep, Scores: emit}}, forest.Sequences(seqs))
	if err != nil {
		return err
	}
	s.warnOfMemory(a, priced.Cost())
	return priced.Run(ctx, forest.RunOptions{Progress: s.progress})
}

// forwards is the work of a call in forward passes of the whole model, the head
// counted as the layers it equals.
func (s *session) forwards(c forest.Cost, seqs [][]int32) float64 {
	layer := float64(s.m.Spec.LayerParameters())
	head := float64(s.m.Spec.Vocab) * float64(s.m.Spec.Hidden)
	whole := float64(countTokens(seqs)) * (layer*float64(s.m.Spec.Layers) + head)
	return (float64(c.TokenLayers)*layer + float64(c.HeadRows)*head) / whole
}

func countTokens(seqs [][]int32) (tokens int) {
	for _, s := range seqs {
		tokens += len(s)
	}
	return tokens
}

// consent estimates the time of lengthy work and wants --yes, or an answer on a
// terminal, for what takes longer than an hour.
func (s *session) consent(ctx context.Context, a *app, c forest.Cost, seqs [][]int32, yes bool) error {
	forwards := s.forwards(c, seqs)
	if forwards < lengthy {
		return nil
	}
	one, err := s.timeForward(ctx, seqs)
	if err != nil {
		return err
	}
	estimate := time.Duration(forwards * float64(one))
	a.note("this takes about %s", roughly(estimate))
	if estimate < askAbove || yes {
		return nil
	}
	if a.showBars && ask(a, estimate) {
		return nil
	}
	return usage("this takes about %s", roughly(estimate)).withHint("pass --yes to go on, or ask for less: fewer sequences, layers protected, fewer --rounds")
}

// timeForward estimates a forward pass over the sequences from one layer on a
// few of them.
func (s *session) timeForward(ctx context.Context, seqs [][]int32) (time.Duration, error) {
	some := seqs[:1]
	for len(some) < len(seqs) && countTokens(some) < 512 {
		some = seqs[:len(some)+1]
	}
	nothing := func(context.Context, forest.Step) error { return nil }
	var took time.Duration
	for range 2 { // the first warms up
		start := time.Now()
		if err := s.run.Observe(ctx, []int{0}, some, nothing); err != nil {
			return 0, err
		}
		took = time.Since(start)
	}
	spec := s.m.Spec
	head := float64(spec.Vocab) * float64(spec.Hidden) / float64(spec.LayerParameters())
	return time.Duration(float64(took) * (float64(spec.Layers) + head) * float64(countTokens(seqs)) / float64(countTokens(some))), nil
}

// roughly writes a duration with as much detail as an estimate has.
func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f seconds", max(1, d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	}
	return fmt.Sprintf("%.0f hours", d.Hours())
}

// ask wants a yes on the terminal.
func ask(a *app, estimate time.Duration) bool {
	_, _ = fmt.Fprintf(a.stderr, "go on for about %s? [y/N] ", roughly(estimate))
	line, err := bufio.NewReader(a.sys.In).ReadString('\n')
	if err != nil && err != io.EOF {
		return false
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes"
}
