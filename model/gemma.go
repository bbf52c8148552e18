package model

import "math"

// gemma covers the first Gemma (2B, 7B, CodeGemma): Llama with embeddings
// scaled by the root of the hidden size, norms whose weights stand for 1 + w,
// GELU, and a tied head.
// Source: transformers' modeling_gemma.py and configuration_gemma.py.
func gemma() *family {
	return &family{
		name:          "gemma",
		architectures: []string{"GemmaForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseGemma,
		top:           decoderTop,
		layer:         decoderLayer,
		gguf:          &GGUF{Name: "gemma", Tied: true, Keys: []string{"attention.key_length", "attention.value_length"}},
		refused: map[string]string{
			"PaliGemmaForConditionalGeneration": "it is multimodal",
			"RecurrentGemmaForCausalLM":         "its layers are recurrent",
		},
	}
}

func parseGemma(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 8192, kvHeads: 16, headDim: 256, tied: true})
	c.gemmaBlock(s)
	return s
}

// gemmaBlock is what both generations of Gemma do otherwise than Llama.
func (c *config) gemmaBlock(s *Spec) {
	s.EmbedScale = float64(float32(math.Sqrt(float64(s.Hidden)))) // a float32 constant in the reference
	s.NormOffset = 1
	s.AttnBias = c.boolOr("attention_bias", false)
	s.OutBias = s.AttnBias
	s.Activation = c.gemmaActivation()
}

// gemmaActivation is hidden_activation, or the tanh approximation where that is
// absent or null, whatever hidden_act says: the first published configs say
// "gelu" there, and the models were never trained with it.
func (c *config) gemmaActivation() Activation {
	switch name := c.stringOr("hidden_activation", "gelu_pytorch_tanh"); name {
	case "gelu_pytorch_tanh":
		return GELUTanh
	case "gelu":
		return GELU
	default:
		c.cannotRun("hidden_activation = %q: only gelu_pytorch_tanh, gelu is supported", name)
		return GELUTanh
	}
}
