package model

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func published(t testing.TB, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "configs", name, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func parse(t testing.TB, config string, changes map[string]any) *Spec {
	t.Helper()
	s, err := ParseConfig(edit(t, config, changes))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The published sizes, to the last parameter: testdata/configs/README.md says where
// configs and counts were seen.
func TestPublishedParameters(t *testing.T) {
	for name, want := range map[string]int64{
		"llama-3.1-8b":           8_030_261_248,
		"llama-3.1-8b-24-layers": 6_285_365_248,
		"vicuna-7b-v1.5":         6_738_415_616,
		"qwen1.5-7b":             7_721_324_544,
		"gemma-2-2b":             2_614_341_888,
		"baichuan2-7b":           7_505_973_248,
		"chatglm2-6b":            6_243_584_000,
		"gemma-3-1b":             999_885_952,
		"phi-4-mini":             3_836_021_760,
		"smollm3-3b":             3_075_098_624,
		"olmo-2-7b":              7_298_617_344,
		"granite-3.3-8b":         8_170_864_640,
		"glm-4-9b-0414":          9_400_279_040,
	} {
		if got := parse(t, published(t, name), nil).Parameters(); got != want {
			t.Errorf("%s: %d parameters, want %d", name, got, want)
		}
	}
}

// facts are the parts of a Spec that tell the families apart.
type facts struct {
	KVHeads, HeadDim            int
	AttnScale, Embed, Offset    float64
	AttnCap, LogitCap, Theta    float64
	RopeDim                     int
	Interleaved, Unit           bool
	Tied, AttnBias, OutBias     bool
	Activation                  Activation
	Window0, Window1, Positions int
	Roles                       string
}

func factsOf(s *Spec) facts {
	var roles []string
	for _, w := range s.LayerWeights(0) {
		roles = append(roles, string(w.Role))
	}
	return facts{
		s.KVHeads, s.HeadDim, s.AttnScale, s.EmbedScale, s.NormOffset, s.AttnSoftCap, s.LogitSoftCap, s.Rope.Theta, s.Rope.Dim,
		s.Rope.Interleaved, s.HeadUnitRows, s.Tied, s.AttnBias, s.OutBias, s.Activation, s.Window(0), s.Window(1), s.MaxPositions, strings.Join(roles, " "),
	}
}

func TestFamilies(t *testing.T) {
	const (
		plain = "attention-norm query key value attention-out mlp-norm gate up down"
		qkv   = "attention-norm query key value attention-out mlp-norm query-bias key-bias value-bias gate up down"
	)
	root := 1 / math.Sqrt(128)
	gemma2 := facts{KVHeads: 4, HeadDim: 256, AttnScale: 1. / 16, Embed: 48, Offset: 1, AttnCap: 50, LogitCap: 30, Theta: 10000, RopeDim: 256,
		Tied: true, Activation: GELUTanh, Window0: 4096, Positions: 8192, Roles: plain + " attention-post-norm mlp-post-norm"}
	for name, c := range map[string]struct {
		config  string
		changes map[string]any
		want    facts
	}{
		"vicuna": {"vicuna-7b-v1.5", nil, facts{KVHeads: 32, HeadDim: 128, AttnScale: root, Embed: 1, Theta: 10000, RopeDim: 128, Activation: SiLU, Positions: 4096, Roles: plain}},
		"qwen1.5, whose window is off": {"qwen1.5-7b", nil,
			facts{KVHeads: 32, HeadDim: 128, AttnScale: root, Embed: 1, Theta: 1e6, RopeDim: 128, AttnBias: true, Activation: SiLU, Positions: 32768, Roles: qkv}},
		"qwen2 with a window from layer 1": {"qwen1.5-7b", map[string]any{"use_sliding_window": true, "max_window_layers": 1},
			facts{KVHeads: 32, HeadDim: 128, AttnScale: root, Embed: 1, Theta: 1e6, RopeDim: 128, AttnBias: true, Activation: SiLU, Window1: 32768, Positions: 32768, Roles: qkv}},
		"qwen3": {"qwen1.5-7b", map[string]any{"architectures": []string{"Qwen3ForCausalLM"}, "head_dim": 64, "num_key_value_heads": 8},
			facts{KVHeads: 8, HeadDim: 64, AttnScale: 1. / 8, Embed: 1, Theta: 1e6, RopeDim: 64, Activation: SiLU, Positions: 32768, Roles: plain + " query-norm key-norm"}},
		"mistral v0.1": {"vicuna-7b-v1.5", map[string]any{"architectures": []string{"MistralForCausalLM"}, "sliding_window": 4096, "num_key_value_heads": nil},
			facts{KVHeads: 8, HeadDim: 128, AttnScale: root, Embed: 1, Theta: 10000, RopeDim: 128, Activation: SiLU, Window0: 4096, Window1: 4096, Positions: 4096, Roles: plain}},
		"gemma2": {"gemma-2-2b", nil, gemma2},
		"gemma": {"gemma-2-2b", map[string]any{"architectures": []string{"GemmaForCausalLM"}, "hidden_act": "gelu", "hidden_activation": nil, "num_key_value_heads": 1},
			facts{KVHeads: 1, HeadDim: 256, AttnScale: 1. / 16, Embed: 48, Offset: 1, Theta: 10000, RopeDim: 256, Tied: true, Activation: GELUTanh, Positions: 8192, Roles: plain}},
		"baichuan2": {"baichuan2-7b", nil, facts{KVHeads: 32, HeadDim: 128, AttnScale: root, Embed: 1, Theta: 10000, RopeDim: 128, Unit: true, Activation: SiLU, Positions: 4096,
			Roles: "attention-norm query-key-value attention-out mlp-norm gate up down"}},
		"chatglm2": {"chatglm2-6b", nil, facts{KVHeads: 2, HeadDim: 128, AttnScale: root, Embed: 1, Theta: 10000, RopeDim: 64, Interleaved: true, AttnBias: true, Activation: SiLU, Positions: 32768,
			Roles: "attention-norm query-key-value attention-out mlp-norm gate-up down query-key-value-bias"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, factsOf(parse(t, published(t, c.config), c.changes))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTraps(t *testing.T) {
	gemma, qwen, glm, mistral := published(t, "gemma-2-2b"), published(t, "qwen1.5-7b"), published(t, "chatglm2-6b"), published(t, "vicuna-7b-v1.5")
	if s := parse(t, gemma, map[string]any{"query_pre_attn_scalar": 144}); s.AttnScale != 1./12 {
		t.Errorf("query_pre_attn_scalar 144: scale %v, want 1/12", s.AttnScale)
	}
	if s := parse(t, gemma, map[string]any{"hidden_act": "gelu", "hidden_activation": "gelu"}); s.Activation != GELU {
		t.Errorf("hidden_activation gelu: %v", s.Activation)
	}
	null := strings.NewReplacer(`"attn_logit_softcapping": 50.0`, `"attn_logit_softcapping": null`, `"sliding_window": 4096`, `"sliding_window": null`).Replace(gemma)
	if s := parse(t, null, nil); s.AttnSoftCap != 0 || s.Windows != nil {
		t.Errorf("null: soft cap %v, windows %v", s.AttnSoftCap, s.Windows)
	}
	if s := parse(t, gemma, map[string]any{"attn_logit_softcapping": nil, "final_logit_softcapping": nil, "sliding_window": nil, "query_pre_attn_scalar": nil}); s.AttnSoftCap != 50 ||
		s.LogitSoftCap != 30 || s.Window(0) != 4096 || s.AttnScale != 1./16 {
		t.Errorf("absent keys: %+v", factsOf(s))
	}
	types := []string{"full_attention", "sliding_attention"}
	if s := parse(t, gemma, map[string]any{"num_hidden_layers": 2, "layer_types": types}); s.Window(0) != 0 || s.Window(1) != 4096 {
		t.Errorf("layer_types: windows %v", s.Windows)
	}
	if s := parse(t, qwen, map[string]any{"num_hidden_layers": 2, "layer_types": types, "use_sliding_window": true, "sliding_window": 7}); s.Window(0) != 0 || s.Window(1) != 7 {
		t.Errorf("qwen's layer_types: windows %v", s.Windows)
	}
	if s := parse(t, qwen, map[string]any{"use_sliding_window": true}); s.Window(27) != 0 || s.Window(28) != 32768 {
		t.Errorf("max_window_layers: windows %v", s.Windows)
	}
	withNull := strings.Replace(string(edit(t, mistral, map[string]any{"architectures": []string{"MistralForCausalLM"}, "sliding_window": 1})), `"sliding_window":1`, `"sliding_window":null`, 1)
	if s := parse(t, withNull, nil); s.Windows != nil {
		t.Errorf("mistral without a window: %v", s.Windows)
	}
	for name, config := range map[string]string{"llama-3.1-8b": published(t, "llama-3.1-8b"), "gemma-2-2b": gemma, "chatglm2-6b": glm} {
		if s := parse(t, config, map[string]any{"bos_token_id": []int{5, 6}, "eos_token_id": []int{7}}); len(s.BOS) != 2 || len(s.EOS) != 1 {
			t.Errorf("%s: BOS %v, EOS %v", name, s.BOS, s.EOS)
		}
	}
}

func TestRefusals(t *testing.T) {
	arch := func(name string) map[string]any { return map[string]any{"architectures": []string{name}} }
	for name, c := range map[string]struct {
		config  string
		changes map[string]any
		want    string
	}{
		"baichuan2-13b": {"baichuan2-7b", map[string]any{"max_position_embeddings": nil, "hidden_size": 5120, "num_attention_heads": 40}, "ALiBi"},
		"chatglm-6b":    {"chatglm2-6b", map[string]any{"position_encoding_2d": true, "inner_hidden_size": 16384}, "two-dimensional"},
		"chatglm int4":  {"chatglm2-6b", map[string]any{"quantization_bit": 4}, "quantization_bit = 4"},
		"glm-4v":        {"chatglm2-6b", map[string]any{"vision_config": map[string]any{}}, "multimodal"},
		"p-tuning":      {"chatglm2-6b", map[string]any{"pre_seq_len": 128}, "pre_seq_len"},
		"post norm":     {"chatglm2-6b", map[string]any{"apply_residual_connection_post_layernorm": true}, "apply_residual_connection_post_layernorm = true"},
		"multi-head":    {"chatglm2-6b", map[string]any{"multi_query_attention": nil}, "multi_query_attention = false"},
		"mixtral":       {"vicuna-7b-v1.5", arch("MixtralForCausalLM"), "mixture of experts"},
		"qwen2-moe":     {"qwen1.5-7b", arch("Qwen2MoeForCausalLM"), "mixture of experts"},
		"qwen2-vl":      {"qwen1.5-7b", arch("Qwen2VLForConditionalGeneration"), "multimodal"},
		"phi3-small":    {"llama-3.1-8b", arch("Phi3SmallForCausalLM"), "blocksparse"},
		"smolvlm":       {"llama-3.1-8b", arch("SmolVLMForConditionalGeneration"), "multimodal"},
		"falcon-h1":     {"llama-3.1-8b", arch("FalconH1ForCausalLM"), "recurrent"},
		"nemotron-h":    {"llama-3.1-8b", arch("NemotronHForCausalLM"), "recurrent"},
		"qwen3-next":    {"qwen1.5-7b", arch("Qwen3NextForCausalLM"), "linear attention"},
		"command r+":    {"llama-3.1-8b", map[string]any{"architectures": []string{"CohereForCausalLM"}, "use_qk_norm": true, "rope_scaling": nil}, "use_qk_norm"},
		"stablelm 12b":  {"llama-3.1-8b", map[string]any{"architectures": []string{"StableLmForCausalLM"}, "use_parallel_residual": true, "rope_scaling": nil}, "use_parallel_residual"},
		"opt-350m":      {"llama-3.1-8b", map[string]any{"architectures": []string{"OPTForCausalLM"}, "word_embed_proj_dim": 512}, "word_embed_proj_dim"},
		"bloom":         {"gemma-2-2b", arch("BloomForCausalLM"), "ALiBi"},
		"partial rope":  {"llama-3.1-8b", map[string]any{"partial_rotary_factor": .5}, "partial_rotary_factor"},
		"bidirectional": {"gemma-2-2b", map[string]any{"use_bidirectional_attention": true}, "use_bidirectional_attention"},
	} {
		_, err := ParseConfig(edit(t, published(t, c.config), c.changes))
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrUnsupported that says %q", name, err, c.want)
		}
	}
	for name, c := range map[string]struct {
		config  string
		changes map[string]any
		want    string
	}{
		"kinds":      {"gemma-2-2b", map[string]any{"num_hidden_layers": 1, "layer_types": []string{"chunked_attention"}}, "chunked_attention"},
		"too few":    {"gemma-2-2b", map[string]any{"layer_types": []string{"full_attention"}}, "1 entries for 26 layers"},
		"groups":     {"chatglm2-6b", map[string]any{"multi_query_group_num": 5}, "multi_query_group_num = 5"},
		"activation": {"gemma-2-2b", map[string]any{"hidden_activation": "relu"}, `"relu"`},
		"window":     {"gemma-2-2b", map[string]any{"sliding_window": 0}, "sliding_window = 0"},
		"soft cap":   {"gemma-2-2b", map[string]any{"final_logit_softcapping": -1}, "final_logit_softcapping = -1"},
		"W_pack":     {"baichuan2-7b", map[string]any{"num_key_value_heads": 8}, "W_pack"},
	} {
		_, err := ParseConfig(edit(t, published(t, c.config), c.changes))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error that says %q", name, err, c.want)
		}
	}
}

// Whatever a family or the list of strangers gives a reason for is refused with it,
// and none of it is supported.
func TestReasons(t *testing.T) {
	reasons := strangers()
	for _, f := range families() {
		for name, why := range f.refused {
			reasons[name] = why
		}
	}
	for name, why := range reasons {
		_, err := ParseConfig(edit(t, published(t, "llama-3.1-8b"), map[string]any{"architectures": []string{name}}))
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), `"`+name+`": `+why) {
			t.Errorf("%s: %v, want ErrUnsupported that says %q", name, err, why)
		}
	}
	for _, name := range []string{"SmolVLMForConditionalGeneration", "Phi3SmallForCausalLM", "FalconH1ForCausalLM", "NemotronHForCausalLM", "Qwen3NextForCausalLM",
		"Gemma3nForConditionalGeneration", "PhiMoEForCausalLM", "OlmoForCausalLM", "GraniteMoeHybridForCausalLM", "Glm4MoeForCausalLM", "Ministral3ForCausalLM",
		"Mistral3ForConditionalGeneration", "Cohere2ForCausalLM", "GptOssForCausalLM", "DeepseekV3ForCausalLM"} {
		if reasons[name] == "" {
			t.Errorf("%s is refused without a reason", name)
		}
	}
}

// A pruned config, read back, gives each kept layer the window it had.
func TestPrunedWindows(t *testing.T) {
	for name, c := range map[string]struct {
		config  string
		changes map[string]any
		keep    []int
		keys    []string // in the pruned config
		noted   bool
	}{
		"gemma2, kinds swapped":          {"gemma-2-2b", map[string]any{"num_hidden_layers": 6}, []int{0, 2, 4, 5}, []string{"layer_types"}, true},
		"gemma2, the tail":               {"gemma-2-2b", map[string]any{"num_hidden_layers": 6}, []int{0, 1, 2, 3}, []string{"layer_types"}, false},
		"gemma2, full layers only":       {"gemma-2-2b", map[string]any{"num_hidden_layers": 6}, []int{1, 3}, []string{"layer_types"}, true},
		"gemma2 with layer_types":        {"gemma-2-2b", map[string]any{"num_hidden_layers": 3, "layer_types": []string{fullAttention, fullAttention, slidingAttention}}, []int{1, 2}, []string{"layer_types"}, true},
		"gemma2 without windows":         {"gemma-2-2b", map[string]any{"num_hidden_layers": 2, "layer_types": []string{fullAttention, fullAttention}}, []int{1}, nil, false},
		"qwen2":                          {"qwen1.5-7b", map[string]any{"num_hidden_layers": 6, "use_sliding_window": true, "max_window_layers": 3}, []int{0, 2, 4, 5}, []string{"max_window_layers"}, false},
		"qwen2 by default":               {"qwen1.5-7b", map[string]any{"use_sliding_window": true, "max_window_layers": nil}, rangeOf(31)[3:], []string{"max_window_layers"}, false},
		"mistral":                        {"vicuna-7b-v1.5", map[string]any{"architectures": []string{"MistralForCausalLM"}, "sliding_window": 9}, []int{3, 9}, nil, true},
		"qwen3 whose window leaves none": {"qwen1.5-7b", map[string]any{"architectures": []string{"Qwen3ForCausalLM"}, "num_hidden_layers": 6, "use_sliding_window": true, "max_window_layers": 3}, []int{0, 1}, []string{"max_window_layers"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			raw := edit(t, published(t, c.config), c.changes)
			before := parse(t, string(raw), nil)
			pruned, err := before.PruneConfig(raw, c.keep)
			if err != nil {
				t.Fatal(err)
			}
			after := parse(t, string(pruned), nil)
			if after.Layers != len(c.keep) {
				t.Fatalf("%d layers, want %d", after.Layers, len(c.keep))
			}
			for i, l := range c.keep {
				if after.Window(i) != before.Window(l) {
					t.Errorf("layer %d, once %d: window %d, want %d", i, l, after.Window(i), before.Window(l))
				}
			}
			for _, key := range c.keys {
				if !strings.Contains(string(pruned), `"`+key+`"`) {
					t.Errorf("no %s in %s", key, pruned)
				}
			}
			if note := before.PruneNote(c.keep); (note != "") != c.noted {
				t.Errorf("note %q", note)
			}
			if note := before.PruneNote(rangeOf(before.Layers)); note != "" {
				t.Errorf("note for the whole model: %q", note)
			}
		})
	}
}

// A key is added in the file's own style, and nothing else changes.
func TestAddedKey(t *testing.T) {
	config := published(t, "gemma-2-2b")
	s := parse(t, config, nil)
	got, err := s.PruneConfig([]byte(config), []int{0, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(`"num_hidden_layers": 26`, `"num_hidden_layers": 3`,
		"\"vocab_size\": 256000\n", "\"vocab_size\": 256000,\n  \"layer_types\": [\"sliding_attention\",\"sliding_attention\",\"full_attention\"]\n").Replace(config)
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	null := strings.Replace(config, `"use_cache": true`, `"layer_types": null`, 1)
	if got, err = s.PruneConfig([]byte(null), []int{1}); err != nil || !strings.Contains(string(got), `"layer_types": ["full_attention"],`) {
		t.Errorf("null was not replaced (%v): %s", err, got)
	}
}
