package model

// mistral covers Mistral 7B and what shares its class: Llama with one attention
// window for all layers, none where sliding_window is null (from v0.2 on).
// Source: transformers' modeling_mistral.py and configuration_mistral.py.
func mistral() *family {
	return &family{
		name:          "mistral",
		architectures: []string{"MistralForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseMistral,
		top:           decoderTop,
		layer:         decoderLayer,
		notes:         windowNote,
		gguf:          llamaGGUF(mistralNotes),
		refused: map[string]string{
			"MixtralForCausalLM":               "it is a mixture of experts",
			"Mistral3ForConditionalGeneration": "it is multimodal",
			"PixtralForConditionalGeneration":  "it is multimodal",
		},
	}
}

func mistralNotes(s *Spec, keep []int) []string {
	return append(windowNote(s, keep), longRopeNote(s, keep)...)
}

func parseMistral(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 131072, kvHeads: 8})
	// The class has no layer_types: it ignores them, and so does this.
	if window := c.window("sliding_window", 4096); window > 0 {
		s.Windows = make([]int, s.Layers)
		for i := range s.Windows {
			s.Windows[i] = window
		}
	}
	c.mustBeOneOf("hidden_act", "silu", "silu", "swish")
	return s
}
