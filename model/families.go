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
	// byIndex, which may be nil, is for families whose reference tells kinds of
	// layers apart by their index: the keys that must stand in the config of a
	// model that keeps the given layers, unless they are there already and
	// layerKeys rewrite them, and what to tell people whose other programs do not
	// read those keys, or "".
	byIndex func(s *Spec, keep []int) (keys []configKey, note string)
	// refused are architectures close to this family, and why they are not it.
	refused map[string]string
}

func families() []*family {
	return []*family{llama(), mistral(), qwen2(), qwen3(), gemma(), gemma2(), baichuan(), chatglm()}
}

// strangers are architectures that no family here is close to, but people try.
func strangers() map[string]string {
	return map[string]string{
		"BloomForCausalLM":      "it takes positions from ALiBi biases on attention scores",
		"MPTForCausalLM":        "it takes positions from ALiBi biases on attention scores",
		"MptForCausalLM":        "it takes positions from ALiBi biases on attention scores",
		"DeepseekV2ForCausalLM": "it is a mixture of experts with latent attention",
		"DeepseekV3ForCausalLM": "it is a mixture of experts with latent attention",
		"GptOssForCausalLM":     "it is a mixture of experts",
		"OlmoeForCausalLM":      "it is a mixture of experts",
		"PhimoeForCausalLM":     "it is a mixture of experts",
		"MambaForCausalLM":      "its layers have no attention",
	}
}

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
	reason := strangers()[architecture]
	for _, f := range families() {
		if slices.Contains(f.architectures, architecture) {
			return f, nil
		}
		if why, ok := f.refused[architecture]; ok {
			reason = why
		}
	}
	if reason != "" {
		reason = ": " + reason
	}
	return nil, fmt.Errorf("%w: architecture %q%s; known architectures: %s", ErrUnsupported, architecture, reason, strings.Join(Architectures(), ", "))
}
