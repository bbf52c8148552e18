package bench

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
)

// widths of a model; the other keys of a config follow from its family.
type widths struct{ hidden, ff, heads, kvHeads, layers, vocab, positions int }

// familyShapes are configs of every family with the same widths. OPT and Baichuan
// have as many heads of keys as of queries.
func familyShapes(w widths) map[string]map[string]any {
	with := func(architecture string, more map[string]any) map[string]any {
		c := map[string]any{"architectures": []string{architecture}, "hidden_size": w.hidden, "intermediate_size": w.ff, "num_attention_heads": w.heads,
			"num_key_value_heads": w.kvHeads, "head_dim": w.hidden / w.heads, "num_hidden_layers": w.layers, "vocab_size": w.vocab,
			"tie_word_embeddings": true, "max_position_embeddings": w.positions}
		maps.Copy(c, more)
		return c
	}
	window := w.positions / 4
	slides := map[string]any{"sliding_window": window, "query_pre_attn_scalar": w.hidden / w.heads}
	pairs := w.hidden / w.heads / 2
	switched := map[string]any{"type": "longrope", "short_factor": slices.Repeat([]float64{1}, pairs), "long_factor": slices.Repeat([]float64{4}, pairs)}
	return map[string]map[string]any{
		"llama":    with("LlamaForCausalLM", nil),
		"mistral":  with("MistralForCausalLM", map[string]any{"sliding_window": window}),
		"qwen2":    with("Qwen2ForCausalLM", nil),
		"qwen3":    with("Qwen3ForCausalLM", nil),
		"gemma":    with("GemmaForCausalLM", nil),
		"gemma2":   with("Gemma2ForCausalLM", slides),
		"baichuan": with("BaichuanForCausalLM", map[string]any{"num_key_value_heads": w.heads, "head_dim": nil, "tie_word_embeddings": false}),
		"chatglm": {"architectures": []string{"ChatGLMModel"}, "add_qkv_bias": true, "ffn_hidden_size": w.ff, "hidden_size": w.hidden, "kv_channels": w.hidden / w.heads,
			"multi_query_attention": true, "multi_query_group_num": w.kvHeads, "num_attention_heads": w.heads, "num_layers": w.layers, "padded_vocab_size": w.vocab,
			"seq_length": w.positions},
		"gemma3":         with("Gemma3ForCausalLM", slides),
		"phi3":           with("Phi3ForCausalLM", map[string]any{"sliding_window": window}),
		"phi3, longrope": with("Phi3ForCausalLM", map[string]any{"original_max_position_embeddings": w.positions / 4, "rope_scaling": switched}),
		"phi4-mini":      with("Phi3ForCausalLM", map[string]any{"partial_rotary_factor": .75}),
		"smollm3":        with("SmolLM3ForCausalLM", nil),
		"ministral":      with("MinistralForCausalLM", map[string]any{"sliding_window": window}),
		"olmo2":          with("Olmo2ForCausalLM", nil),
		"olmo3":          with("Olmo3ForCausalLM", map[string]any{"sliding_window": window}),
		"granite": with("GraniteForCausalLM", map[string]any{"attention_multiplier": .015625, "embedding_multiplier": 12., "logits_scaling": 16.,
			"residual_multiplier": .22}),
		"glm4":     with("Glm4ForCausalLM", map[string]any{"attention_bias": true}),
		"nemotron": with("NemotronForCausalLM", map[string]any{"partial_rotary_factor": .5}),
		"opt":      with("OPTForCausalLM", map[string]any{"ffn_dim": w.ff, "num_key_value_heads": nil, "head_dim": nil}),
		"stablelm": with("StableLmForCausalLM", map[string]any{"partial_rotary_factor": .25, "use_qkv_bias": true}),
		"cohere":   with("CohereForCausalLM", nil),
	}
}

// shapeFrom reads a config as a shape.
func shapeFrom(tb testing.TB, name string, config map[string]any) Shape {
	tb.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		tb.Fatal(err)
	}
	spec, err := model.ParseConfig(raw)
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return Shape{name, raw, spec}
}

// Every family can be measured beside a Llama that has its widths, and whose products
// are as many but for a gate that the family lacks.
func TestBesideLlama(t *testing.T) {
	w := widths{hidden: 64, ff: 96, heads: 4, kvHeads: 2, layers: 2, vocab: 128, positions: 64}
	seen := map[string]bool{}
	for name, config := range familyShapes(w) {
		t.Run(name, func(t *testing.T) {
			s := shapeFrom(t, name, config)
			twin, err := llamaLike(s.Spec)
			if err != nil {
				t.Fatal(err)
			}
			missing := int64(0)
			if s.Spec.Ungated {
				missing = int64(w.layers * w.hidden * w.ff)
			}
			if got, want := twin.Spec.MACsPerToken(), s.Spec.MACsPerToken()+missing; got != want {
				t.Errorf("the Llama beside it has %d products a token, want %d", got, want)
			}
			opt := Options{Shape: s, What: whatLlama, Tokens: 48, Rounds: 1, Engine: newEngine(t, "float32")}
			if err := Run(t.Context(), opt, func(r report.Bench) {
				seen[r.Shape] = r.Ratio > 0 && r.TokensPerSecond > 0 && r.LimitWay != "" && r.What == whatLlama
			}); err != nil {
				t.Fatal(err)
			}
			if !seen[name] {
				t.Error("no result, or one that lacks something")
			}
		})
	}
	var measured []string
	for _, c := range familyShapes(w) {
		measured = append(measured, c["architectures"].([]string)[0])
	}
	others := []string{"BaiChuanForCausalLM", "ChatGLMForConditionalGeneration", "Gemma3ForConditionalGeneration"} // the same layers
	for _, architecture := range model.Architectures() {
		if !slices.Contains(append(measured, others...), architecture) {
			t.Errorf("%s is not measured", architecture)
		}
	}
}

// BenchmarkFamilies compares each family's forward pass of 512 tokens with that of a
// Llama of the same widths, SmolLM-135M's, as `coppice bench --what llama` does: 1 is
// as fast, 0.9 a tenth slower. The head is small, so that layers count.
//
//	go test ./internal/bench -run '^$' -bench Families -benchtime 1x
func BenchmarkFamilies(b *testing.B) {
	e, err := cpu.New(cpu.Options{DType: "float32"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	shapes := familyShapes(widths{hidden: 576, ff: 1536, heads: 9, kvHeads: 3, layers: 8, vocab: 4096, positions: 2048})
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		b.Run(name, func(b *testing.B) {
			opt := Options{Shape: shapeFrom(b, name, shapes[name]), What: whatLlama, Rounds: 5, Engine: e}
			for b.Loop() {
				err := Run(b.Context(), opt, func(r report.Bench) { b.ReportMetric(float64(r.Ratio), "of-llama") })
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
