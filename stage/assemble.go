package stage

import (
	"context"
	"fmt"
	"time"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/heal/adapter"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/safetensors"
)

// Assemble writes the checkpoint that a model, a plan and what was trained of it
// come to: what healing would have written had it written all.
type Assemble struct {
	Model   string `yaml:"model"`
	Out     string `yaml:"out"`
	Adapter string `yaml:"adapter"` // directory of a PEFT adapter to fold in; "": none
	Card    string `yaml:"card"`    // for the model card: how it was healed
	Force   bool   `yaml:"force"`
	Cut     `yaml:",inline"`
}

// Check finds what can be wrong before any file is opened.
func (a Assemble) Check() error {
	if a.Out == "" {
		return wrong("{out}: where should the result go?").with("pass {out} with a directory")
	}
	return nil
}

// Run writes. Tensors that were trained are rounded to the dtype that the model has
// them in; all other bytes stay.
func (a Assemble) Run(ctx context.Context, env Env) (*report.Written, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	started := time.Now()
	s, err := Open(ctx, env, a.Model, Layers{Cut: a.Cut})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	surgery, err := a.surgery(ctx, env, s)
	if err != nil {
		return nil, err
	}
	tell, end := env.Talk.Progress("writing", Bytes)
	defer end()
	written, err := checkpoint.Write(ctx, s.Checkpoint, a.Out, surgery, checkpoint.WriteOptions{Force: a.Force, Progress: tell})
	if err != nil {
		return nil, err
	}
	return &report.Written{Path: written.Path, Bytes: written.Bytes, Seconds: seconds(started)}, nil
}

// surgery is what the checkpoint has that the model's has not.
func (a Assemble) surgery(ctx context.Context, env Env, s *Session) (checkpoint.Surgery, error) {
	c := s.Checkpoint
	out := checkpoint.Surgery{Config: c.Config(), Card: string(c.Beside("README.md"))}
	stored, err := model.SpecOf(c)
	if err != nil {
		return out, err
	}
	healed := len(a.Trained) > 0 || a.Adapter != ""
	p, err := Layers{Cut: a.Cut}.choose(stored)
	if err != nil {
		return out, err
	}
	if len(p.Drop) > 0 {
		hash, err := c.Hash(ctx)
		if err != nil {
			return out, err
		}
		if out, err = prune.Surgery(c, stored, p, prune.Options{Version: env.Version, SourceName: modelName(a.Model), ModelHash: hash, Healed: healed}); err != nil {
			return out, err
		}
	}
	if healed {
		if out.Config, err = stored.HealedConfig(out.Config, stored.Tied && !s.Model.Spec.Tied, ""); err != nil {
			return out, err
		}
		out.Card += a.Card
	}
	out.Replace, err = a.replacements(s)
	return out, err
}

// replacements are the tensors that were trained, by their names in the copy.
func (a Assemble) replacements(s *Session) (map[string]checkpoint.Tensor, error) {
	pairs := map[string]*adapter.Pair{}
	if a.Adapter != "" {
		found, err := s.readAdapter("adapter", a.Adapter)
		if err != nil {
			return nil, err
		}
		for i := range found.Pairs {
			pairs[found.Pairs[i].Weight.Name] = &found.Pairs[i]
		}
	}
	out := map[string]checkpoint.Tensor{}
	rename := s.Model.Spec.Renamer(s.kept())
	for w := range s.Model.Spec.Weights() {
		name, kept := rename(w.Name)
		_, trained := pairs[w.Name]
		if s.trained != nil {
			trained = trained || s.trained.Has(w.Name)
		}
		if !kept || !trained {
			continue
		}
		stored, _ := s.stored(w.Name)
		t, err := rounded(s.Model, w, pairs[w.Name], stored.DType)
		if err != nil {
			return nil, err
		}
		out[name] = t
	}
	return out, nil
}

// rounded is a tensor of the model in a dtype, with an adapter, if there is one,
// added to it.
func rounded(m *model.Model, w model.Weight, p *adapter.Pair, d safetensors.DType) (checkpoint.Tensor, error) {
	info, ok := m.Source.Tensor(w.Name)
	if !ok {
		return checkpoint.Tensor{}, fmt.Errorf("tensor %s is missing", w.Name)
	}
	var raw []byte // the whole tensor, between its first and its last byte
	read := func(dst []byte, at int64) error {
		if raw == nil {
			stored, err := m.Source.Data(w.Name)
			if err != nil {
				return err
			}
			values := make([]float32, w.Elements())
			number.Widen(values, stored, info.DType)
			if p != nil {
				p.AddTo(values, 0)
			}
			raw = make([]byte, len(values)*d.Size())
			number.Narrow(raw, values, d)
			m.Source.Release(w.Name)
		}
		if copy(dst, raw[at:]); at+int64(len(dst)) == int64(len(raw)) {
			raw = nil
		}
		return nil
	}
	return checkpoint.Tensor{DType: d, Shape: w.Shape, Read: read}, nil
}
