package stage

import (
	"context"
	"slices"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/generate"
	"github.com/coppice-ml/coppice/report"
)

// Speed measures how fast a model, or a pruning of it, reads a prompt and goes on
// after it. Which tokens they are changes nothing.
type Speed struct {
	Model   string `yaml:"model"`
	Prefill int    `yaml:"prefill"` // tokens of the prompt
	Decode  int    `yaml:"decode"`  // tokens made after it
	Rounds  int    `yaml:"rounds"`  // the fastest counts
	Layers  `yaml:",inline"`
	Engine  `yaml:",inline"`
}

// DefaultSpeed has every field that is not given.
func DefaultSpeed() Speed { return Speed{Prefill: 512, Decode: 128, Rounds: 2} }

// Check finds what can be wrong before any file is opened.
func (p Speed) Check() error {
	if p.Prefill < 2 || p.Decode < 2 || p.Rounds < 1 {
		return wrong("{prefill} %d {decode} %d {rounds} %d: want at least 2 tokens of each, and a round", p.Prefill, p.Decode, p.Rounds)
	}
	return p.Engine.Check()
}

// Rates are tokens a second.
type Rates struct {
	Prefill, Decode             report.Number
	PrefillTokens, DecodeTokens int // fewer than asked for where the model has no more positions
	Compute                     report.Compute
}

// enough is how long is measured at least: calls of a small model are too short for
// what else the machine does.
const enough = 300 * time.Millisecond

// Run measures.
func (p Speed) Run(ctx context.Context, env Env) (*Rates, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	s, err := Open(ctx, env, p.Model, p.Layers)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := s.Start(p.Engine, nil); err != nil {
		return nil, err
	}
	positions := s.Model.Spec.MaxPositions
	prompt := make([]int32, min(p.Prefill, positions))
	for i := range prompt {
		prompt[i] = int32(i*7919) % int32(s.Model.Spec.Vocab)
	}
	out := &Rates{PrefillTokens: len(prompt), DecodeTokens: min(p.Decode, positions-1), Compute: s.Compute()}
	for begun, n := time.Now(), 0; n <= p.Rounds || time.Since(begun) < enough; n++ { // the first warms up
		start := time.Now()
		err := s.logProbs(ctx, [][]int32{prompt}, func(int, []engine.TokenScore) error { return nil })
		if err != nil {
			return nil, err
		}
		out.Prefill = max(out.Prefill, rate(len(prompt), time.Since(start)))
	}
	for begun, n := time.Now(), 0; n < p.Rounds || time.Since(begun) < enough; n++ {
		r, err := s.decode(ctx, prompt[:1], out.DecodeTokens)
		if err != nil {
			return nil, err
		}
		out.Decode = max(out.Decode, r)
	}
	return out, nil
}

// decode makes tokens after a prompt; the first, which takes the prompt in, is not
// counted.
func (s *Session) decode(ctx context.Context, prompt []int32, tokens int) (report.Number, error) {
	made, start := 0, time.Time{}
	err := generate.Run(ctx, s.Runner.Resident(), s.Keep, [][]int32{slices.Clone(prompt)}, generate.Options{MaxTokens: tokens, TopP: 1}, func(int, int32) error {
		if made++; made == 1 {
			start = time.Now()
		}
		return nil
	})
	return rate(made-1, time.Since(start)), err
}

func rate(tokens int, d time.Duration) report.Number {
	return report.Number(float64(tokens) / max(d.Seconds(), 1e-9))
}
