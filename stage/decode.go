package stage

import (
	"go.yaml.in/yaml/v3"

	"github.com/coppice-ml/coppice/internal/strictyaml"
)

// Decode reads the fields of a stage, which has its defaults, from a mapping. A key
// that it does not have is a Problem that names the nearest one.
func Decode(n *yaml.Node, into any) error {
	if err := strictyaml.Decode(n, into, strictyaml.Rules{}); err != nil {
		return wrong("%w", err)
	}
	return nil
}
