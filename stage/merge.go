package stage

import (
	"context"
	"time"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/heal/adapter"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/safetensors"
)

// MergeAdapter folds a PEFT adapter into the weights of the model it belongs to.
type MergeAdapter struct {
	Model     string `yaml:"model"`
	Adapter   string `yaml:"adapter"`
	Out       string `yaml:"out"`
	SaveDType string `yaml:"save_dtype"` // original or float32; "": original
	Force     bool   `yaml:"force"`
}

// Check finds what can be wrong before any file is opened.
func (g MergeAdapter) Check() error {
	if g.Adapter == "" {
		return wrong("{adapter}: which one?").with("pass {adapter} with the directory of a PEFT adapter")
	}
	if g.Out == "" {
		return wrong("{out}: where should the result go?").with("pass {out} with a directory")
	}
	if g.SaveDType == "" {
		return nil
	}
	return oneOf("save_dtype", g.SaveDType, "original", "float32")
}

// Run writes the merged checkpoint: linear maps with an adapter become
// W + scale · B A, computed in float64 and rounded once; all other bytes stay.
func (g MergeAdapter) Run(ctx context.Context, env Env) (*report.Written, error) {
	if err := g.Check(); err != nil {
		return nil, err
	}
	started := time.Now()
	s, err := Open(ctx, env, g.Model, Layers{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	a, err := s.readAdapter("adapter", g.Adapter)
	if err != nil {
		return nil, err
	}
	surgery := checkpoint.Surgery{Replace: map[string]checkpoint.Tensor{}}
	wide := g.SaveDType == "float32"
	if wide {
		if surgery.Config, err = s.Model.Spec.HealedConfig(s.Checkpoint.Config(), false, "float32"); err != nil {
			return nil, err
		}
		for w := range s.Model.Spec.Weights() {
			if surgery.Replace[w.Name], err = merged(s.Model, w, nil, true); err != nil {
				return nil, err
			}
		}
	}
	for i := range a.Pairs {
		p := &a.Pairs[i]
		if surgery.Replace[p.Weight.Name], err = merged(s.Model, p.Weight, p, wide); err != nil {
			return nil, err
		}
	}
	tell, end := env.Talk.Progress("merging", Bytes)
	defer end()
	written, err := checkpoint.Write(ctx, s.Checkpoint, g.Out, surgery, checkpoint.WriteOptions{Force: g.Force, Progress: tell})
	if err != nil {
		return nil, err
	}
	return &report.Written{Path: written.Path, Bytes: written.Bytes, Seconds: seconds(started)}, nil
}

// merged is a tensor of the model with an adapter, if there is one, added to it.
func merged(m *model.Model, w model.Weight, p *adapter.Pair, wide bool) (checkpoint.Tensor, error) {
	d := safetensors.F32
	if info, _ := m.Source.Tensor(w.Name); !wide {
		d = info.DType
	}
	return rounded(m, w, p, d)
}
