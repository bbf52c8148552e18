package model

// opt covers OPT (125M and 1.3B to 66B): LayerNorm, learned positions instead of
// rotary embeddings, a feed-forward without a gate, biases everywhere, a tied head.
// Source: transformers' modeling_opt.py and configuration_opt.py.
func opt() *family {
	return &family{
		name:          "opt",
		architectures: []string{"OPTForCausalLM"},
		layerPrefix:   "model.decoder.layers.",
		parse:         parseOPT,
		top:           optTop,
		layer:         optLayer,
		noGGUF:        "llama.cpp does not know OPT",
		refused: map[string]string{
			"OPTForSequenceClassification": "it classifies texts and predicts no next token",
			"GPT2LMHeadModel":              "its matrices are transposed",
		},
	}
}

func parseOPT(c *config) *Spec {
	s := &Spec{
		Layers:         c.layers("num_hidden_layers"),
		Hidden:         c.count("hidden_size"),
		Heads:          c.count("num_attention_heads"),
		FF:             c.countOr("ffn_dim", 3072),
		Vocab:          c.count("vocab_size"),
		MaxPositions:   c.countOr("max_position_embeddings", 2048),
		PositionOffset: 2,
		NormEps:        1e-5,
		LayerNorm:      true,
		Tied:           c.boolOr("tie_word_embeddings", true),
		Ungated:        true,
		Activation:     ReLU,
		EmbedScale:     1,
		AttnBias:       c.boolOr("enable_bias", true),
	}
	s.OutBias, s.MLPBias = s.AttnBias, s.AttnBias
	s.KVHeads, s.HeadDim = s.Heads, s.Hidden/s.Heads
	if s.Hidden%s.Heads != 0 {
		c.problem("hidden_size = %d is not a multiple of num_attention_heads = %d", s.Hidden, s.Heads)
	}
	if width := c.countOr("word_embed_proj_dim", s.Hidden); width != s.Hidden {
		c.unsupported("word_embed_proj_dim = %d is not hidden_size = %d (OPT-350M): projections around the layers are not read", width, s.Hidden)
	}
	for _, flag := range []struct {
		key string
		can bool
	}{{"do_layer_norm_before", true}, {"_remove_final_layer_norm", false}, {"layer_norm_elementwise_affine", true}} {
		if got := c.boolOr(flag.key, flag.can); got != flag.can {
			c.unsupported("%s = %v: only %v is supported", flag.key, got, flag.can)
		}
	}
	c.mustBeOneOf("activation_function", "relu", "relu")
	return s
}

func optTop(s *Spec) []Weight {
	const in = "model.decoder."
	ws := []Weight{
		{Role: Embedding, Name: in + "embed_tokens.weight", Shape: []int{s.Vocab, s.Hidden}, Layer: -1},
		{Role: Positions, Name: in + "embed_positions.weight", Shape: []int{s.MaxPositions + s.PositionOffset, s.Hidden}, Layer: -1},
		{Role: FinalNorm, Name: in + "final_layer_norm.weight", Shape: []int{s.Hidden}, Layer: -1},
		{Role: FinalNormBias, Name: in + "final_layer_norm.bias", Shape: []int{s.Hidden}, Layer: -1},
	}
	if !s.Tied {
		ws = append(ws, Weight{Role: LMHead, Name: "lm_head.weight", Shape: []int{s.Vocab, s.Hidden}, Layer: -1})
	}
	return ws
}

func optLayer(s *Spec) []Weight {
	d, f := s.Hidden, s.FF
	var ws []Weight
	add := func(name string, weight, bias Role, shape ...int) {
		ws = append(ws, Weight{Role: weight, Name: name + ".weight", Shape: shape})
		if len(shape) == 1 || s.AttnBias {
			ws = append(ws, Weight{Role: bias, Name: name + ".bias", Shape: shape[:1]})
		}
	}
	add("self_attn_layer_norm", AttnNorm, AttnNormBias, d)
	add("self_attn.q_proj", Query, QueryBias, d, d)
	add("self_attn.k_proj", Key, KeyBias, d, d)
	add("self_attn.v_proj", Value, ValueBias, d, d)
	add("self_attn.out_proj", Out, OutProjBias, d, d)
	add("final_layer_norm", MLPNorm, MLPNormBias, d)
	add("fc1", Up, UpBias, f, d)
	add("fc2", Down, DownBias, d, f)
	return ws
}
