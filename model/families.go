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
	// layerKeys rewrite them.
	byIndex func(s *Spec, keep []int) []configKey
	// inside, which may be "", is the key of config.json that holds the config of
	// the layers.
	inside string
	// renamed, which may be nil, is the family under the other names that files
	// give its tensors.
	renamed func() *family
	// notes, which may be nil, say what other programs compute otherwise of a
	// model that keeps the given layers.
	notes func(s *Spec, keep []int) []string
	// gguf is what llama.cpp knows the family as; nil: it cannot take it, which
	// noGGUF says the reason of.
	gguf   *GGUF
	noGGUF string
	// refused are architectures close to this family, and why they are not it.
	refused map[string]string
}

func families() []*family {
	return []*family{llama(), mistral(), qwen2(), qwen3(), gemma(), gemma2(), baichuan(), chatglm(),
		gemma3(), gemma3Wrapped(), phi3(), smollm3(), ministral(),
		olmo2(), olmo3(), granite(), glm4(), nemotron(), opt(), stablelm(), cohere()}
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
		"FalconH1ForCausalLM":   "its layers are recurrent beside their attention (Mamba)",
		"Lfm2ForCausalLM":       "most of its layers are convolutions",
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

// spelledAs returns the known name that differs from a name in case alone:
// LLaMAForCausalLM was LlamaForCausalLM before transformers had it.
func spelledAs(name string) string {
	known := Architectures()
	if slices.Contains(known, name) {
		return name
	}
	for _, k := range known {
		// Of a model that was saved without its head transformers makes the class
		// with one, too.
		bare := strings.Replace(k, "ForCausalLM", "Model", 1)
		if strings.EqualFold(k, name) || strings.EqualFold(bare, name) {
			return k
		}
	}
	return name
}

// architectureOf is the class that transformers makes of a model_type whose config
// names none.
func architectureOf(modelType string) string {
	return map[string]string{
		"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
		"gemma": "GemmaForCausalLM", "gemma2": "Gemma2ForCausalLM", "chatglm": "ChatGLMModel",
		"gemma3_text": "Gemma3ForCausalLM", "gemma3": "Gemma3ForConditionalGeneration", "phi3": "Phi3ForCausalLM", "smollm3": "SmolLM3ForCausalLM", "ministral": "MinistralForCausalLM",
		"olmo2": "Olmo2ForCausalLM", "olmo3": "Olmo3ForCausalLM", "granite": "GraniteForCausalLM", "glm4": "Glm4ForCausalLM",
		"nemotron": "NemotronForCausalLM", "opt": "OPTForCausalLM", "stablelm": "StableLmForCausalLM", "cohere": "CohereForCausalLM",
	}[modelType]
}

// familyOf finds the family of a class. modelType, which may be "", is what the
// config says beside it.
func familyOf(architecture, modelType string) (*family, error) {
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
	} else if known := architectureOf(modelType); known != "" {
		reason = fmt.Sprintf(", though its model_type is %q; if it is a plain one, write \"architectures\": [\"%s\"]", modelType, known)
	}
	return nil, fmt.Errorf("%w: architecture %q%s; known architectures: %s", ErrUnsupported, architecture, reason, strings.Join(Architectures(), ", "))
}
