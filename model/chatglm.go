package model

import (
	"encoding/json"
	"regexp"
	"strings"
)

// chatglm covers ChatGLM2-6B and what shares its code and config keys (CodeGeeX2,
// ChatGLM3-6B, GLM-4-9B as first published): fused projections, one or few
// key/value heads, rotary embeddings of interleaved pairs on half of each head.
// Source: modeling_chatglm.py and configuration_chatglm.py beside the published weights.
func chatglm() *family {
	return &family{
		name:          "chatglm",
		architectures: []string{"ChatGLMModel", "ChatGLMForConditionalGeneration"},
		layerPrefix:   "transformer.encoder.layers.",
		parse:         parseChatGLM,
		top:           chatglmTop,
		layer:         chatglmLayer,
		gguf: &GGUF{
			Name: "chatglm", Pairs: true, Partial: true, SquareQuery: true, Fused: []Role{QKV, GateUp}, Biases: []Role{QKVBias},
			Keys: []string{"rope.freq_base", "rope.dimension_count"},
		},
		refused: map[string]string{
			"GlmForCausalLM":                   "GLM-4 as rewritten for transformers has other tensors; the first published form (ChatGLMModel) is supported",
			"Glm4MoeForCausalLM":               "it is a mixture of experts",
			"ChatGLMForSequenceClassification": "it classifies texts and predicts no next token",
		},
	}
}

func parseChatGLM(c *config) *Spec {
	c.chatglmRefusals()
	s := &Spec{
		Layers:       c.layers("num_layers"),
		Hidden:       c.count("hidden_size"),
		Heads:        c.count("num_attention_heads"),
		HeadDim:      c.count("kv_channels"),
		FF:           c.count("ffn_hidden_size"),
		Vocab:        c.count("padded_vocab_size"),
		MaxPositions: c.countOr("seq_length", 2048),
		NormEps:      c.positiveOr("layernorm_epsilon", 1e-5),
		AttnBias:     c.boolOr("add_qkv_bias", false),
		Activation:   SiLU,
		EmbedScale:   1,
	}
	s.KVHeads = c.countOr("multi_query_group_num", 1)
	if s.Heads%s.KVHeads != 0 {
		c.problem("num_attention_heads = %d is not a multiple of multi_query_group_num = %d", s.Heads, s.KVHeads)
	}
	if s.HeadDim%4 != 0 {
		c.problem("kv_channels = %d: want a multiple of 4, so that half of a head is made of pairs", s.HeadDim)
	}
	s.Rope = Rope{Theta: 10000, Dim: s.HeadDim / 2, Interleaved: true}
	c.ropeRatio(s)
	return s
}

// glm4Vocabulary is padded_vocab_size of GLM-4-9B and its kin.
const glm4Vocabulary = 151552

// ropeRatio reads a key that has two meanings: ChatGLM2-6B-32K divides positions
// by it, ChatGLM3 and GLM-4 multiply the base. The configs are alike: only the code
// that is published with the weights says which.
func (c *config) ropeRatio(s *Spec) {
	ratio := c.positiveOr("rope_ratio", 1)
	if ratio == 1 {
		return
	}
	code := c.modelling()
	positions := regexp.MustCompile(`/=?\s*(self\.)?rope_ratio\b`).MatchString(code)
	base := regexp.MustCompile(`\*=?\s*(self\.)?rope_ratio\b|\brope_ratio\s*\*`).MatchString(code)
	switch {
	case positions && !base:
		s.Rope.Scaling = RopeScaling{Kind: "linear", Factor: ratio}
	case base && !positions, code == "" && s.Vocab == glm4Vocabulary:
		s.Rope.Theta *= ratio
	default:
		c.cannotRun("rope_ratio = %g divides positions in ChatGLM2-6B-32K and multiplies the base in ChatGLM3 and GLM-4, and only the model's own code tells them apart: put its modeling_chatglm.py beside config.json", ratio)
	}
}

// modelling is the Python code of the model's class, without comments, or "".
func (c *config) modelling() string {
	if c.beside == nil {
		return ""
	}
	name := "modeling_chatglm.py"
	auto := &config{keys: map[string]json.RawMessage{}, within: "auto_map."}
	if values, err := keysOf(c.keys["auto_map"]); err == nil {
		auto.keys = values
	}
	for _, class := range []string{"AutoModel", "AutoModelForCausalLM"} {
		if module, _, ok := strings.Cut(auto.stringOr(class, ""), "."); ok && !strings.ContainsAny(module, `/\-`) {
			name = module + ".py"
		}
	}
	return regexp.MustCompile(`(?m)#.*$`).ReplaceAllString(string(c.beside(name)), "")
}

// chatglmRefusals names the variants of the class that compute something else.
func (c *config) chatglmRefusals() {
	if c.has("position_encoding_2d") || c.has("inner_hidden_size") {
		c.unsupported("this is the first ChatGLM-6B, with two-dimensional positions; ChatGLM2 and later are supported")
		return
	}
	if c.has("vision_config") {
		c.unsupported("it is multimodal (vision_config)")
	}
	if c.has("pre_seq_len") {
		c.unsupported("it was tuned with a learned prefix (pre_seq_len), which is no part of the layers")
	}
	if bits := c.numberOr("quantization_bit", 0); bits != 0 {
		c.unsupported("its weights are quantised (quantization_bit = %g); use the original checkpoint in F32, F16 or BF16", bits)
	}
	for _, flag := range []struct {
		key      string
		def, can bool
	}{
		{"multi_query_attention", false, true}, // without it queries, keys and values are interleaved head by head
		{"rmsnorm", true, true},
		{"post_layer_norm", true, true},
		{"original_rope", true, true},
		{"add_bias_linear", false, false},
		{"apply_residual_connection_post_layernorm", false, false},
	} {
		if got := c.boolOr(flag.key, flag.def); got != flag.can {
			c.unsupported("%s = %v: only %v is supported", flag.key, got, flag.can)
		}
	}
}

func chatglmTop(s *Spec) []Weight {
	return []Weight{
		{Role: Embedding, Name: "transformer.embedding.word_embeddings.weight", Shape: []int{s.Vocab, s.Hidden}, Layer: -1},
		{Role: FinalNorm, Name: "transformer.encoder.final_layernorm.weight", Shape: []int{s.Hidden}, Layer: -1},
		{Role: LMHead, Name: "transformer.output_layer.weight", Shape: []int{s.Vocab, s.Hidden}, Layer: -1},
	}
}

func chatglmLayer(s *Spec) []Weight {
	q, qkv := s.Heads*s.HeadDim, (s.Heads+2*s.KVHeads)*s.HeadDim
	ws := []Weight{
		{Role: AttnNorm, Name: "input_layernorm.weight", Shape: []int{s.Hidden}},
		{Role: QKV, Name: "self_attention.query_key_value.weight", Shape: []int{qkv, s.Hidden}},
		{Role: Out, Name: "self_attention.dense.weight", Shape: []int{s.Hidden, q}},
		{Role: MLPNorm, Name: "post_attention_layernorm.weight", Shape: []int{s.Hidden}},
		{Role: GateUp, Name: "mlp.dense_h_to_4h.weight", Shape: []int{2 * s.FF, s.Hidden}},
		{Role: Down, Name: "mlp.dense_4h_to_h.weight", Shape: []int{s.Hidden, s.FF}},
	}
	if s.AttnBias {
		ws = append(ws, Weight{Role: QKVBias, Name: "self_attention.query_key_value.bias", Shape: []int{qkv}})
	}
	return ws
}
