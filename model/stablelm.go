package model

// stablelm covers StableLM 3B and StableLM 2 1.6B: Llama with LayerNorm, biases of
// the norms, and rotary embeddings of a quarter of each head.
// Source: transformers' modeling_stablelm.py and configuration_stablelm.py.
func stablelm() *family {
	return &family{
		name:          "stablelm",
		architectures: []string{"StableLmForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseStableLM,
		top:           layerNormTop,
		layer:         layerNormLayer,
		gguf: &GGUF{
			Name: "stablelm", Partial: true, Untied: true, SquareQuery: true,
			Biases: []Role{FinalNormBias, AttnNormBias, MLPNormBias, QueryBias, KeyBias, ValueBias},
			Keys:   []string{"rope.dimension_count", "use_parallel_residual"},
		},
		refused: map[string]string{
			"StableLMEpochForCausalLM":       "it is StableLM before transformers had it; write \"architectures\": [\"StableLmForCausalLM\"] if its config is of the new form",
			"StableLMAlphaForCausalLM":       "the alpha models have a layout of their own",
			"GPTNeoXForCausalLM":             "its queries, keys and values are interleaved head by head",
			"StableLmForTokenClassification": "it labels tokens and predicts no next one",
		},
	}
}

func parseStableLM(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 4096, kvHeads: 32, partial: 0.25, eps: 1e-5})
	s.NormEps = c.positiveOr("layer_norm_eps", 1e-5)
	s.LayerNorm = true
	s.AttnBias = c.boolOr("use_qkv_bias", false)
	for _, key := range []string{"qk_layernorm", "use_parallel_residual"} {
		if c.boolOr(key, false) {
			c.unsupported("%s = true (StableLM 2 12B): its layers have other norms", key)
		}
	}
	c.mustBeOneOf("hidden_act", "silu", "silu", "swish")
	return s
}
