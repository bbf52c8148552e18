package model

// nemotron covers Nemotron-4 and Minitron: LayerNorm whose weights stand for 1 + w,
// a feed-forward without a gate whose activation is the square of ReLU, and rotary
// embeddings of a part of each head.
// Source: transformers' modeling_nemotron.py and configuration_nemotron.py.
func nemotron() *family {
	return &family{
		name:          "nemotron",
		architectures: []string{"NemotronForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseNemotron,
		top:           layerNormTop,
		layer:         nemotronLayer,
		gguf: &GGUF{
			Name: "nemotron", Partial: true, Untied: true, SquareQuery: true,
			Biases: []Role{FinalNormBias, AttnNormBias, MLPNormBias, QueryBias, KeyBias, ValueBias, OutProjBias, UpBias, DownBias},
			Keys:   []string{"rope.freq_base", "rope.dimension_count", "rope.scaling.type", "vocab_size"},
		},
		refused: map[string]string{
			"NemotronHForCausalLM": "most of its layers are recurrent (Mamba)",
			"DeciLMForCausalLM":    "its layers differ in their shapes, some have no attention",
		},
	}
}

func parseNemotron(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 4096, partial: 0.5, eps: 1e-5})
	s.NormEps = c.positiveOr("norm_eps", 1e-5)
	s.LayerNorm, s.NormOffset = true, 1
	s.AttnBias = c.boolOr("attention_bias", false)
	s.OutBias = s.AttnBias
	s.MLPBias = c.boolOr("mlp_bias", false)
	s.Ungated, s.Activation = true, ReLU2
	c.mustBeOneOf("hidden_act", "relu2", "relu2")
	return s
}

func nemotronLayer(s *Spec) []Weight {
	var ws []Weight
	for _, w := range layerNormLayer(s) {
		if w.Role != Gate && w.Role != GateBias {
			ws = append(ws, w)
		}
	}
	return ws
}

// layerNormTop is decoderTop with a bias of the final norm.
func layerNormTop(s *Spec) []Weight {
	return append(decoderTop(s), Weight{Role: FinalNormBias, Name: "model.norm.bias", Shape: []int{s.Hidden}, Layer: -1})
}

// layerNormLayer is decoderLayer with biases of the norms.
func layerNormLayer(s *Spec) []Weight {
	var ws []Weight
	for _, w := range decoderLayer(s) {
		ws = append(ws, w)
		switch w.Role {
		case AttnNorm:
			ws = append(ws, Weight{Role: AttnNormBias, Name: "input_layernorm.bias", Shape: w.Shape})
		case MLPNorm:
			ws = append(ws, Weight{Role: MLPNormBias, Name: "post_attention_layernorm.bias", Shape: w.Shape})
		}
	}
	return ws
}
