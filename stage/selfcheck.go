package stage

import (
	"context"

	"github.com/coppice-ml/coppice/internal/selfcheck"
	"github.com/coppice-ml/coppice/report"
)

// Selfcheck compares a model's logits with those another program computed.
type Selfcheck struct {
	Model     string  `yaml:"model"`
	Reference string  `yaml:"reference"` // file of logits, as docs/reference.py makes it
	Tolerance float64 `yaml:"tolerance"` // largest difference of a logit that is taken for rounding
	Engine    `yaml:",inline"`
}

// DefaultSelfcheck has every field that is not given: bfloat16 alone moves logits
// by much more than the tolerance.
func DefaultSelfcheck() Selfcheck { return Selfcheck{Tolerance: .01, Engine: Engine{DType: "float32"}} }

// Check finds what can be wrong before any file is opened.
func (s Selfcheck) Check() error {
	if err := s.Engine.Check(); err != nil {
		return err
	}
	if !(s.Tolerance > 0) {
		return wrong("{tolerance} %v: want a positive number", s.Tolerance)
	}
	return nil
}

// Run compares. A difference above the tolerance comes with a Problem.
func (s Selfcheck) Run(ctx context.Context, env Env) (*report.Selfcheck, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	session, err := Open(ctx, env, s.Model, Layers{})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	ref, err := selfcheck.Read(s.Reference, session.Model.Spec.Vocab)
	if err != nil {
		return nil, err
	}
	if ref.DType != "float32" {
		env.Talk.Warn("%s was computed in %q: its own rounding is part of the difference", s.Reference, ref.DType)
	}
	tell, end := env.Talk.Progress("logits", Steps)
	defer end()
	if err := session.Start(s.Engine, tell); err != nil {
		return nil, err
	}
	got, err := selfcheck.Run(ctx, session.Runner, ref)
	if err != nil {
		return nil, err
	}
	l := &report.Selfcheck{
		MaxError: report.Number(got.MaxError), MeanError: report.Number(got.MeanError), Tolerance: s.Tolerance, Greedy: report.Number(got.Greedy),
		OK: got.MaxError <= s.Tolerance, Sequences: len(ref.Sequences), Positions: got.Rows,
		Reference: ref.Model, RefDType: ref.DType, Versions: ref.Versions, Compute: session.Compute(),
	}
	if l.OK {
		return l, nil
	}
	return l, failed("%s: logits differ from %s by up to %.3g, more than %g", session.Checkpoint.Dir(), s.Reference, got.MaxError, s.Tolerance).
		with("look whether both read the same files and dtype; if they do, please report it with the line of `selfcheck --json`")
}
