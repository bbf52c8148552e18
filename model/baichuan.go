package model

import "fmt"

// baichuan covers Baichuan2-7B, and Baichuan-7B by the class name it was
// published with: Llama with queries, keys and values in one matrix. The rows
// of Baichuan2's head are divided by their norm (NormHead).
// Source: modeling_baichuan.py beside the published weights.
func baichuan() *family {
	return &family{
		name:          "baichuan",
		architectures: []string{"BaichuanForCausalLM", firstBaichuan},
		layerPrefix:   "model.layers.",
		parse:         parseBaichuan,
		top:           decoderTop,
		layer:         baichuanLayer,
		notes:         baichuanNotes,
		gguf:          llamaGGUF(nil), // rewritten: what llama.cpp makes of its own baichuan depends on the number of layers
	}
}

// baichuanNotes: llama.cpp takes the size of a Baichuan from its layers, and gives
// positions to the 7B alone, which has 32.
func baichuanNotes(s *Spec, keep []int) (notes []string) {
	if len(keep) != 32 {
		notes = append(notes, fmt.Sprintf("llama.cpp rotates queries and keys of a Baichuan of 32 layers only: it runs these %d without positions, and the results are wrong", len(keep)))
	}
	if s.HeadUnitRows {
		notes = append(notes, "llama.cpp leaves out that the rows of Baichuan2's head are normalised")
	}
	return notes
}

// firstBaichuan is the class of Baichuan-7B, without NormHead.
const firstBaichuan = "BaiChuanForCausalLM"

func parseBaichuan(c *config) *Spec {
	// The 13B models share the class name; their configuration class has no
	// max_position_embeddings, because ALiBi needs none.
	if !c.has("max_position_embeddings") {
		c.unsupported("Baichuan 13B takes positions from ALiBi biases on attention scores, not from rotary embeddings (config.json has no max_position_embeddings); only the 7B models are supported")
	}
	s := c.decoder(decoderDefaults{positions: 4096})
	if s.KVHeads != s.Heads || s.Heads*s.HeadDim != s.Hidden {
		c.problem("num_attention_heads = %d, num_key_value_heads = %d, head_dim = %d, hidden_size = %d: W_pack holds three square matrices", s.Heads, s.KVHeads, s.HeadDim, s.Hidden)
	}
	s.HeadUnitRows = c.name != firstBaichuan
	c.mustBeOneOf("hidden_act", "silu", "silu", "swish")
	return s
}

func baichuanLayer(s *Spec) []Weight {
	return append([]Weight{
		{Role: AttnNorm, Name: "input_layernorm.weight", Shape: []int{s.Hidden}},
		{Role: QKV, Name: "self_attn.W_pack.weight", Shape: []int{3 * s.Hidden, s.Hidden}},
		{Role: Out, Name: "self_attn.o_proj.weight", Shape: []int{s.Hidden, s.Hidden}},
		{Role: MLPNorm, Name: "post_attention_layernorm.weight", Shape: []int{s.Hidden}},
	}, gatedMLP(s)...)
}
