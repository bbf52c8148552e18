package model

// granite covers Granite 3's dense models: Llama with factors on embeddings, on
// attention scores in place of the root of head_dim, on what attention and
// feed-forward add, and a divisor of logits.
// Source: transformers' modeling_granite.py and configuration_granite.py.
func granite() *family {
	return &family{
		name:          "granite",
		architectures: []string{"GraniteForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseGranite,
		top:           decoderTop,
		layer:         decoderLayer,
		gguf:          graniteGGUF(),
		refused: map[string]string{
			"GraniteMoeForCausalLM":       "it is a mixture of experts",
			"GraniteMoeSharedForCausalLM": "it is a mixture of experts",
			"GraniteMoeHybridForCausalLM": "most of its layers are recurrent (Mamba)",
		},
	}
}

func parseGranite(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 2048})
	s.AttnBias = c.boolOr("attention_bias", false)
	s.OutBias = s.AttnBias
	s.MLPBias = c.boolOr("mlp_bias", false)
	s.EmbedScale = c.positiveOr("embedding_multiplier", 1)
	s.AttnScale = c.positiveOr("attention_multiplier", 1)
	s.ResidualScale = c.positiveOr("residual_multiplier", 1)
	s.LogitScale = 1 / c.positiveOr("logits_scaling", 1)
	c.mustBeOneOf("hidden_act", "silu", "silu", "swish")
	return s
}

func graniteGGUF() *GGUF {
	g := llamaGGUF(longRopeNote)
	g.Name, g.SquareQuery, g.Divides = "granite", true, true
	g.Keys = append(g.Keys, "attention.scale", "embedding_scale", "residual_scale", "logit_scale")
	return g
}
