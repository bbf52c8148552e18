package bench

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
)

// equalShapes are configs of every family for the same matrix products, and
// the Llama to compare each with: heads are multi-head where the family's are.
func equalShapes() map[string]map[string]any {
	with := func(architecture string, more map[string]any) map[string]any {
		c := map[string]any{"architectures": []string{architecture}, "hidden_size": 1024, "intermediate_size": 2816, "num_attention_heads": 16,
			"num_key_value_heads": 4, "head_dim": 64, "num_hidden_layers": 4, "vocab_size": 4096, "tie_word_embeddings": true, "max_position_embeddings": 1024}
		maps.Copy(c, more)
		return c
	}
	return map[string]map[string]any{
		"llama":             with("LlamaForCausalLM", nil),
		"llama, multi-head": with("LlamaForCausalLM", map[string]any{"num_key_value_heads": 16}),
		"mistral":           with("MistralForCausalLM", map[string]any{"sliding_window": 256}),
		"qwen2":             with("Qwen2ForCausalLM", nil),
		"qwen3":             with("Qwen3ForCausalLM", nil),
		"gemma":             with("GemmaForCausalLM", nil),
		"gemma2":            with("Gemma2ForCausalLM", map[string]any{"query_pre_attn_scalar": 64, "sliding_window": 256}),
		"baichuan":          with("BaichuanForCausalLM", map[string]any{"num_key_value_heads": 16, "head_dim": nil, "tie_word_embeddings": false}),
		"chatglm": {"architectures": []string{"ChatGLMModel"}, "add_qkv_bias": true, "ffn_hidden_size": 2816, "hidden_size": 1024, "kv_channels": 64,
			"multi_query_attention": true, "multi_query_group_num": 4, "num_attention_heads": 16, "num_layers": 4, "padded_vocab_size": 4096},
	}
}

// BenchmarkFamilies compares each family's forward pass of 512 tokens with
// Llama's at equal shape: the median of interleaved pairs, as "of-llama" (1: as
// fast; 0.9: a tenth slower).
//
//	go test ./internal/bench -run '^$' -bench Families -benchtime 15x
func BenchmarkFamilies(b *testing.B) {
	e, err := cpu.New(cpu.Options{DType: "auto"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	runs := map[string]func(testing.TB) time.Duration{}
	for name, config := range equalShapes() {
		runs[name] = forwardOf(b, e, config)
	}
	for _, name := range slices.Sorted(maps.Keys(runs)) {
		llama := runs["llama"]
		switch name {
		case "llama, multi-head":
			continue // there for Baichuan's sake
		case "baichuan":
			llama = runs["llama, multi-head"]
		}
		b.Run(name, func(b *testing.B) {
			var ratios []float64
			for b.Loop() {
				ratios = append(ratios, float64(llama(b))/float64(runs[name](b)))
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "of-llama")
		})
	}
}

func forwardOf(b *testing.B, e engine.Engine, config map[string]any) func(testing.TB) time.Duration {
	raw, err := json.Marshal(config)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	if err := enginetest.WriteModel(dir, raw, 1); err != nil {
		b.Fatal(err)
	}
	run := forest.New(enginetest.Open(b, dir), e, forest.Options{})
	b.Cleanup(run.Close)
	seq := make([]int32, 512)
	for i := range seq {
		seq[i] = int32(i * 7 % 4096)
	}
	return func(tb testing.TB) time.Duration {
		start := time.Now()
		if err := run.LogProbs(context.Background(), nil, [][]int32{seq}, func(int, []engine.TokenScore) error { return nil }); err != nil {
			tb.Fatal(err)
		}
		return time.Since(start)
	}
}
