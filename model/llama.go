package model

// llama covers Llama 1 to 3.2 and what was fine-tuned from them (Vicuna,
// SmolLM, TinyLlama): pre-norm blocks, grouped-query attention, SwiGLU.
// Source: transformers' modeling_llama.py and configuration_llama.py.
func llama() *family {
	return &family{
		name:          "llama",
		architectures: []string{"LlamaForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseLlama,
		top:           llamaTop,
		layer:         llamaLayer,
	}
}

func parseLlama(c *config) *Spec {
	s := &Spec{
		Layers:       c.layers("num_hidden_layers"),
		Hidden:       c.count("hidden_size"),
		Heads:        c.count("num_attention_heads"),
		FF:           c.count("intermediate_size"),
		Vocab:        c.count("vocab_size"),
		MaxPositions: c.countOr("max_position_embeddings", 2048),
		NormEps:      c.positiveOr("rms_norm_eps", 1e-6),
		Tied:         c.boolOr("tie_word_embeddings", false),
		MLPBias:      c.boolOr("mlp_bias", false),
		Activation:   SiLU,
		EmbedScale:   1,
	}
	s.KVHeads = c.countOr("num_key_value_heads", s.Heads)
	s.HeadDim = c.countOr("head_dim", s.Hidden/max(s.Heads, 1))
	s.AttnBias = c.boolOr("attention_bias", false)
	s.OutBias = s.AttnBias
	s.Rope = c.rope(s.HeadDim, 10000)
	c.requireOneOf("hidden_act", "silu", "silu", "swish")
	c.checkHeads(s)
	return s
}

func llamaTop(s *Spec) []Weight {
	ws := []Weight{
		{Role: Embedding, Name: "model.embed_tokens.weight", Shape: []int{s.Vocab, s.Hidden}, Layer: -1},
		{Role: FinalNorm, Name: "model.norm.weight", Shape: []int{s.Hidden}, Layer: -1},
	}
	if !s.Tied {
		ws = append(ws, Weight{Role: LMHead, Name: "lm_head.weight", Shape: []int{s.Vocab, s.Hidden}, Layer: -1})
	}
	return ws
}

func llamaLayer(s *Spec) []Weight {
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	ws := []Weight{
		{Role: AttnNorm, Name: "input_layernorm.weight", Shape: []int{s.Hidden}},
		{Role: Query, Name: "self_attn.q_proj.weight", Shape: []int{q, s.Hidden}},
		{Role: Key, Name: "self_attn.k_proj.weight", Shape: []int{kv, s.Hidden}},
		{Role: Value, Name: "self_attn.v_proj.weight", Shape: []int{kv, s.Hidden}},
		{Role: Out, Name: "self_attn.o_proj.weight", Shape: []int{s.Hidden, q}},
		{Role: MLPNorm, Name: "post_attention_layernorm.weight", Shape: []int{s.Hidden}},
		{Role: Gate, Name: "mlp.gate_proj.weight", Shape: []int{s.FF, s.Hidden}},
		{Role: Up, Name: "mlp.up_proj.weight", Shape: []int{s.FF, s.Hidden}},
		{Role: Down, Name: "mlp.down_proj.weight", Shape: []int{s.Hidden, s.FF}},
	}
	if s.AttnBias {
		ws = append(ws,
			Weight{Role: QueryBias, Name: "self_attn.q_proj.bias", Shape: []int{q}},
			Weight{Role: KeyBias, Name: "self_attn.k_proj.bias", Shape: []int{kv}},
			Weight{Role: ValueBias, Name: "self_attn.v_proj.bias", Shape: []int{kv}})
	}
	if s.OutBias {
		ws = append(ws, Weight{Role: OutProjBias, Name: "self_attn.o_proj.bias", Shape: []int{s.Hidden}})
	}
	if s.MLPBias {
		ws = append(ws,
			Weight{Role: GateBias, Name: "mlp.gate_proj.bias", Shape: []int{s.FF}},
			Weight{Role: UpBias, Name: "mlp.up_proj.bias", Shape: []int{s.FF}},
			Weight{Role: DownBias, Name: "mlp.down_proj.bias", Shape: []int{s.Hidden}})
	}
	return ws
}
