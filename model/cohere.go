package model

// cohere covers Command R (not R+) and Aya 23: attention and feed-forward side by
// side after one LayerNorm without a bias, rotary embeddings in neighbouring pairs,
// logits times a factor, a tied head.
// Source: transformers' modeling_cohere.py and configuration_cohere.py.
func cohere() *family {
	return &family{
		name:          "cohere",
		architectures: []string{"CohereForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseCohere,
		top:           decoderTop,
		layer:         cohereLayer,
		gguf: &GGUF{
			Name: "command-r", Pairs: true, Tied: true, SquareQuery: true, Fewer: 64, Biases: []Role{QueryBias, KeyBias, ValueBias},
			Keys: []string{"rope.freq_base", "rope.scaling.type", "logit_scale"},
		},
		refused: map[string]string{
			"Cohere2ForCausalLM":                    "its sliding layers alone have rotary embeddings, which Coppice does not read",
			"Cohere2VisionForConditionalGeneration": "it is multimodal",
		},
	}
}

func parseCohere(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 8192, tied: true, eps: 1e-5})
	s.NormEps = c.positiveOr("layer_norm_eps", 1e-5)
	s.LayerNorm, s.Parallel = true, true
	s.Rope.Interleaved = true
	s.LogitScale = c.positiveOr("logit_scale", 0.0625)
	s.AttnBias = c.boolOr("attention_bias", false)
	s.OutBias = s.AttnBias
	if c.boolOr("use_qk_norm", false) {
		c.unsupported("use_qk_norm = true (Command R+): each head has a norm of its own weights")
	}
	c.mustBeOneOf("hidden_act", "silu", "silu", "swish")
	return s
}

func cohereLayer(s *Spec) []Weight {
	var ws []Weight
	for _, w := range decoderLayer(s) {
		if w.Role != MLPNorm {
			ws = append(ws, w)
		}
	}
	return ws
}
