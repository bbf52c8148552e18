package adapter_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/heal/adapter"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

func spec(t *testing.T, dir string) *model.Spec {
	t.Helper()
	c, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	m, err := model.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return m.Spec
}

func all(s *model.Spec) []int {
	out := make([]int, s.Layers)
	for i := range out {
		out[i] = i
	}
	return out
}

// TestRoundTrip: what PEFT's files hold is read, and what is written holds the
// same tensors and the same settings.
func TestRoundTrip(t *testing.T) {
	for _, family := range testkit.Finetuned(t) {
		t.Run(family, func(t *testing.T) {
			g := testkit.Golden(t, family)
			from, s := filepath.Join(g.Dir, "lora_init"), spec(t, g.Checkpoint)
			a, err := adapter.Read(from, s, all(s))
			if err != nil {
				t.Fatal(err)
			}
			if p := a.Pairs[0]; p.Rank != 4 || p.Scale != 2 {
				t.Errorf("rank %d, scale %g; want 4 and 8/4", p.Rank, p.Scale)
			}
			dir := t.TempDir()
			if err := a.Write(dir, s.Renamer(all(s))); err != nil {
				t.Fatal(err)
			}
			same(t, filepath.Join(dir, adapter.WeightsFile), filepath.Join(from, adapter.WeightsFile))
			again, err := adapter.Read(dir, s, all(s))
			if err != nil {
				t.Fatal(err)
			}
			if again.Config.Rank != 4 || again.Config.Alpha != 8 || !slices.Equal(again.Config.Targets.Names, a.Config.Targets.Names) {
				t.Errorf("config became %+v", again.Config)
			}
		})
	}
}

// same compares the tensors of two files.
func same(t *testing.T, a, b string) {
	t.Helper()
	x, err := safetensors.Open(a)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	y, err := safetensors.Open(b)
	if err != nil {
		t.Fatal(err)
	}
	defer y.Close()
	if len(x.Header().Tensors) != len(y.Header().Tensors) {
		t.Errorf("%d tensors, want %d", len(x.Header().Tensors), len(y.Header().Tensors))
	}
	for _, want := range y.Header().Tensors {
		got, ok := x.Tensor(want.Name)
		if !ok || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(x.Data(got), y.Data(want)) {
			t.Errorf("%s: another, or none", want.Name)
		}
	}
}

// TestPruned: an adapter of a pruned model fits the kept layers of the whole one,
// and no other number of layers.
func TestPruned(t *testing.T) {
	g := testkit.Golden(t, "llama")
	s := spec(t, g.Checkpoint)
	a, err := adapter.Read(filepath.Join(g.Dir, "lora_init"), s, all(s))
	if err != nil {
		t.Fatal(err)
	}
	kept := slices.Delete(all(s), 1, 2)
	a.Pairs = slices.DeleteFunc(a.Pairs, func(p adapter.Pair) bool { return p.Weight.Layer == 1 })
	dir := t.TempDir()
	if err := a.Write(dir, s.Renamer(kept)); err != nil {
		t.Fatal(err)
	}
	b, err := adapter.Read(dir, s, kept)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range b.Pairs {
		if p.Weight.Name != a.Pairs[i].Weight.Name || !slices.Equal(p.A, a.Pairs[i].A) {
			t.Fatalf("pair %d is of %s, want %s", i, p.Weight.Name, a.Pairs[i].Weight.Name)
		}
	}
	if _, err := adapter.Read(dir, s, all(s)); err == nil || !strings.Contains(err.Error(), "layers.") || !strings.Contains(err.Error(), "missing") {
		t.Errorf("for all layers: %v", err)
	}
	if _, err := adapter.Read(dir, s, kept[:len(kept)-1]); err == nil || !strings.Contains(err.Error(), "nothing it belongs to") {
		t.Errorf("for fewer layers: %v", err)
	}
}

// TestRefused: what cannot be used is named, with the file and the tensor.
func TestRefused(t *testing.T) {
	g := testkit.Golden(t, "llama")
	s := spec(t, g.Checkpoint)
	raw, err := os.ReadFile(filepath.Join(g.Dir, "lora_init", adapter.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	weights, err := os.ReadFile(filepath.Join(g.Dir, "lora_init", adapter.WeightsFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key   string
		value any
		want  string
	}{
		{"peft_type", "IA3", `peft_type is "IA3"`}, {"r", 8, "lora_A.weight: its shape is [4"}, {"r", 0, "r is 0"}, {"use_dora", true, "use_dora"},
		{"bias", "all", `bias is "all"`}, {"modules_to_save", []string{"lm_head"}, "modules_to_save has lm_head"}, {"fan_in_fan_out", true, "fan_in_fan_out"},
		{"r", "four", "r is a string"}, {"rank_pattern", map[string]int{"q_proj": 2}, "q_proj.lora_A.weight: its shape is [4"},
	} {
		var config map[string]any
		if err := json.Unmarshal(raw, &config); err != nil {
			t.Fatal(err)
		}
		config[c.key] = c.value
		changed, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		write(t, filepath.Join(dir, adapter.ConfigFile), changed)
		write(t, filepath.Join(dir, adapter.WeightsFile), weights)
		if _, err := adapter.Read(dir, s, all(s)); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s = %v: %v, want %q", c.key, c.value, err, c.want)
		}
	}
	broken := slices.Concat(weights[:len(weights)-4], []byte{0, 0, 0xc0, 0x7f}) // NaN
	for name, c := range map[string]struct {
		config, weights []byte
		want            string
	}{
		"a list":          {[]byte("[]"), weights, adapter.ConfigFile + ": not an adapter's config: the file is a list"},
		"byte order mark": {slices.Concat([]byte("\ufeff"), raw), weights, "byte order mark"},
		"UTF-16":          {[]byte("{\x00}\x00"), weights, "UTF-16"},
		"no weights":      {raw, nil, "the adapter's weights are missing"},
		"NaN":             {raw, broken, "lora_B.weight: element"},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, adapter.ConfigFile), c.config)
		if c.weights != nil {
			write(t, filepath.Join(dir, adapter.WeightsFile), c.weights)
		}
		if _, err := adapter.Read(dir, s, all(s)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := adapter.Read(t.TempDir(), s, all(s)); !errors.Is(err, adapter.ErrNone) {
		t.Errorf("an empty directory: %v", err)
	}
	other := spec(t, testkit.Golden(t, "mistral").Checkpoint)
	if _, err := adapter.Read(filepath.Join(g.Dir, "lora_init"), other, all(other)); err == nil || !strings.Contains(err.Error(), "tensor ") {
		t.Errorf("another base: %v", err)
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
