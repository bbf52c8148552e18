package stage

import (
	"context"

	"github.com/coppice-ml/coppice/report"
)

// Sizes counts what a model, or a pruning of it, takes, by its config alone.
type Sizes struct {
	Model  string `yaml:"model"`
	Tokens int    `yaml:"tokens"` // of the sequence whose products are counted
	Layers `yaml:",inline"`
}

// DefaultSizes has every field that is not given: the paper's 64 tokens.
func DefaultSizes() Sizes { return Sizes{Tokens: 64} }

// Run counts.
func (z Sizes) Run(ctx context.Context, env Env) (report.Sizes, error) {
	if z.Tokens < 1 {
		return report.Sizes{}, wrong("{tokens} %d: want at least 1", z.Tokens)
	}
	s, err := ReadShape(ctx, env, z.Model)
	if err != nil {
		return report.Sizes{}, err
	}
	kept, err := s.Kept(z.Layers)
	if err != nil {
		return report.Sizes{}, err
	}
	return s.Sizes(kept, z.Tokens), nil
}

// Sizes are those of the layers that are kept, with products of so many tokens.
func (s *Shape) Sizes(kept []int, tokens int) report.Sizes {
	f, layers, macs := s.Facts(), int64(len(kept)), s.spec.MACs(kept, tokens)
	parameters := f.Parameters - (int64(s.spec.Layers)-layers)*s.spec.LayerParameters()
	return report.Sizes{
		Layers: len(kept), Parameters: parameters, Bytes: parameters * (f.Bytes / f.Parameters), Float32Bytes: 4 * parameters,
		KVBytesPerToken: s.KVBytesPerToken() / int64(s.spec.Layers) * layers,
		Tokens:          tokens, MACs: macs.Total(), AttentionMACs: macs.Attention, PaperMACs: macs.Paper(),
	}
}
