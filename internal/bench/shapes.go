package bench

import (
	"fmt"
	"strings"

	"github.com/coppice-ml/coppice/internal/synth"
	"github.com/coppice-ml/coppice/model"
)

// Shape is a model to make up.
type Shape struct {
	Name   string // in results
	Config []byte // config.json
	Spec   *model.Spec
}

// shape is one that needs no file.
type shape struct {
	name    string
	options synth.Options
}

// shapes are those of published models, by their config.json.
func shapes() []shape {
	return []shape{
		{"tinyllama-1.1b", synth.Options{
			Layers: 22, Hidden: 2048, Heads: 32, KVHeads: 4, FF: 5632, Vocab: 32000, MaxPositions: 2048,
		}},
		{"smollm-135m", synth.Options{
			Layers: 30, Hidden: 576, Heads: 9, KVHeads: 3, FF: 1536, Vocab: 49152, MaxPositions: 2048, Tied: true,
		}},
		{"llama-3.1-8b", synth.Options{
			Layers: 32, Hidden: 4096, Heads: 32, KVHeads: 8, FF: 14336, Vocab: 128256, MaxPositions: 131072, RopeTheta: 500000,
			RopeScaling: map[string]any{
				"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
				"original_max_position_embeddings": 8192, "rope_type": "llama3",
			},
		}},
	}
}

// Shapes lists the names of the shapes, the default first.
func Shapes() []string {
	var names []string
	for _, s := range shapes() {
		names = append(names, s.name)
	}
	return names
}

// ShapeNamed is one of Shapes.
func ShapeNamed(name string) (Shape, error) {
	for _, s := range shapes() {
		if s.name == name {
			return madeUp(name, s.options)
		}
	}
	return Shape{}, fmt.Errorf("shape %q does not exist; choose from %s", name, strings.Join(Shapes(), ", "))
}

func madeUp(name string, o synth.Options) (Shape, error) {
	config, err := o.Config()
	if err != nil {
		return Shape{}, err
	}
	spec, err := model.ParseConfig(config)
	return Shape{name, config, spec}, err
}
