package model

// phi3 covers Phi-3 mini and medium, Phi-3.5 mini, Phi-4 and Phi-4-mini: Llama with
// fused projections, one window for all layers, and rotary embeddings that may take
// a part of each head and change past the original length (longrope).
// Source: transformers' modeling_phi3.py and configuration_phi3.py.
func phi3() *family {
	return &family{
		name:          "phi3",
		architectures: []string{"Phi3ForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parsePhi3,
		top:           decoderTop,
		layer:         phi3Layer,
		notes:         windowNote,
		gguf:          phi3GGUF(),
		refused: map[string]string{
			"Phi3SmallForCausalLM":          "its attention is blocksparse and its feed-forward another; Phi-3 mini and medium are supported",
			"Phi3VForCausalLM":              "it is multimodal",
			"Phi4MMForCausalLM":             "it is multimodal",
			"Phi4FlashForCausalLM":          "some of its layers have no attention of their own",
			"PhiForCausalLM":                "Phi-1 and Phi-2 have parallel blocks with biases that Coppice does not read",
			"PhiMoEForCausalLM":             "it is a mixture of experts",
			"Phi4MultimodalForCausalLM":     "it is multimodal",
			"Phi3ForSequenceClassification": "it classifies texts and predicts no next token",
		},
	}
}

func parsePhi3(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 4096, eps: 1e-5, partial: 1, original: 4096, longrope: true})
	s.Windows = everywhere(s.Layers, c.window("sliding_window", 0))
	c.mustBeOneOf("hidden_act", "silu", "silu", "swish")
	return s
}

// everywhere is one window for all layers; nil for none.
func everywhere(layers, window int) []int {
	if window == 0 {
		return nil
	}
	windows := make([]int, layers)
	for i := range windows {
		windows[i] = window
	}
	return windows
}

func phi3Layer(s *Spec) []Weight {
	q, qkv := s.Heads*s.HeadDim, (s.Heads+2*s.KVHeads)*s.HeadDim
	return []Weight{
		{Role: AttnNorm, Name: "input_layernorm.weight", Shape: []int{s.Hidden}},
		{Role: QKV, Name: "self_attn.qkv_proj.weight", Shape: []int{qkv, s.Hidden}},
		{Role: Out, Name: "self_attn.o_proj.weight", Shape: []int{s.Hidden, q}},
		{Role: MLPNorm, Name: "post_attention_layernorm.weight", Shape: []int{s.Hidden}},
		{Role: GateUp, Name: "mlp.gate_up_proj.weight", Shape: []int{2 * s.FF, s.Hidden}},
		{Role: Down, Name: "mlp.down_proj.weight", Shape: []int{s.Hidden, s.FF}},
	}
}

func phi3GGUF() *GGUF {
	return &GGUF{
		Name: "phi3", Partial: true, SquareQuery: true, LongRope: true, Fused: []Role{QKV, GateUp},
		Keys:  []string{"rope.freq_base", "rope.dimension_count", "rope.scaling.original_context_length", "attention.sliding_window"},
		Notes: mistralNotes,
	}
}
