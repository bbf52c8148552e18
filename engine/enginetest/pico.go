package enginetest

import (
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/internal/synth"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// picoConfigs are small configs of every family beside Llama, each with the
// parts that only it has: see [Pico].
func picoConfigs() map[string]map[string]any {
	decoder := func(architecture string, more map[string]any) map[string]any {
		c := map[string]any{
			"architectures": []string{architecture}, "hidden_size": 48, "intermediate_size": 80, "max_position_embeddings": 256,
			"num_attention_heads": 6, "num_hidden_layers": 4, "num_key_value_heads": 2, "vocab_size": 300, "torch_dtype": "bfloat16",
		}
		maps.Copy(c, more)
		return c
	}
	return map[string]map[string]any{
		"mistral": decoder("MistralForCausalLM", map[string]any{"sliding_window": 70, "head_dim": 16}),
		"qwen2":   decoder("Qwen2ForCausalLM", map[string]any{"use_sliding_window": true, "sliding_window": 33, "max_window_layers": 2, "tie_word_embeddings": true}),
		"qwen3":   decoder("Qwen3ForCausalLM", map[string]any{"head_dim": 32, "rope_theta": 1e6}),
		"gemma":   decoder("GemmaForCausalLM", map[string]any{"head_dim": 16, "num_key_value_heads": 1, "hidden_act": "gelu"}),
		"gemma2": decoder("Gemma2ForCausalLM", map[string]any{"head_dim": 24, "query_pre_attn_scalar": 20, "sliding_window": 64,
			"attn_logit_softcapping": 3.0, "final_logit_softcapping": 8.0, "hidden_activation": "gelu"}),
		"cohere":   decoder("CohereForCausalLM", map[string]any{"logit_scale": 0.3}),
		"granite":  decoder("GraniteForCausalLM", map[string]any{"embedding_multiplier": 3.0, "attention_multiplier": 0.3, "residual_multiplier": 0.7, "logits_scaling": 2.0}),
		"nemotron": decoder("NemotronForCausalLM", map[string]any{"hidden_act": "relu2", "head_dim": 16, "mlp_bias": true}),
		"olmo2":    decoder("Olmo2ForCausalLM", nil),
		"opt":      decoder("OPTForCausalLM", map[string]any{"ffn_dim": 80, "max_position_embeddings": 2048}),
		"smollm3": decoder("SmolLM3ForCausalLM", map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0,
			"original_max_position_embeddings": 32, "truncate": false, "mscale": 0.8, "mscale_all_dim": 0.5}}),
		"gemma3": decoder("Gemma3ForCausalLM", map[string]any{"head_dim": 16, "query_pre_attn_scalar": 20, "sliding_window": 70, "sliding_window_pattern": 2,
			"rope_scaling": map[string]any{"rope_type": "linear", "factor": 8.0}}),
		"glm4":      decoder("Glm4ForCausalLM", map[string]any{"head_dim": 16, "attention_bias": true}),
		"ministral": decoder("MinistralForCausalLM", map[string]any{"sliding_window": 33, "layer_types": []string{"sliding_attention", "full_attention", "full_attention", "sliding_attention"}}),
		"olmo3": decoder("Olmo3ForCausalLM", map[string]any{"sliding_window": 520, "rope_scaling": map[string]any{"rope_type": "yarn", "factor": 8.0,
			"original_max_position_embeddings": 64}}),
		"phi3": decoder("Phi3ForCausalLM", map[string]any{"head_dim": 16, "partial_rotary_factor": 0.75, "sliding_window": 300, "original_max_position_embeddings": 32,
			"rope_scaling": map[string]any{"type": "longrope", "short_factor": []float64{1, 1, 1.1, 1.1, 1.2, 1.3}, "long_factor": []float64{1, 2, 3, 4, 5, 6}}}),
		"stablelm": decoder("StableLmForCausalLM", map[string]any{"head_dim": nil, "num_attention_heads": 3, "num_key_value_heads": 3, "partial_rotary_factor": 0.25, "use_qkv_bias": true}),
		"baichuan": decoder("BaichuanForCausalLM", map[string]any{"num_key_value_heads": nil}),
		"chatglm": {"architectures": []string{"ChatGLMModel"}, "add_qkv_bias": true, "ffn_hidden_size": 80, "hidden_size": 48, "kv_channels": 16,
			"multi_query_attention": true, "multi_query_group_num": 2, "num_attention_heads": 4, "num_layers": 4, "padded_vocab_size": 300, "seq_length": 256},
	}
}

// Picos names the models that [Pico] makes.
func Picos() []string { return slices.Sorted(maps.Keys(picoConfigs())) }

// Pico makes a small seeded model of a family beside Llama and opens it.
func Pico(t testing.TB, name string) *model.Model {
	t.Helper()
	config, err := json.Marshal(picoConfigs()[name])
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), name)
	if err := WriteModel(dir, config, 11); err != nil {
		t.Fatal(err)
	}
	return Open(t, dir)
}

// WriteModel writes a BF16 checkpoint for a config.json of any family to dir:
// weights are a function of the seed and the tensor's name, and such that every
// part of a layer changes what it computes.
func WriteModel(dir string, config []byte, seed uint64) error {
	spec, err := model.ParseConfig(config)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o666); err != nil {
		return err
	}
	var entries []safetensors.Entry
	for w := range spec.Weights() {
		entries = append(entries, safetensors.Entry{Name: w.Name, DType: safetensors.BF16, Shape: w.Shape, Data: draw(spec, w, seed)})
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		return err
	}
	if err := safetensors.Write(f, map[string]string{"format": "pt"}, entries); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// draw fills a tensor: matrices keep the scale of their input, norms are about
// one, biases small beside what they are added to.
func draw(s *model.Spec, w model.Weight, seed uint64) []byte {
	h := fnv.New64a()
	_, _ = h.Write([]byte(w.Name))
	random := rand.New(rand.NewPCG(seed, h.Sum64()))
	mean, scale := 0.0, 1.3/math.Sqrt(float64(w.Shape[len(w.Shape)-1]))
	switch {
	case w.IsBias():
		scale = 0.3
	case len(w.Shape) == 1:
		mean, scale = 1-s.NormOffset, 0.2
	case w.Role == model.Embedding:
		scale = 1 / s.EmbedScale
	}
	var out []byte
	for range w.Elements() {
		out = binary.LittleEndian.AppendUint16(out, synth.BFloat16(float32(mean+scale*random.NormFloat64())))
	}
	return out
}
