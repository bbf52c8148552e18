package checkpoint_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/safetensors"
)

// dropLayers renumbers what is left of "….layers.<n>.…".
func dropLayers(drop ...int) func(string) (string, bool) {
	layer := regexp.MustCompile(`\blayers\.(\d+)\.`)
	return func(name string) (string, bool) {
		m := layer.FindStringSubmatchIndex(name)
		if m == nil {
			return name, true
		}
		n, err := strconv.Atoi(name[m[2]:m[3]])
		if err != nil || slices.Contains(drop, n) {
			return "", false
		}
		before := 0
		for _, d := range drop {
			if d < n {
				before++
			}
		}
		n -= before
		return name[:m[2]] + strconv.Itoa(n) + name[m[3]:], true
	}
}

func mustWrite(t testing.TB, c *checkpoint.Checkpoint, out string, s checkpoint.Surgery, opt checkpoint.WriteOptions) checkpoint.Written {
	t.Helper()
	w, err := checkpoint.Write(context.Background(), c, out, s, opt)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// sums returns the SHA-256 of every tensor.
func sums(t testing.TB, c *checkpoint.Checkpoint) map[string]string {
	t.Helper()
	got := make(map[string]string)
	for _, info := range c.Tensors() {
		data, err := c.Data(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		got[info.Name] = hex.EncodeToString(sum[:])
	}
	return got
}

// readDir returns the content of every file.
func readDir(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			raw = []byte("(folder)")
		}
		files[e.Name()] = string(raw)
	}
	return files
}

func TestPrunedGoldens(t *testing.T) {
	for _, family := range []string{"llama", "llama_tied", "vicuna", "qwen2", "qwen3", "mistral"} {
		t.Run(family, func(t *testing.T) {
			dir := testkit.GoldenDir(t, family)
			raw, err := os.ReadFile(filepath.Join(dir, "goldens.json"))
			if err != nil {
				t.Fatal(err)
			}
			var golden struct {
				Pruned struct {
					Config json.RawMessage
					SHA256 map[string]string
				} `json:"pruned_1_3"`
			}
			if err := json.Unmarshal(raw, &golden); err != nil {
				t.Fatal(err)
			}
			c := mustOpen(t, filepath.Join(dir, "checkpoint"))
			for _, opt := range []checkpoint.WriteOptions{{}, {MaxShard: 100_000}, checkpoint.WriteOptions{}.WithoutKernelCopy()} {
				out := filepath.Join(t.TempDir(), "out")
				mustWrite(t, c, out, checkpoint.Surgery{Rename: dropLayers(1, 3), Config: golden.Pruned.Config}, opt)
				pruned := mustOpen(t, out)
				got := sums(t, pruned)
				// Buffers that the goldens' model recomputes; the copy keeps them.
				maps.DeleteFunc(got, func(name, _ string) bool { return strings.HasSuffix(name, ".inv_freq") })
				if diff := cmp.Diff(golden.Pruned.SHA256, got); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(string(golden.Pruned.Config), string(pruned.Config())); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// layered returns the files of a checkpoint of four layers, in n shards.
func layered(t testing.TB, n int) map[string]string {
	names := []string{"model.embed_tokens.weight"}
	for i := range 4 {
		names = append(names, fmt.Sprintf("model.layers.%d.a.weight", i), fmt.Sprintf("model.layers.%d.b.bias", i))
	}
	names = append(names, "model.norm.weight")
	files := map[string]string{"config.json": `{"num_hidden_layers":4}`, "tokenizer.json": `{"t":1}`}
	metadata := map[string]string{"format": "pt"}
	if n == 1 {
		files["model.safetensors"] = string(weights(t, metadata, 50, names...))
		return files
	}
	listed := make(map[string]string)
	for i := range n {
		part := names[i*len(names)/n : (i+1)*len(names)/n]
		file := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, n)
		files[file] = string(weights(t, metadata, 50, part...))
		for _, name := range part {
			listed[name] = file
		}
	}
	files["model.safetensors.index.json"] = indexOf(t, listed)
	return files
}

func TestShardedEqualsUnsharded(t *testing.T) {
	whole := mustOpen(t, makeDir(t, layered(t, 1)))
	for _, n := range []int{2, 3, 5, 10} {
		for _, drop := range [][]int{{}, {0}, {1, 2}, {0, 1, 2, 3}} {
			for _, max := range []int64{0, 1, 250, 1 << 30} {
				split := mustOpen(t, makeDir(t, layered(t, n)))
				s := checkpoint.Surgery{Rename: dropLayers(drop...), Config: []byte(`{"num_hidden_layers":9}`)}
				a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
				wa := mustWrite(t, whole, a, s, checkpoint.WriteOptions{})
				wb := mustWrite(t, split, b, s, checkpoint.WriteOptions{MaxShard: max})
				ca, cb := mustOpen(t, a), mustOpen(t, b)
				if diff := cmp.Diff(sums(t, ca), sums(t, cb)); diff != "" {
					t.Errorf("%d shards without %v, at most %d: %s", n, drop, max, diff)
				}
				if wa.Tensors != wb.Tensors || !bytes.Equal(ca.Config(), cb.Config()) {
					t.Errorf("%d shards: %d and %d tensors", n, wa.Tensors, wb.Tensors)
				}
			}
		}
	}
}

func TestNothingChangesNothing(t *testing.T) {
	for _, n := range []int{1, 3} {
		files := layered(t, n)
		c := mustOpen(t, makeDir(t, files))
		out := filepath.Join(t.TempDir(), "out")
		w := mustWrite(t, c, out, checkpoint.Surgery{}, checkpoint.WriteOptions{})
		got := readDir(t, out)
		delete(files, "model.safetensors.index.json")
		delete(got, "model.safetensors.index.json")
		if diff := cmp.Diff(files, got); diff != "" {
			t.Error(diff)
		}
		if w.Path != out || w.Tensors != 10 || len(w.Files) < 3 {
			t.Errorf("got %+v", w)
		}
	}
}

func TestEmptyShardsVanish(t *testing.T) {
	c := mustOpen(t, makeDir(t, layered(t, 10)))
	out := filepath.Join(t.TempDir(), "out")
	w := mustWrite(t, c, out, checkpoint.Surgery{Rename: dropLayers(0, 1, 3)}, checkpoint.WriteOptions{})
	want := []string{"config.json", "model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors",
		"model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors", "model.safetensors.index.json", "tokenizer.json"}
	if diff := cmp.Diff(want, w.Files); diff != "" {
		t.Error(diff)
	}
	if got := readDir(t, out)["model.safetensors.index.json"]; !strings.Contains(got, `"total_size": 400`) {
		t.Errorf("4 tensors of 50 BF16 values: %s", got)
	}
}

func TestIndexMetadata(t *testing.T) {
	tests := []struct{ name, metadata, want string }{
		{"right count", `{"total_parameters": 500, "total_size": 1, "note": "n"}`, `{"note":"n","total_parameters":300,"total_size":600}`},
		{"other count", `{"total_parameters": 7}`, `{"total_size":600}`},
		{"null", `null`, `{"total_size":600}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := layered(t, 2)
			files["model.safetensors.index.json"] = strings.Replace(files["model.safetensors.index.json"], `{"total_size":0}`, tt.metadata, 1)
			out := filepath.Join(t.TempDir(), "out")
			mustWrite(t, mustOpen(t, makeDir(t, files)), out, checkpoint.Surgery{Rename: dropLayers(1, 2)}, checkpoint.WriteOptions{})
			var got struct{ Metadata map[string]any }
			if err := json.Unmarshal([]byte(readDir(t, out)["model.safetensors.index.json"]), &got); err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(got.Metadata)
			if err != nil || string(raw) != tt.want {
				t.Errorf("got %s, want %s", raw, tt.want)
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	tests := []struct {
		name         string
		source, want map[string]string
		given        map[string]string
	}{
		{"kept", map[string]string{"format": "mlx", "x": "y"}, map[string]string{"format": "mlx", "x": "y"}, nil},
		{"added", nil, map[string]string{"format": "pt"}, nil},
		{"given", map[string]string{"format": "pt"}, map[string]string{"a": "b"}, map[string]string{"a": "b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := makeDir(t, map[string]string{"config.json": "{}", "model.safetensors": string(weights(t, tt.source, 3, "a"))})
			out := filepath.Join(t.TempDir(), "out")
			mustWrite(t, mustOpen(t, dir), out, checkpoint.Surgery{Metadata: tt.given}, checkpoint.WriteOptions{})
			f, err := safetensors.Open(filepath.Join(out, "model.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if diff := cmp.Diff(tt.want, f.Header().Metadata); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCarriedFiles(t *testing.T) {
	carried := []string{"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
		"vocab.json", "merges.txt", "qwen.tiktoken", "chat_template.jinja", "chat_template.json", "generation_config.json",
		"preprocessor_config.json", "LICENSE", "LICENSE.txt", "NOTICE", "USE_POLICY.md", "modeling_x.py", "notes.txt",
		"additional_chat_templates/tool.jinja"}
	left := []string{"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth", "consolidated.safetensors", "params.json",
		"x.pt", "x.gguf", "tf_model.h5", "flax_model.msgpack", "model.onnx", "x.ckpt", "other.safetensors", "original/params.json",
		"original/consolidated.00.pth", ".git/config", ".cache/x", ".gitattributes", "photo.png", "TRAINING.LOG",
		"adapter_config.json", "adapter_model.safetensors", "all_results.json", "eval_results.json", "results_piqa.json", "trainer_state.json",
		"training_args.json", "optimizer.json", "scheduler.json", "rng_state.json", "zero_to_fp32.py"}
	files := layered(t, 1)
	for _, name := range slices.Concat(carried, left) {
		files[name] = "content of " + name
	}
	files["tokenizer.json"] = "{}"
	out := filepath.Join(t.TempDir(), "out")
	w := mustWrite(t, mustOpen(t, makeDir(t, files)), out, checkpoint.Surgery{}, checkpoint.WriteOptions{})
	want := slices.Sorted(slices.Values(append(carried, "config.json", "model.safetensors")))
	if diff := cmp.Diff(want, w.Files); diff != "" {
		t.Error(diff)
	}
	for _, name := range want {
		if raw, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(raw) != files[name] {
			t.Errorf("%s: %q (%v)", name, raw, err)
		}
	}
}

func TestCardAndExtra(t *testing.T) {
	files := layered(t, 1)
	files["README.md"] = "theirs"
	files["coppice_plan.json"] = "old"
	first := filepath.Join(t.TempDir(), "first")
	s := checkpoint.Surgery{Card: "ours", Extra: map[string][]byte{"coppice_plan.json": []byte("new")}}
	mustWrite(t, mustOpen(t, makeDir(t, files)), first, s, checkpoint.WriteOptions{})
	second := filepath.Join(t.TempDir(), "second")
	s.Card = "ours again"
	mustWrite(t, mustOpen(t, first), second, s, checkpoint.WriteOptions{})
	for dir, card := range map[string]string{first: "ours", second: "ours again"} {
		got := readDir(t, dir)
		want := []string{card, "theirs", "new"}
		if diff := cmp.Diff(want, []string{got["README.md"], got["README.original.md"], got["coppice_plan.json"]}); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSurgeryRefuses(t *testing.T) {
	tests := []struct {
		name string
		s    checkpoint.Surgery
		want string
	}{
		{"same name", checkpoint.Surgery{Rename: func(string) (string, bool) { return "x", true }}, `both be named "x"`},
		{"nothing kept", checkpoint.Surgery{Rename: func(string) (string, bool) { return "", false }}, "no tensor would be kept"},
		{"reserved name", checkpoint.Surgery{Rename: func(n string) (string, bool) { return "__metadata__", n == "model.norm.weight" }}, "does not allow"},
		{"config", checkpoint.Surgery{Config: []byte("[]")}, "not a JSON object"},
		{"extra leads out", checkpoint.Surgery{Extra: map[string][]byte{"../x": nil}}, "plain file name"},
		{"extra is the config", checkpoint.Surgery{Extra: map[string][]byte{"config.json": nil}}, "taken"},
		{"extra is a shard", checkpoint.Surgery{Extra: map[string][]byte{"model.safetensors": nil}}, "taken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parent := t.TempDir()
			_, err := checkpoint.Write(context.Background(), mustOpen(t, makeDir(t, layered(t, 1))), filepath.Join(parent, "out"), tt.s, checkpoint.WriteOptions{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if left := readDir(t, parent); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":1},"weight_map":{"a":"m.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../m.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"m.safetensors","a":"n.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{}, "metadata":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		again, files, err := checkpoint.ParseIndex(raw)
		if err != nil {
			return
		}
		for _, file := range files {
			if filepath.Base(file) != file || !strings.HasSuffix(file, ".safetensors") {
				t.Fatalf("accepted %q", file)
			}
		}
		_, same, err := checkpoint.ParseIndex(again)
		if err != nil {
			t.Fatalf("written index cannot be read: %v", err)
		}
		if diff := cmp.Diff(files, same); diff != "" {
			t.Error(diff)
		}
	})
}
