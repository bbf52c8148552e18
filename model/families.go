package model

import (
	"fmt"
	"slices"
	"strings"
)

// family is what differs between architectures. Adding one takes a file with a
// literal of this type and a line in families.
type family struct {
	name          string
	architectures []string // config.json architectures[0]
	layerPrefix   string   // tensors of layer i start with layerPrefix + i + "."
	parse         func(c *config) *Spec
	top           func(*Spec) []Weight
	layer         func(*Spec) []Weight // names relative to the layer
	// layerKeys are the config keys that hold a layer count, index or pattern,
	// beside commonLayerKeys.
	layerKeys []layerKey
}

func families() []*family { return []*family{llama()} }

// Architectures lists the architecture names that can be loaded.
func Architectures() []string {
	var names []string
	for _, f := range families() {
		names = append(names, f.architectures...)
	}
	slices.Sort(names)
	return names
}

func familyOf(architecture string) (*family, error) {
	for _, f := range families() {
		if slices.Contains(f.architectures, architecture) {
			return f, nil
		}
	}
	return nil, fmt.Errorf("%w: architecture %q; known architectures: %s", ErrUnsupported, architecture, strings.Join(Architectures(), ", "))
}
