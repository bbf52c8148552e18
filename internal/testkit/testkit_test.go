package testkit

import (
	"io/fs"
	"math"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGolden(t *testing.T) {
	g := Golden(t, "llama")
	if seqs := g.Sequences(t, "input_ids"); len(seqs) != 2 || len(seqs[0]) != 37 {
		t.Errorf("input_ids: %d sequences of %d tokens, want 2 of 37", len(seqs), len(seqs[0]))
	}
	if a, shape := g.Array(t, "logits"); len(shape) != 3 || len(a) != shape[0]*shape[1]*shape[2] {
		t.Errorf("logits: %d values for shape %v", len(a), shape)
	}
	if n := len(g.Floats(t, "scores", "bi_token")); n != 8 {
		t.Errorf("scores.bi_token has %d values, want 8", n)
	}
	if loss := g.Float(t, "loss"); loss <= 0 {
		t.Errorf("loss = %v", loss)
	}
	if !g.Has("hidden") || g.Has("nothing") {
		t.Error("Has is wrong")
	}
}

// TestOwnGoldens: the repository proves every family by itself, within 12 MB.
func TestOwnGoldens(t *testing.T) {
	t.Setenv(SharedEnv, t.TempDir())
	want := []string{
		"baichuan", "chatglm2", "cohere", "gemma", "gemma2", "gemma3_text", "glm4_0414", "granite", "llama", "llama_dynamic", "llama_tied", "llama_yarn",
		"ministral", "mistral", "nemotron", "olmo2", "olmo3", "opt", "phi3", "phi3_longrope", "phi4mini_partial", "qwen2", "qwen2_window", "qwen3",
		"qwen3_yarn", "smollm3", "stablelm", "vicuna",
	}
	if diff := cmp.Diff(want, AllGoldens(t)); diff != "" {
		t.Fatalf("families (-want +got):\n%s", diff)
	}
	for _, family := range want {
		g := Golden(t, family)
		for _, name := range []string{"hidden", "logits", "pad_logits", "pruned_1_3.logits"} {
			if !g.Has(name) {
				t.Errorf("%s has no %s", family, name)
			}
		}
		if n := len(g.Floats(t, "scores", "taylor")); n < 4 {
			t.Errorf("%s: scores of %d layers", family, n)
		}
	}
	trained := []string{
		"baichuan", "chatglm2", "cohere", "gemma2", "gemma3_text", "granite", "llama", "llama_tied", "mistral", "nemotron", "olmo2", "opt", "phi3", "qwen2",
		"qwen3", "vicuna",
	}
	if diff := cmp.Diff(trained, Finetuned(t)); diff != "" {
		t.Fatalf("families with fine-tuning (-want +got):\n%s", diff)
	}
	for _, family := range trained {
		g := Golden(t, family)
		if n := len(g.Floats(t, "ft", "lora_clip1", "losses")); n != 8 || !g.Has("lora_init.logits") || !g.Has("ft.ids") {
			t.Errorf("%s: %d losses of fine-tuning", family, n)
		}
	}
	var size int64
	err := filepath.WalkDir(filepath.Dir(ownGoldens(t)), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil || size > 12e6 {
		t.Errorf("testdata has %d bytes, want at most 12 MB (%v)", size, err)
	}
}

func TestDistances(t *testing.T) {
	nan := float32(math.NaN())
	for _, tt := range []struct {
		name       string
		a, b       []float32
		abs, relL2 float64
	}{
		{"equal", []float32{1, -2}, []float32{1, -2}, 0, 0},
		{"differ", []float32{3, 1}, []float32{3, -4}, 5, 1},
		{"lengths", []float32{1}, nil, math.Inf(1), math.Inf(1)},
		{"NaN", []float32{nan}, []float32{1}, math.Inf(1), math.Inf(1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := MaxAbs(tt.a, tt.b); got != tt.abs {
				t.Errorf("MaxAbs = %v, want %v", got, tt.abs)
			}
			if got := RelL2(tt.a, tt.b); got != tt.relL2 {
				t.Errorf("RelL2 = %v, want %v", got, tt.relL2)
			}
		})
	}
}
