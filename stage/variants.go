package stage

import (
	"context"

	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
)

// Variants measures many prunings of a model side by side, after the whole model.
type Variants struct {
	Model  string   `yaml:"model"`
	Plans  []string `yaml:"plans"` // plan files
	Data   `yaml:",inline"`
	Engine `yaml:",inline"`
}

// DefaultVariants has every field that is not given.
func DefaultVariants() Variants { return Variants{Data: DefaultData()} }

// Check finds what can be wrong before any file is opened.
func (v Variants) Check() error {
	if len(v.Plans) == 0 {
		return wrong("variants: of what?").with("pass {plans} with plan files, as prune --dry-run --json prints them")
	}
	if err := v.Data.Check(); err != nil {
		return err
	}
	return v.Engine.Check()
}

// Run gives a line for the whole model and one for every plan.
func (v Variants) Run(ctx context.Context, env Env) ([]report.Variant, error) {
	if err := v.Check(); err != nil {
		return nil, err
	}
	s, err := Open(ctx, env, v.Model, Layers{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	spec := s.Model.Spec
	whole, err := prune.New(spec, nil, "")
	if err != nil {
		return nil, err
	}
	plans := []prune.Plan{whole}
	for _, path := range v.Plans {
		p, err := s.readPlanFor(ctx, path)
		if err != nil {
			return nil, err
		}
		plans = append(plans, p)
	}
	sc, err := newScorer(ctx, env, s, v.Data, v.Engine, true)
	if err != nil {
		return nil, err
	}
	defer sc.close()
	cuts := make([][]int, len(plans))
	for i, p := range plans {
		cuts[i] = p.Drop
	}
	sums, err := sc.losses(ctx, "variants", cuts)
	if err != nil {
		return nil, err
	}
	took, by := seconds(sc.start), s.Compute()
	head := int64(spec.Vocab) * int64(spec.Hidden)
	lines := make([]report.Variant, len(plans))
	for i, p := range plans {
		lines[i] = report.Variant{
			Drop: p.Drop, Loss: report.Number(sums[i].Mean()), Perplexity: report.Number(sums[i].Perplexity()), Tokens: sums[i].Tokens,
			Parameters: p.Parameters, MACsPerToken: (spec.MACsPerToken()-head)/int64(spec.Layers)*int64(len(p.Keep)) + head,
			Data: sc.data, Seconds: took, Compute: by,
		}
		if i > 0 {
			lines[i].Plan, lines[i].Keep = v.Plans[i-1], p.Keep
		}
	}
	return lines, nil
}
