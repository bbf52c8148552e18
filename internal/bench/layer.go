package bench

import (
	"context"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// OneLayer makes up a model like a spec's, of one layer, in the dtype that the engine
// computes in: enough to find out how fast all of them are.
func OneLayer(ctx context.Context, spec *model.Spec, e engine.Engine, seed uint64) (*model.Model, error) {
	d := safetensors.F32
	if e.Info().DType == engine.BFloat16 {
		d = safetensors.BF16
	}
	one := *spec
	one.Layers = 1
	src, err := newSource(ctx, &one, d, 1, seed)
	if err != nil {
		return nil, err
	}
	return model.New(&one, src)
}
