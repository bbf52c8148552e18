package model

// qwen3 covers Qwen3's dense models: Qwen2 without biases, with an RMS norm of
// every query and key head before rotary embeddings, and head_dim a key of its own.
// Source: transformers' modeling_qwen3.py and configuration_qwen3.py.
func qwen3() *family {
	return &family{
		name:          "qwen3",
		architectures: []string{"Qwen3ForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseQwen3,
		top:           decoderTop,
		layer:         qwen3Layer,
		byIndex:       qwenByIndex,
		notes:         windowNote,
		gguf:          &GGUF{Name: "qwen3", Biases: []Role{QueryBias, KeyBias, ValueBias}, Keys: []string{"rope.freq_base", "attention.key_length", "attention.value_length"}, Notes: windowNote},
		refused: map[string]string{
			"Qwen3MoeForCausalLM":             "it is a mixture of experts",
			"Qwen3NextForCausalLM":            "it is a mixture of experts with linear attention",
			"Qwen3VLForConditionalGeneration": "it is multimodal",
		},
	}
}

func parseQwen3(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 32768, kvHeads: 32, headDim: 128})
	s.AttnBias = c.boolOr("attention_bias", false)
	s.OutBias = s.AttnBias
	s.Windows = c.qwenWindows(s.Layers)
	c.mustBeOneOf("hidden_act", "silu", "silu", "swish")
	return s
}

func qwen3Layer(s *Spec) []Weight {
	return append(decoderLayer(s),
		Weight{Role: QueryNorm, Name: "self_attn.q_norm.weight", Shape: []int{s.HeadDim}},
		Weight{Role: KeyNorm, Name: "self_attn.k_norm.weight", Shape: []int{s.HeadDim}})
}
