package export_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/export"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// otherwise lists what differs from the converter's file, and why.
func otherwise() map[string]map[string]string {
	const unread = "llama.cpp does not read it for this architecture"
	yarn := map[string]string{
		"rope.scaling.attn_factor": "the key that it reads", "rope.scaling.yarn_attn_factor": unread,
		"rope.scaling.yarn_beta_fast": unread, "rope.scaling.yarn_beta_slow": unread,
	}
	return map[string]map[string]string{
		"gemma2": {"blk.attn_q.weight": "query_pre_attn_scalar is not head_dim here, and llama.cpp does not read it"},
		"gemma3_text": {
			"blk.attn_q_norm.weight":           "likewise",
			"attention.sliding_window_pattern": "it is every third layer here that does not slide, and llama.cpp takes every sixth",
		},
		"vicuna":     {"rope.freq_base": "the default of the class, written out"},
		"qwen3_yarn": yarn,
		"olmo3":      yarn,
		"nemotron":   {"attention.layer_norm_rms_epsilon": "its norm is another"},
	}
}

// Every tensor is, byte for byte, what llama.cpp's own converter writes, in its
// order, and every key of the model's says the same, but for those that it gets
// wrong. scripts/gguf-hashes.py made the hashes.
func TestConverter(t *testing.T) {
	want := converters(t)
	for name := range want {
		if !slices.Contains(elsewhere(), name) {
			t.Run(name, func(t *testing.T) { held(t, name, want[name]) })
		}
	}
}

// elsewhere are models that lie beside the checkout.
func elsewhere() []string { return []string{"nemotron", "stories260K"} }

// TestShared: the same of those, and what published tokenizers are called.
func TestShared(t *testing.T) {
	testkit.Shared(t)
	want := converters(t)
	for _, name := range elsewhere() {
		t.Run(name, func(t *testing.T) { held(t, name, want[name]) })
	}
	t.Run("pre-tokenizers", preTokenizers)
}

func converters(t *testing.T) (want map[string]map[string]map[string]any) {
	raw, err := os.ReadFile("testdata/converter.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	return want
}

func held(t *testing.T, name string, want map[string]map[string]any) {
	dir, differ := converted(t, name), otherwise()[name]
	for kind, typ := range types {
		got, _ := write(t, dir, export.Options{Type: typ})
		compare(t, kind, want[kind], got.hashes(), differ)
		compare(t, "keys", want["keys"], got.ofModel(), differ)
	}
}

// compare holds two maps against each other. Those that are known to differ must.
func compare(t *testing.T, what string, want, got map[string]any, differ map[string]string) {
	t.Helper()
	for name := range differ {
		if _, here := want[name]; here && cmp.Equal(want[name], got[name]) {
			t.Errorf("%s: %s is as in the converter's file", what, name)
		}
		delete(got, name)
		delete(want, name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// ofModel are the keys of the model, without the architecture's name, as JSON has
// numbers.
func (r *reading) ofModel() map[string]any {
	architecture, _ := r.keys["general.architecture"].(string)
	out := map[string]any{"general.architecture": architecture}
	for key, value := range r.keys {
		name, ok := strings.CutPrefix(key, architecture+".")
		if !ok {
			continue
		}
		switch v := value.(type) {
		case uint32:
			out[name] = float64(v)
		case float32:
			out[name] = float64(v)
		default:
			out[name] = v
		}
	}
	return out
}

// converted is the checkpoint of a name in converter.json.
func converted(t *testing.T, name string) string {
	switch name {
	case "trained":
		return "../testdata/trained"
	case "stories260K":
		return testkit.Shared(t, "data", "models", name)
	case "smollm3": // every third layer of the golden is what llama.cpp takes every fourth for
		dir := withTokenizer(t, filepath.Join("..", "testdata", "goldens", name, "checkpoint"))
		edit(t, dir, `"no_rope_layer_interval": 3`, `"no_rope_layer_interval": 4`)
		return dir
	case "nemotron": // the golden's heads are wider than llama.cpp takes them
		return withTokenizer(t, testkit.Shared(t, "oracle", "transformers517", name, "checkpoint"))
	}
	// The goldens, but for chatglm, which is goldens/chatglm2 with 8 of each head's 12
	// columns, which llama.cpp would find too many, and 4 of its layers.
	if own := filepath.Join("testdata", "checkpoints", name); exists(own) {
		return withTokenizer(t, own)
	}
	return withTokenizer(t, filepath.Join("..", "testdata", "goldens", name, "checkpoint"))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Byte-level tokenizers that are published are told apart as the converter does.
func preTokenizers(t *testing.T) {
	for name, want := range map[string]string{"llama3": "llama-bpe", "qwen2": "qwen2", "falcon": "falcon"} {
		dir := testkit.Shared(t, "data", "tokenizers", name)
		got, err := export.PreTokenizer(dir)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
}
