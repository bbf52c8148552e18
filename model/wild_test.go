package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

// rope_ratio has two meanings, and the code beside the config says which.
func TestRopeRatio(t *testing.T) {
	const (
		positions = "seq_idx = torch.arange(seq_len) / self.rope_ratio\n"
		base      = "base = base * self.rope_ratio\n"
		comment   = "x = 1  # not: positions / self.rope_ratio\n"
	)
	own := map[string]any{"AutoModel": "my_glm.Model"}
	for name, c := range map[string]struct {
		changes       map[string]any
		files         map[string]string
		theta, factor float64 // 0, 0: refused
	}{
		"ChatGLM2-32K":           {map[string]any{"rope_ratio": 16}, map[string]string{"modeling_chatglm.py": positions}, 10000, 16},
		"ChatGLM3":               {map[string]any{"rope_ratio": 50}, map[string]string{"modeling_chatglm.py": base + comment}, 500000, 0},
		"in place":               {map[string]any{"rope_ratio": 50}, map[string]string{"modeling_chatglm.py": "base *= rope_ratio"}, 500000, 0},
		"another file":           {map[string]any{"rope_ratio": 4, "auto_map": own}, map[string]string{"my_glm.py": positions}, 10000, 4},
		"GLM-4 by vocabulary":    {map[string]any{"rope_ratio": 500, "padded_vocab_size": 151552}, nil, 5000000, 0},
		"one":                    {map[string]any{"rope_ratio": 1.0}, nil, 10000, 0},
		"no code":                {map[string]any{"rope_ratio": 50}, nil, 0, 0},
		"code that says nothing": {map[string]any{"rope_ratio": 50}, map[string]string{"modeling_chatglm.py": comment}, 0, 0},
		"code that says both":    {map[string]any{"rope_ratio": 50}, map[string]string{"modeling_chatglm.py": base + positions}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			raw := edit(t, published(t, "chatglm2-6b"), c.changes)
			beside := func(name string) []byte { return []byte(c.files[name]) }
			s, err := ParseConfigBeside(raw, beside)
			if c.theta == 0 {
				if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "rope_ratio") {
					t.Fatalf("error %v does not refuse rope_ratio", err)
				}
				if s, err = ParseLayout(raw, beside); err != nil || s.Runnable() == nil {
					t.Fatalf("cutting: %v, runnable: %v", err, s.Runnable())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.Rope.Theta != c.theta || s.Rope.Scaling.Factor != c.factor {
				t.Errorf("theta %v, factor %v: want %v, %v", s.Rope.Theta, s.Rope.Scaling.Factor, c.theta, c.factor)
			}
			want := math.Pow(c.theta, -2./float64(s.Rope.Dim)) / max(1, c.factor)
			if got := s.Rope.Frequencies(0)[1]; float32(want) != got {
				t.Errorf("second frequency %v, want %v", got, want)
			}
		})
	}
}

// Numbers that scripts write as floats or texts mean what they say.
func TestNumbersAsWritten(t *testing.T) {
	llama31 := published(t, "llama-3.1-8b")
	want := parse(t, llama31, nil)
	got := parse(t, llama31, map[string]any{
		"hidden_size": 4096.5 - .5, "num_hidden_layers": "32", "rms_norm_eps": "1e-05", "rope_theta": "500000.0", "bos_token_id": "128000",
		"eos_token_id": []any{128001.0, "128008", 128009}, "rope_scaling": map[string]any{
			"rope_type": "llama3", "factor": "8", "low_freq_factor": 1, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192.0}})
	if factsOf(got) != factsOf(want) || got.Rope != want.Rope || got.NormEps != want.NormEps || !slices.Equal(got.BOS, want.BOS) || !slices.Equal(got.EOS, want.EOS) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	float := strings.Replace(llama31, `"num_hidden_layers": 32`, `"num_hidden_layers": 32.0`, 1)
	if s := parse(t, float, nil); s.Layers != 32 {
		t.Errorf("%d layers of 32.0", s.Layers)
	}
	for _, c := range []struct{ key, value, want string }{
		{"hidden_size", `64.5`, "hidden_size = 64.5: want an integer from 1 to"},
		{"rms_norm_eps", `Infinity`, "rms_norm_eps = Infinity: want a number"},
		{"rms_norm_eps", `"small"`, `rms_norm_eps = "small": want a number`},
		{"tie_word_embeddings", `"no"`, `tie_word_embeddings = "no": want true or false`},
		{"rope_scaling", `[1]`, "rope_scaling = [1]: want an object in braces"},
		{"rope_scaling", `{"type": "linear", "factor": NaN}`, "rope_scaling.factor = NaN: want a number"},
		{"hidden_act", `7`, "hidden_act = 7: want a text in quotes"},
		{"torch_dtype", `["` + strings.Repeat("x", 1000) + `"]`, "…: want a text"},
	} {
		_, err := ParseConfig(withKey(llama31, c.key, c.value))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "model.") || strings.Contains(err.Error(), "json:") {
			t.Errorf("%s = %s: %v, want %q and no Go types", c.key, c.value, err, c.want)
		}
	}
}

// withKey sets a key to a value that need not be JSON.
func withKey(config, key, value string) []byte {
	var keys map[string]json.RawMessage
	_ = json.Unmarshal([]byte(config), &keys)
	delete(keys, key)
	raw, _ := json.Marshal(keys)
	return fmt.Appendf(nil, "%s, %q: %s}", raw[:len(raw)-1], key, value)
}

// Python writes NaN and Infinity; other keys than those that are read may hold
// them, and a pruned config keeps them.
func TestPythonNumbers(t *testing.T) {
	raw := withKey(published(t, "llama-3.1-8b"), "time_step_limit", "[0.0, Infinity, -Infinity, NaN]")
	s, err := ParseConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	pruned, err := s.PruneConfig(raw, rangeOf(4))
	if err != nil || !strings.Contains(string(pruned), `"time_step_limit": [0.0, Infinity, -Infinity, NaN]`) || !strings.Contains(string(pruned), `"num_hidden_layers":4`) {
		t.Errorf("pruned: %s, %v", pruned, err)
	}
}

func TestArchitectureByOtherNames(t *testing.T) {
	llama31 := published(t, "llama-3.1-8b")
	for _, changes := range []map[string]any{
		{"architectures": []string{"LLaMAForCausalLM"}},
		{"architectures": nil, "model_type": "llama"},
		{"architectures": []string{}, "model_type": "llama"},
		{"architectures": []any{nil}, "model_type": "llama"},
		{"architectures": []string{"LlamaModel"}},
	} {
		if s := parse(t, llama31, changes); s.Architecture != "LlamaForCausalLM" || s.Parameters() != 8_030_261_248 {
			t.Errorf("%v: %s", changes, s.Architecture)
		}
	}
	if _, err := ParseConfig(edit(t, llama31, map[string]any{"architectures": []string{"MyLlama"}, "model_type": "llama"})); !errors.Is(err, ErrUnsupported) ||
		!strings.Contains(err.Error(), `its model_type is "llama"; if it is a plain one, write "architectures": ["LlamaForCausalLM"]`) {
		t.Errorf("a class of one's own: %v", err)
	}
	// Two classes of Baichuan differ in case alone.
	if s := parse(t, published(t, "baichuan2-7b"), map[string]any{"architectures": []string{"BaiChuanForCausalLM"}}); s.HeadUnitRows {
		t.Error("BaiChuanForCausalLM was read as BaichuanForCausalLM")
	}
}

func TestQuantisedByAnyKey(t *testing.T) {
	for key, value := range map[string]any{
		"quantization": map[string]any{"group_size": 64, "bits": 4}, "compression_config": map[string]any{}, "quantization_config": map[string]any{"bits": 8},
	} {
		_, err := ParseConfig(edit(t, published(t, "llama-3.1-8b"), map[string]any{key: value}))
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "quantised ("+key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if _, err := ParseConfig(withKey(published(t, "llama-3.1-8b"), "quantization_config", "null")); err != nil {
		t.Errorf("null: %v", err)
	}
}

// What only running needs is no obstacle to cutting.
func TestLayoutOfWhatCannotRun(t *testing.T) {
	for name, changes := range map[string]map[string]any{
		"ntk":     {"rope_scaling": map[string]any{"rope_type": "ntk", "factor": 4}},
		"partial": {"partial_rotary_factor": .5},
		"act":     {"hidden_act": "relu"},
		"by kind": {"rope_theta": nil, "rope_scaling": nil, "rope_parameters": map[string]any{"full_attention": map[string]any{"rope_theta": 1e6}, "sliding_attention": map[string]any{"rope_theta": 1e4}}},
	} {
		raw := edit(t, published(t, "llama-3.1-8b"), changes)
		if _, err := ParseConfig(raw); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v is no refusal", name, err)
		}
		s, err := ParseLayout(raw, nil)
		if err != nil || s.Parameters() != 8_030_261_248 || s.Runnable() == nil {
			t.Errorf("%s: layout %v", name, err)
		}
	}
}

// llama.cpp goes by numbers of layers and leaves windows out.
func TestPruneNotes(t *testing.T) {
	gemma27 := map[string]any{"num_hidden_layers": 46, "hidden_size": 4608, "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128, "query_pre_attn_scalar": 144}
	for name, c := range map[string]struct {
		config  string
		changes map[string]any
		keep    []int
		want    string // "": no note
	}{
		"baichuan2":         {"baichuan2-7b", nil, rangeOf(24), "without positions"},
		"baichuan2's head":  {"baichuan2-7b", nil, rangeOf(24), "head are normalised"},
		"gemma 2 27B":       {"gemma-2-2b", gemma27, rangeOf(40), "46 layers only"},
		"gemma 2 2B":        {"gemma-2-2b", nil, rangeOf(20), ""},
		"mistral's window":  {"vicuna-7b-v1.5", map[string]any{"architectures": []string{"MistralForCausalLM"}, "sliding_window": 400}, rangeOf(8), "more than 400 tokens"},
		"mistral v0.3":      {"vicuna-7b-v1.5", map[string]any{"architectures": []string{"MistralForCausalLM"}, "sliding_window": 1 << 20}, rangeOf(8), ""},
		"qwen2's window":    {"qwen1.5-7b", map[string]any{"use_sliding_window": true, "sliding_window": 64, "max_window_layers": 3}, rangeOf(8), "more than 64 tokens"},
		"no sliding layers": {"qwen1.5-7b", map[string]any{"use_sliding_window": true, "sliding_window": 64, "max_window_layers": 3}, rangeOf(2), ""},
		"llama":             {"llama-3.1-8b", nil, rangeOf(8), ""},
	} {
		s := parse(t, published(t, c.config), c.changes)
		if note := s.PruneNote(c.keep); !strings.Contains(note, c.want) || c.want == "" && note != "" {
			t.Errorf("%s: note %q, want %q", name, note, c.want)
		}
		if note := s.PruneNote(rangeOf(s.Layers)); note != "" {
			t.Errorf("%s, whole: %q", name, note)
		}
	}
}

// No value of any key makes reading or pruning panic.
func TestAnyValueOfAnyKey(t *testing.T) {
	junk := []string{`null`, `true`, `-1`, `0`, `1`, `3`, `2.5`, `1e400`, `"x"`, `""`, `[]`, `["a"]`, `[1,"full_attention"]`, `["full_attention",7]`, `[null]`, `[[1]]`, `[-5,1e9]`, `{}`, `{"a":{}}`, `NaN`, `9223372036854775808`}
	for _, name := range []string{"llama-3.1-8b", "vicuna-7b-v1.5", "qwen1.5-7b", "gemma-2-2b", "baichuan2-7b", "chatglm2-6b"} {
		config := published(t, name)
		keys, err := keysOf([]byte(config))
		if err != nil {
			t.Fatal(err)
		}
		names := append(slices.Collect(maps.Keys(keys)), "layer_types", "no_rope_layers", "max_window_layers", "rope_parameters", "rope_scaling", "head_dim", "sliding_window", "rope_ratio", "auto_map", "sliding_window_pattern")
		for _, key := range names {
			for _, value := range junk {
				raw := withKey(config, key, value)
				for _, more := range []string{"", `, "use_sliding_window": true`} {
					raw = slices.Concat(raw[:len(raw)-1], []byte(more), []byte("}"))
					s, err := ParseLayout(raw, func(string) []byte { return nil })
					if err != nil {
						continue
					}
					_, _ = s.PruneConfig(raw, []int{0})
					_ = s.PruneNote([]int{0})
				}
			}
		}
	}
}
