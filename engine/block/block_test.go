package block_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
)

func spec(t *testing.T, config string) *model.Spec {
	t.Helper()
	s, err := model.ParseConfig([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// place is where a map or a vector lies.
type place struct {
	Name      string
	First, Of int
}

func places(l *block.Layer) map[string]place {
	out := map[string]place{}
	linears := []string{"query", "key", "value", "out", "gate", "up", "down"}
	for i, m := range l.Linears() {
		out[linears[i]] = place{m.Weight.Name, m.Row, m.Out}
		if m.Bias.Present() {
			out[linears[i]+" bias"] = place{m.Bias.Weight.Name, m.Bias.First, m.Bias.Len}
		}
	}
	for name, v := range map[string]block.Vector{
		"attention norm": l.AttnNorm, "attention post-norm": l.AttnPostNorm, "mlp norm": l.MLPNorm, "mlp post-norm": l.MLPPostNorm,
		"query norm": l.QueryNorm, "key norm": l.KeyNorm,
	} {
		if v.Present() {
			out[name] = place{v.Weight.Name, v.First, v.Len}
		}
	}
	return out
}

// Fused tensors hold several maps one below the other, biases likewise.
func TestFused(t *testing.T) {
	s := spec(t, `{"architectures": ["ChatGLMModel"], "add_qkv_bias": true, "ffn_hidden_size": 20, "hidden_size": 16, "kv_channels": 4,
		"multi_query_attention": true, "multi_query_group_num": 2, "num_attention_heads": 4, "num_layers": 2, "padded_vocab_size": 30, "seq_length": 16}`)
	l, err := block.Of(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	const at = "transformer.encoder.layers.1."
	const qkv, glu = at + "self_attention.query_key_value.", at + "mlp.dense_h_to_4h.weight"
	want := map[string]place{
		"query": {qkv + "weight", 0, 16}, "query bias": {qkv + "bias", 0, 16},
		"key": {qkv + "weight", 16, 8}, "key bias": {qkv + "bias", 16, 8},
		"value": {qkv + "weight", 24, 8}, "value bias": {qkv + "bias", 24, 8},
		"out":  {at + "self_attention.dense.weight", 0, 16},
		"gate": {glu, 0, 20}, "up": {glu, 20, 20}, "down": {at + "mlp.dense_4h_to_h.weight", 0, 16},
		"attention norm": {at + "input_layernorm.weight", 0, 16}, "mlp norm": {at + "post_attention_layernorm.weight", 0, 16},
	}
	if diff := cmp.Diff(want, places(l)); diff != "" {
		t.Error(diff)
	}
	if l.Down.In != 20 || l.Query.In != 16 {
		t.Errorf("inputs of down and query: %d, %d", l.Down.In, l.Query.In)
	}
}

// Gemma 2 has what few have: norms that stand for 1 + w, after the blocks too,
// windows in every other layer, a tied head.
func TestGemma2(t *testing.T) {
	s := spec(t, `{"architectures": ["Gemma2ForCausalLM"], "hidden_size": 12, "intermediate_size": 20, "num_attention_heads": 4, "num_key_value_heads": 2,
		"head_dim": 4, "num_hidden_layers": 2, "vocab_size": 30, "sliding_window": 7, "query_pre_attn_scalar": 4, "hidden_activation": "gelu_pytorch_tanh"}`)
	for i, window := range []int{7, 0} {
		l, err := block.Of(s, i)
		if err != nil {
			t.Fatal(err)
		}
		if l.Window != window || l.AttnNorm.Offset != 1 || !l.MLPPostNorm.Present() || l.MLPPostNorm.Offset != 1 || l.Query.Bias.Present() {
			t.Errorf("layer %d: %+v", i, l)
		}
	}
	h := block.HeadOf(s)
	if h.Projection.Name != block.EmbeddingOf(s).Name || h.Norm.Offset != 1 || h.Norm.Len != 12 || h.UnitRows {
		t.Errorf("head: %+v", h)
	}
}

func TestRotary(t *testing.T) {
	for _, interleaved := range []bool{false, true} {
		r := model.Rope{Theta: 100, Dim: 4, Interleaved: interleaved}
		var tables block.Rotaries
		table := tables.Reach(r, 0, 300)
		if table.Positions() != 512 || tables.Reach(r, 0, 511) != table || tables.Reach(r, 0, 512) == table {
			t.Errorf("a table of %d positions for 300", table.Positions())
		}
		cos, sin := table.At(3)
		c0, s0, c1, s1 := float32(math.Cos(3)), float32(math.Sin(3)), float32(math.Cos(0.3)), float32(math.Sin(0.3))
		wantCos, wantSin := []float32{c0, c1}, []float32{s0, s1}
		if interleaved {
			wantCos, wantSin = []float32{c0, c0, c1, c1}, []float32{-s0, s0, -s1, s1}
		}
		for i := range wantCos {
			if math.Abs(float64(cos[i]-wantCos[i])) > 1e-6 || math.Abs(float64(sin[i]-wantSin[i])) > 1e-6 {
				t.Errorf("interleaved %v: cosines %v, sines %v, want %v, %v", interleaved, cos, sin, wantCos, wantSin)
			}
		}
	}
}
