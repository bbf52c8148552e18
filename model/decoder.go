package model

import (
	"math"

	"github.com/coppice-ml/coppice/internal/pyjson"
)

// decoderDefaults are the values that a family's configuration class gives to
// keys config.json leaves out.
type decoderDefaults struct {
	positions int
	kvHeads   int // 0: as many as query heads, which null always means
	headDim   int // 0: hidden_size / num_attention_heads
	tied      bool
	eps       float64 // 0: 1e-6
	theta     float64 // of rotary embeddings; 0: 10000
	partial   float64 // share of a head that is rotated, 0 where the class rotates all
	original  int     // original_max_position_embeddings, 0 where the class has none
	longrope  bool    // the class takes scaling of type yarn for longrope
	ropeKind  string  // kind of layer whose rotary embeddings are the spec's, where rope_parameters may be nested
}

// decoder reads the keys that transformers' decoders share: Llama's names.
func (c *config) decoder(d decoderDefaults) *Spec {
	c.positions, c.original = d.positions, d.original
	s := &Spec{
		Layers:       c.layers("num_hidden_layers"),
		Hidden:       c.count("hidden_size"),
		Heads:        c.count("num_attention_heads"),
		FF:           c.count("intermediate_size"),
		Vocab:        c.count("vocab_size"),
		MaxPositions: c.countOr("max_position_embeddings", d.positions),
		NormEps:      c.positiveOr("rms_norm_eps", orNumber(d.eps, 1e-6)),
		Tied:         c.boolOr("tie_word_embeddings", d.tied),
		Activation:   SiLU,
		EmbedScale:   1,
	}
	sound := len(c.problems) == 0 // else what stands for a size says nothing of others
	kvHeads := s.Heads
	if _, given := c.keys["num_key_value_heads"]; !given && d.kvHeads > 0 {
		kvHeads = d.kvHeads
	}
	s.KVHeads = c.countOr("num_key_value_heads", kvHeads)
	headDim := d.headDim
	if headDim == 0 {
		headDim = s.Hidden / s.Heads
		if sound && !c.has("head_dim") && s.Hidden%s.Heads != 0 {
			c.problem("hidden_size = %d is not a multiple of num_attention_heads = %d, and there is no head_dim", s.Hidden, s.Heads)
		}
	}
	s.HeadDim = c.countOr("head_dim", headDim)
	if sound && s.Heads%s.KVHeads != 0 {
		c.problem("num_attention_heads = %d is not a multiple of num_key_value_heads = %d", s.Heads, s.KVHeads)
	}
	if sound && s.HeadDim%2 != 0 && d.partial == 0 {
		c.problem("head_dim = %d: want an even number for rotary embeddings", s.HeadDim)
	}
	s.Rope = c.rope(s.HeadDim, ropeDefaults{theta: orNumber(d.theta, 10000), partial: d.partial, kind: d.ropeKind, longrope: d.longrope})
	return s
}

// decoderTop lists the tensors outside the layers, by Llama's names.
func decoderTop(s *Spec) []Weight {
	ws := []Weight{
		{Role: Embedding, Name: "model.embed_tokens.weight", Shape: []int{s.Vocab, s.Hidden}, Layer: -1},
		{Role: FinalNorm, Name: "model.norm.weight", Shape: []int{s.Hidden}, Layer: -1},
	}
	if !s.Tied {
		ws = append(ws, Weight{Role: LMHead, Name: "lm_head.weight", Shape: []int{s.Vocab, s.Hidden}, Layer: -1})
	}
	return ws
}

// decoderLayer lists the tensors of a layer, by Llama's names.
func decoderLayer(s *Spec) []Weight {
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	ws := []Weight{
		{Role: AttnNorm, Name: "input_layernorm.weight", Shape: []int{s.Hidden}},
		{Role: Query, Name: "self_attn.q_proj.weight", Shape: []int{q, s.Hidden}},
		{Role: Key, Name: "self_attn.k_proj.weight", Shape: []int{kv, s.Hidden}},
		{Role: Value, Name: "self_attn.v_proj.weight", Shape: []int{kv, s.Hidden}},
		{Role: Out, Name: "self_attn.o_proj.weight", Shape: []int{s.Hidden, q}},
		{Role: MLPNorm, Name: "post_attention_layernorm.weight", Shape: []int{s.Hidden}},
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
	return append(ws, gatedMLP(s)...)
}

// gatedMLP lists the tensors of a feed-forward with separate gate and up.
func gatedMLP(s *Spec) []Weight {
	ws := []Weight{
		{Role: Gate, Name: "mlp.gate_proj.weight", Shape: []int{s.FF, s.Hidden}},
		{Role: Up, Name: "mlp.up_proj.weight", Shape: []int{s.FF, s.Hidden}},
		{Role: Down, Name: "mlp.down_proj.weight", Shape: []int{s.Hidden, s.FF}},
	}
	if s.MLPBias {
		ws = append(ws,
			Weight{Role: GateBias, Name: "mlp.gate_proj.bias", Shape: []int{s.FF}},
			Weight{Role: UpBias, Name: "mlp.up_proj.bias", Shape: []int{s.FF}},
			Weight{Role: DownBias, Name: "mlp.down_proj.bias", Shape: []int{s.Hidden}})
	}
	return ws
}

// The two kinds of layer that layer_types knows in the families here.
const (
	slidingAttention = "sliding_attention"
	fullAttention    = "full_attention"
)

// windows says how many keys each layer sees: window in those that slide, which
// layer_types names; without it, those for which sliding is true. It is nil
// where no layer slides or there is no window.
func (c *config) windows(layers, window int, sliding func(i int) bool) []int {
	types, ok := c.layerTypes(layers)
	if !ok {
		return nil
	}
	windows, some := make([]int, layers), false
	for i := range windows {
		slides := sliding(i)
		if types != nil {
			slides = types[i] == slidingAttention
			if !slides && types[i] != fullAttention {
				c.problem("layer_types[%d] = %q: only %s and %s are supported", i, types[i], slidingAttention, fullAttention)
			}
		}
		if slides && window > 0 {
			windows[i], some = window, true
		}
	}
	if !some {
		return nil
	}
	return windows
}

// layerTypes reads the kind of every layer, nil where the config does not say.
func (c *config) layerTypes(layers int) (types []string, ok bool) {
	if !c.has("layer_types") {
		return nil, true
	}
	raw := c.keys["layer_types"]
	if pyjson.Unmarshal(raw, &types) != nil {
		c.problem("layer_types = %s: want a list of names, one a layer", abridged(raw))
		return nil, false
	}
	if len(types) != layers {
		c.problem("layer_types has %d entries for %d layers", len(types), layers)
		return nil, false
	}
	return types, true
}

// window reads the size of the attention window; 0 where it is null.
func (c *config) window(key string, def int) int {
	if raw, given := c.keys[key]; given && string(raw) == "null" {
		return 0
	}
	return c.countOr(key, def)
}

// scaleOf is the usual scale of attention scores.
func scaleOf(dim float64) float64 { return 1 / math.Sqrt(max(dim, 1)) }
