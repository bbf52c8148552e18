package model

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPruneConfig(t *testing.T) {
	const config = `{
  "architectures": ["LlamaForCausalLM"],
  "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 4, "vocab_size": 9,
  "layer_types": ["a", "b", "c", "d"],
  "no_rope_layers": [],
  "max_window_layers": 3,
  "num_hidden_layers": 4,
  "note": "num_hidden_layers: 4"
}
`
	s, err := ParseConfig([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.PruneConfig([]byte(config), []int{0, 3})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(`["a", "b", "c", "d"]`, `["a","d"]`, `"max_window_layers": 3`, `"max_window_layers": 1`,
		`"num_hidden_layers": 4,`, `"num_hidden_layers": 2,`).Replace(config)
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	same, err := s.PruneConfig([]byte(config), []int{0, 1, 2, 3})
	if err != nil || !bytes.Equal(same, []byte(config)) {
		t.Errorf("keeping every layer changed the config (%v)", err)
	}
	short := strings.Replace(config, `["a", "b", "c", "d"]`, `["a"]`, 1)
	if _, err := s.PruneConfig([]byte(short), []int{0}); err == nil || !strings.Contains(err.Error(), "layer_types") {
		t.Errorf("a pattern of the wrong length gave %v", err)
	}
}

func TestRenamer(t *testing.T) {
	s, err := ParseConfig([]byte(published(t, "llama-3.1-8b")))
	if err != nil {
		t.Fatal(err)
	}
	rename := s.Renamer([]int{0, 2, 31})
	for name, want := range map[string]string{
		"model.embed_tokens.weight":                     "model.embed_tokens.weight",
		"model.layers.0.mlp.up_proj.weight":             "model.layers.0.mlp.up_proj.weight",
		"model.layers.2.input_layernorm.weight":         "model.layers.1.input_layernorm.weight",
		"model.layers.31.self_attn.rotary_emb.inv_freq": "model.layers.2.self_attn.rotary_emb.inv_freq",
		"model.layers.1.mlp.up_proj.weight":             "",
		"model.layers.x.mlp.up_proj.weight":             "model.layers.x.mlp.up_proj.weight",
	} {
		got, kept := rename(name)
		if got != want || kept != (want != "") {
			t.Errorf("%s became %q, %v; want %q", name, got, kept, want)
		}
	}
}

// FuzzConfig feeds anything to the parser; what it accepts can be pruned, and
// the result parses with the new layer count.
func FuzzConfig(f *testing.F) {
	for _, name := range []string{"llama-3.1-8b", "qwen1.5-7b", "gemma-2-2b", "baichuan2-7b", "chatglm2-6b"} {
		f.Add([]byte(published(f, name)))
	}
	f.Add([]byte(`{"architectures":["LlamaForCausalLM"],"hidden_size":8,"num_attention_heads":2,"intermediate_size":4,"vocab_size":9,"num_hidden_layers":2,"layer_types":["a","b"]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := ParseConfig(raw)
		if err != nil || s.Layers > 1000 {
			return
		}
		pruned, err := s.PruneConfig(raw, []int{s.Layers - 1})
		if err != nil {
			return
		}
		again, err := ParseConfig(pruned)
		if err != nil {
			t.Fatalf("pruned config does not parse: %v\n%s", err, pruned)
		}
		if again.Layers != 1 {
			t.Fatalf("pruned config has %d layers, want 1\n%s", again.Layers, pruned)
		}
	})
}
