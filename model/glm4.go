package model

// glm4 covers GLM-4-0414 (9B, 32B, Z1): Llama with fused gate and up, norms also
// after attention and feed-forward, biases on queries, keys and values, and rotary
// embeddings of half of each head in neighbouring pairs.
// Source: transformers' modeling_glm4.py and configuration_glm4.py.
func glm4() *family {
	return &family{
		name:          "glm4",
		architectures: []string{"Glm4ForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseGLM4,
		top:           decoderTop,
		layer:         glm4Layer,
		gguf: &GGUF{
			Name: "glm4", Pairs: true, Partial: true, Fused: []Role{GateUp}, Biases: []Role{QueryBias, KeyBias, ValueBias},
			Keys: []string{"rope.freq_base", "rope.dimension_count"},
		},
		refused: map[string]string{
			"GlmForCausalLM":                   "GLM-4-9B as transformers has it lacks the norms after the blocks; its first form (ChatGLMModel) is supported",
			"Glm4MoeForCausalLM":               "it is a mixture of experts",
			"Glm4vForConditionalGeneration":    "it is multimodal",
			"Glm4vMoeForConditionalGeneration": "it is multimodal and a mixture of experts",
		},
	}
}

func parseGLM4(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 131072, kvHeads: 2, headDim: 128, eps: 1.5625e-07, partial: 0.5})
	s.Rope.Interleaved = true
	s.AttnBias = c.boolOr("attention_bias", false)
	c.mustBeOneOf("hidden_act", "silu", "silu", "swish")
	return s
}

func glm4Layer(s *Spec) []Weight {
	var ws []Weight
	for _, w := range decoderLayer(s) {
		switch w.Role {
		case Gate:
			w = Weight{Role: GateUp, Name: "mlp.gate_up_proj.weight", Shape: []int{2 * s.FF, s.Hidden}}
		case Up:
			continue
		}
		ws = append(ws, w)
	}
	return append(ws,
		Weight{Role: AttnPostNorm, Name: "post_self_attn_layernorm.weight", Shape: []int{s.Hidden}},
		Weight{Role: MLPPostNorm, Name: "post_mlp_layernorm.weight", Shape: []int{s.Hidden}})
}
