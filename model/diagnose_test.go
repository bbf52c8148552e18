package model_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// renamed copies a checkpoint of four layers with other tensor names and config.
func renamed(t *testing.T, rename func(string) (string, bool), config ...string) *checkpoint.Checkpoint {
	t.Helper()
	c := opened(t, testkit.Llama(t, testkit.Options{Layers: 4}))
	out := filepath.Join(t.TempDir(), "out")
	raw := strings.NewReplacer(config...).Replace(string(c.Config()))
	if _, err := checkpoint.Write(t.Context(), c, out, checkpoint.Surgery{Rename: rename, Config: []byte(raw)}, checkpoint.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return opened(t, out)
}

func opened(t *testing.T, dir string) *checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestDiagnose(t *testing.T) {
	prefixed := func(p string) func(string) (string, bool) {
		return func(n string) (string, bool) { return p + n, true }
	}
	for name, c := range map[string]struct {
		rename func(string) (string, bool)
		config []string
		want   string
	}{
		"peft":          {prefixed("base_model.model."), nil, `prefix "base_model.model.", as peft wraps`},
		"torch.compile": {prefixed("_orig_mod."), nil, `prefix "_orig_mod.", as torch.compile wraps`},
		"another":       {prefixed("module."), nil, `prefix "module." of a wrapper`},
		"none":          {func(n string) (string, bool) { return strings.TrimPrefix(n, "model."), n != "lm_head.weight" }, nil, `lack the prefix "model."`},
		"its own":       {func(n string) (string, bool) { return strings.Replace(n, "model.", "decoder.", 1), true }, nil, `prefix "decoder." where "model." is wanted`},
		"gap": {func(n string) (string, bool) {
			return n, !strings.Contains(n, "layers.1.") && !strings.Contains(n, "layers.2.")
		}, []string{`"num_hidden_layers": 4`, `"num_hidden_layers": 2`}, "layers 0,3 and config.json wants 0-1: layers were removed by hand"},
		"gap, config as it was": {func(n string) (string, bool) { return n, !strings.Contains(n, "layers.1.") }, nil, "layers 0,2-3 and config.json wants 0-3"},
		"no head":               {func(n string) (string, bool) { return n, n != "lm_head.weight" }, nil, "lm_head.weight is missing; if the head is the embedding, set tie_word_embeddings to true"},
		"too few":               {func(n string) (string, bool) { return n, !strings.Contains(n, "layers.3.") }, nil, "layers 0-2 and config.json wants 4 of them"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := model.Open(renamed(t, c.rename, c.config...))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "download") {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// Tensors that are no part of the model are no reason to refuse it.
func TestExtraTensors(t *testing.T) {
	c := renamed(t, nil, `"num_hidden_layers": 4`, `"num_hidden_layers": 3`)
	m, err := model.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Warnings) != 1 || !strings.Contains(m.Warnings[0], "9 tensors of the files are not part of this model") || !strings.Contains(m.Warnings[0], "model.layers.3.") {
		t.Errorf("warnings %q", m.Warnings)
	}
	if !m.Spec.HasLayers([]string{"model.layers.3.x"}) || m.Spec.HasLayers([]string{"model.layers.2.x", "visual.3.x"}) {
		t.Error("HasLayers does not tell layers that are too many apart")
	}
}

// Where the config ties the head and the files have one, their bytes decide
// whether there is something to say.
func TestTiedConfigWithAHead(t *testing.T) {
	tie := []string{`"tie_word_embeddings": false`, `"tie_word_embeddings": true`}
	c := renamed(t, nil, tie...)
	m, err := model.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Warnings) != 1 || !strings.Contains(m.Warnings[0], "values of lm_head.weight differ from the embedding's") {
		t.Errorf("another head: warnings %q", m.Warnings)
	}
	embedding, _ := c.Tensor("model.embed_tokens.weight")
	head, _ := c.Tensor("lm_head.weight")
	path := filepath.Join(c.Dir(), head.File)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(raw[head.Offset:], slices.Clone(raw[embedding.Offset:embedding.End()]))
	for _, last := range []uint16{binary.LittleEndian.Uint16(raw[head.End()-2:]), 7} {
		same := last != 7
		binary.LittleEndian.PutUint16(raw[head.End()-2:], last)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, head.File), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), c.Config(), 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err = model.Open(opened(t, dir)); err != nil || same != (len(m.Warnings) == 0) {
			t.Errorf("same %v: %v, warnings %q", same, err, m.Warnings)
		}
	}
}
