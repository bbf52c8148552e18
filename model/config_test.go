package model

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// edit returns the config with keys replaced; a nil value removes the key.
func edit(t testing.TB, config string, changes map[string]any) []byte {
	t.Helper()
	var keys map[string]any
	if err := json.Unmarshal([]byte(config), &keys); err != nil {
		t.Fatal(err)
	}
	for k, v := range changes {
		if v == nil {
			delete(keys, k)
		} else {
			keys[k] = v
		}
	}
	out, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestParseConfig(t *testing.T) {
	llama31 := published(t, "llama-3.1-8b")
	s, err := ParseConfig([]byte(llama31))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Parameters(); got != 8_030_261_248 {
		t.Errorf("parameters = %d, want 8030261248", got)
	}
	if s.HeadDim != 128 || s.KVHeads != 8 || s.Tied || s.AttnBias {
		t.Errorf("spec = %+v", s)
	}
	if diff := cmp.Diff([]int{128001, 128008, 128009}, s.EOS); diff != "" {
		t.Error(diff)
	}
	if want := 1 / math.Sqrt(128); s.AttnScale != want {
		t.Errorf("attention scale = %g, want %g", s.AttnScale, want)
	}
	pruned, err := s.PruneConfig([]byte(llama31), rangeOf(24))
	if err != nil {
		t.Fatal(err)
	}
	small, err := ParseConfig(pruned)
	if err != nil {
		t.Fatal(err)
	}
	if got := small.Parameters(); got != 6_285_365_248 {
		t.Errorf("parameters of 24 layers = %d, want 6285365248", got)
	}
}

func rangeOf(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// TestFirstProblems: a size that is missing does not make others wrong.
func TestFirstProblems(t *testing.T) {
	for _, key := range []string{"hidden_size", "num_attention_heads"} {
		_, err := ParseConfig(edit(t, published(t, "llama-3.1-8b"), map[string]any{key: nil}))
		if err == nil || strings.Contains(err.Error(), "multiple") || strings.Contains(err.Error(), "head_dim") {
			t.Errorf("without %s: %v", key, err)
		}
	}
}

func TestParseConfigProblems(t *testing.T) {
	llama31 := published(t, "llama-3.1-8b")
	for name, c := range map[string]struct {
		changes map[string]any
		want    []string // all in the message
	}{
		"missing":        {map[string]any{"hidden_size": nil, "vocab_size": nil}, []string{"hidden_size is missing", "vocab_size is missing"}},
		"zero":           {map[string]any{"num_hidden_layers": 0}, []string{"num_hidden_layers = 0"}},
		"absurd":         {map[string]any{"vocab_size": 1 << 40}, []string{"vocab_size = 1099511627776"}},
		"many layers":    {map[string]any{"num_hidden_layers": 300000000}, []string{"num_hidden_layers = 300000000", "65536"}},
		"wrong type":     {map[string]any{"hidden_size": "big"}, []string{`hidden_size = "big"`}},
		"heads":          {map[string]any{"num_key_value_heads": 5}, []string{"num_attention_heads = 32", "num_key_value_heads = 5"}},
		"head size":      {map[string]any{"hidden_size": 4100}, []string{"hidden_size = 4100", "num_attention_heads = 32"}},
		"activation":     {map[string]any{"hidden_act": "gelu"}, []string{`hidden_act = "gelu"`, "silu"}},
		"rope kind":      {map[string]any{"rope_scaling": map[string]any{"rope_type": "ntk", "factor": 4}}, []string{`"ntk"`, "llama3"}},
		"rope values":    {map[string]any{"rope_scaling": map[string]any{"rope_type": "llama3", "factor": 4}}, []string{"factor = 4", "high_freq_factor = 0"}},
		"rope twice":     {map[string]any{"rope_parameters": map[string]any{"rope_theta": 10000, "rope_type": "default"}}, []string{"rope_theta = 500000", "10000"}},
		"eps":            {map[string]any{"rms_norm_eps": -1}, []string{"rms_norm_eps = -1"}},
		"odd head":       {map[string]any{"head_dim": 63}, []string{"head_dim = 63"}},
		"eos":            {map[string]any{"eos_token_id": "end"}, []string{"eos_token_id", "end"}},
		"architecture":   {map[string]any{"architectures": []string{"MambaForCausalLM"}}, []string{"MambaForCausalLM", "LlamaForCausalLM"}},
		"none":           {map[string]any{"architectures": nil, "model_type": "mamba"}, []string{"architectures", `"mamba"`, "LlamaForCausalLM"}},
		"quantised":      {map[string]any{"quantization_config": map[string]any{"quant_method": "gptq"}}, []string{"quantised", "gptq"}},
		"quantised, bnb": {map[string]any{"quantization_config": map[string]any{"load_in_4bit": true}}, []string{"bitsandbytes 4-bit"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseConfig(edit(t, llama31, c.changes))
			if err == nil {
				t.Fatal("the config was taken")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
	for _, key := range []string{"architectures", "quantization_config"} {
		value := map[string]any{"architectures": []string{"X"}, "quantization_config": map[string]any{}}[key]
		if _, err := ParseConfig(edit(t, llama31, map[string]any{key: value})); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v is not ErrUnsupported", key, err)
		}
	}
	if _, err := ParseConfig([]byte(`[1]`)); err == nil {
		t.Error("a list was taken for a config")
	}
}

func TestRopeFromBothPlaces(t *testing.T) {
	llama31 := published(t, "llama-3.1-8b")
	newer := edit(t, llama31, map[string]any{"rope_theta": nil, "rope_scaling": nil, "rope_parameters": map[string]any{
		"rope_type": "llama3", "rope_theta": 500000, "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 8192,
	}})
	a, err := ParseConfig([]byte(llama31))
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseConfig(newer)
	if err != nil {
		t.Fatal(err)
	}
	if a.Rope != b.Rope {
		t.Errorf("rope_scaling gives %+v, rope_parameters %+v", a.Rope, b.Rope)
	}
	none, err := ParseConfig(edit(t, llama31, map[string]any{"rope_theta": nil, "rope_scaling": nil}))
	if err != nil {
		t.Fatal(err)
	}
	if none.Rope.Theta != 10000 || none.Rope.Scaling.Kind != "" {
		t.Errorf("without rope keys: %+v, want the family's default", none.Rope)
	}
}

// TestLlama3Frequencies checks the three ranges by hand for theta 500000,
// factor 8, original length 8192.
func TestLlama3Frequencies(t *testing.T) {
	llama31 := published(t, "llama-3.1-8b")
	s, err := ParseConfig([]byte(llama31))
	if err != nil {
		t.Fatal(err)
	}
	fs := s.Rope.Frequencies(0)
	if len(fs) != 64 || fs[0] != 1 {
		t.Fatalf("%d frequencies, first %g: want 64, first 1", len(fs), fs[0])
	}
	slow := math.Pow(500000, -126.0/128) // wavelength 2.6 million, beyond 8192
	if math.Abs(float64(fs[63])-slow/8) > 1e-12 {
		t.Errorf("slowest frequency = %g, want %g", fs[63], slow/8)
	}
	f := math.Pow(500000, -64.0/128) // wavelength 4443, between 2048 and 8192
	smooth := (8192/(2*math.Pi/f) - 1) / 3
	if want := (1-smooth)*f/8 + smooth*f; math.Abs(float64(fs[32])-want) > 1e-9 {
		t.Errorf("middle frequency = %g, want %g", fs[32], want)
	}
}
