package model

// ministral covers the class of Ministral: Mistral whose layers slide or not by
// layer_types. (Ministral-8B-Instruct-2410 itself says that it is a Mistral.)
// Source: transformers' modeling_ministral.py and configuration_ministral.py.
func ministral() *family {
	return &family{
		name:          "ministral",
		architectures: []string{"MinistralForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseMinistral,
		top:           decoderTop,
		layer:         decoderLayer,
		notes:         windowNote,
		gguf:          llamaGGUF(mistralNotes),
		refused: map[string]string{
			"Ministral3ForCausalLM": "it scales queries by their position, which Coppice does not do",
		},
	}
}

func parseMinistral(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 131072, kvHeads: 8})
	s.Windows = c.windows(s.Layers, c.window("sliding_window", 4096), func(int) bool { return true })
	c.mustBeOneOf("hidden_act", "silu", "silu", "swish")
	return s
}
