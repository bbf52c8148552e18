package bench

import (
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// OneLayer makes up a model like a spec's, of one layer, in the dtype that the engine
// computes in: enough to find out how fast all of them are.
func OneLayer(spec *model.Spec, e engine.Engine, seed uint64) (*model.Model, error) {
	d := safetensors.F32
	if e.Info().DType == engine.BFloat16 {
		d = safetensors.BF16
	}
	one := *spec
	one.Layers = 1
	return model.New(&one, newSource(&one, d, 1, seed))
}
