package model

// llama covers Llama 1 to 3.2 and what was fine-tuned from them (Vicuna,
// SmolLM, TinyLlama): pre-norm blocks, grouped-query attention, SwiGLU.
// Source: transformers' modeling_llama.py and configuration_llama.py.
func llama() *family {
	return &family{
		name:          "llama",
		architectures: []string{"LlamaForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseLlama,
		top:           decoderTop,
		layer:         decoderLayer,
		gguf:          llamaGGUF(longRopeNote),
		refused: map[string]string{
			"MllamaForConditionalGeneration": "it is multimodal: cross-attention layers to images",
			"Llama4ForConditionalGeneration": "it is multimodal and a mixture of experts",
			"Llama4ForCausalLM":              "it is a mixture of experts",
			"LlavaForConditionalGeneration":  "it is multimodal: only its language model could be pruned",
		},
	}
}

func parseLlama(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 2048})
	s.AttnBias = c.boolOr("attention_bias", false)
	s.OutBias = s.AttnBias
	s.MLPBias = c.boolOr("mlp_bias", false)
	c.mustBeOneOf("hidden_act", "silu", "silu", "swish")
	return s
}
