package model

// olmo2 covers OLMo 2 and 3: Llama with norms after attention and feed-forward
// instead of before, and norms of queries and keys over all heads together. OLMo 3
// has windows in three of four layers, which rotate without scaling.
// Source: transformers' modeling_olmo2.py, modeling_olmo3.py and their configurations.
func olmo2() *family {
	return &family{
		name:          "olmo2",
		architectures: []string{"Olmo2ForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseOlmo2,
		top:           decoderTop,
		layer:         olmo2Layer,
		gguf:          &GGUF{Name: "olmo2", Untied: true, SquareQuery: true, Keys: []string{"rope.freq_base"}},
		refused: map[string]string{
			"OlmoForCausalLM":       "the first OLMo has norms without weights; OLMo 2 and 3 are supported",
			"OLMoForCausalLM":       "the first OLMo has norms without weights; OLMo 2 and 3 are supported",
			"Olmo1124ForCausalLM":   "it is OLMo 2 before transformers had it; write \"architectures\": [\"Olmo2ForCausalLM\"]",
			"FlexOlmoForCausalLM":   "it is a mixture of experts",
			"OlmoHybridForCausalLM": "some of its layers have linear attention",
		},
	}
}

func olmo3() *family {
	f := olmo2()
	f.name, f.architectures, f.parse, f.byIndex, f.refused = "olmo3", []string{"Olmo3ForCausalLM"}, parseOlmo3, gemma2ByIndex, nil
	f.gguf = &GGUF{
		Name: "olmo2", Untied: true, SquareQuery: true, Slides: olmo3Slides,
		Keys: []string{"rope.freq_base", "attention.sliding_window", "attention.sliding_window_pattern"},
	}
	return f
}

// olmo3Slides: llama.cpp rotates layers that slide by the same base, unscaled.
func olmo3Slides(s *Spec, r Rope) bool {
	return r.Scaling == RopeScaling{} && r.Theta == s.Rope.Theta && r.Dim == s.Rope.Dim
}

func parseOlmo2(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 2048, eps: 1e-5})
	c.olmoBlock(s)
	return s
}

func (c *config) olmoBlock(s *Spec) {
	s.WholeNorm = true
	s.AttnBias = c.boolOr("attention_bias", false)
	s.OutBias = s.AttnBias
	c.mustBeOneOf("hidden_act", "silu", "silu", "swish")
}

func parseOlmo3(c *config) *Spec {
	d := decoderDefaults{positions: 2048, eps: 1e-5}
	if c.nestedRope(fullAttention) {
		d.ropeKind = fullAttention
	}
	s := c.decoder(d)
	c.olmoBlock(s)
	slides := func(i int) bool { return (i+1)%4 != 0 }
	s.Windows = c.windows(s.Layers, c.window("sliding_window", 4096), slides)
	local := s.Rope
	if local.Scaling = (RopeScaling{}); c.nestedRope(slidingAttention) {
		local = c.rope(s.HeadDim, ropeDefaults{theta: 10000, kind: slidingAttention})
	}
	s.Ropes = c.ropesByKind(s, local, slides)
	return s
}

func olmo2Layer(s *Spec) []Weight {
	var ws []Weight
	for _, w := range decoderLayer(s) {
		if w.Role != AttnNorm && w.Role != MLPNorm {
			ws = append(ws, w)
		}
	}
	return append(ws,
		Weight{Role: QueryNorm, Name: "self_attn.q_norm.weight", Shape: []int{s.Heads * s.HeadDim}},
		Weight{Role: KeyNorm, Name: "self_attn.k_norm.weight", Shape: []int{s.KVHeads * s.HeadDim}},
		Weight{Role: AttnPostNorm, Name: "post_attention_layernorm.weight", Shape: []int{s.Hidden}},
		Weight{Role: MLPPostNorm, Name: "post_feedforward_layernorm.weight", Shape: []int{s.Hidden}})
}
