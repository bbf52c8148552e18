package checkpoint_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/safetensors"
)

// weights encodes tensors "name" of one row of n BF16 values each.
func weights(t testing.TB, metadata map[string]string, n int, names ...string) []byte {
	t.Helper()
	var entries []safetensors.Entry
	for _, name := range names {
		data := bytes.Repeat([]byte(fmt.Sprintf("%-8.8s", name))[:2], n)
		entries = append(entries, safetensors.Entry{Name: name, DType: safetensors.BF16, Shape: []int{1, n}, Data: data})
	}
	var b bytes.Buffer
	if err := safetensors.Write(&b, metadata, entries); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func indexOf(t testing.TB, files map[string]string) string {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"metadata": map[string]any{"total_size": 0}, "weight_map": files})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// makeDir writes files into a new directory.
func makeDir(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mustOpen(t testing.TB, dir string, opts ...checkpoint.Option) *checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.Open(dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

const twoShards = `model-00001-of-00002.safetensors model-00002-of-00002.safetensors`

// sharded returns the files of a sound checkpoint of two shards.
func sharded(t testing.TB) map[string]string {
	first, second, _ := strings.Cut(twoShards, " ")
	return map[string]string{
		"config.json":                  `{"model_type":"llama"}`,
		first:                          string(weights(t, map[string]string{"format": "pt"}, 64, "a", "b")),
		second:                         string(weights(t, map[string]string{"format": "pt"}, 64, "c")),
		"model.safetensors.index.json": indexOf(t, map[string]string{"a": first, "b": first, "c": second}),
	}
}

func TestOpen(t *testing.T) {
	files := sharded(t)
	files["tokenizer.json"] = "{}"
	files["pytorch_model.bin"] = "x"
	c := mustOpen(t, makeDir(t, files))
	var names []string
	for _, info := range c.Tensors() {
		names = append(names, info.Name+" "+info.File)
	}
	if diff := cmp.Diff([]string{"a model-00001-of-00002.safetensors", "b model-00001-of-00002.safetensors", "c model-00002-of-00002.safetensors"}, names); diff != "" {
		t.Error(diff)
	}
	var roles []string
	for _, f := range c.Files() {
		roles = append(roles, f.Name+" "+string(f.Role))
	}
	if diff := cmp.Diff([]string{"config.json config", "model-00001-of-00002.safetensors weights", "model-00002-of-00002.safetensors weights",
		"model.safetensors.index.json config", "pytorch_model.bin other", "tokenizer.json tokenizer"}, roles); diff != "" {
		t.Error(diff)
	}
	if !c.Sharded() || string(c.Config()) != files["config.json"] {
		t.Errorf("sharded %v, config %s", c.Sharded(), c.Config())
	}
	if _, err := c.Data("absent"); err == nil || !strings.Contains(err.Error(), `"absent"`) {
		t.Errorf("data of an absent tensor: %v", err)
	}
}

func TestDataConcurrently(t *testing.T) {
	c := mustOpen(t, makeDir(t, sharded(t)))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, info := range c.Tensors() {
				c.Prefetch(info.Name, "absent")
				data, err := c.Data(info.Name)
				if err != nil || int64(len(data)) != info.Bytes || data[0] != info.Name[0] {
					t.Errorf("%s: wrong data (%v)", info.Name, err)
				}
				c.Release(info.Name, "absent")
			}
		})
	}
	wg.Wait()
}

func TestClosed(t *testing.T) {
	c := mustOpen(t, makeDir(t, sharded(t)))
	if _, err := c.Data("a"); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c.Prefetch("a")
	c.Release("a")
	if _, err := c.Data("a"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestDataSeesChangedFile(t *testing.T) {
	dir := makeDir(t, map[string]string{"config.json": "{}", "model.safetensors": string(weights(t, nil, 4, "a", "b"))})
	c := mustOpen(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), weights(t, nil, 8, "b", "a"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Data("b"); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("got %v", err)
	}
}

// TestTensorInTwoShards: the same tensor twice counts once, in a copy too; two of one
// name are a problem.
func TestTensorInTwoShards(t *testing.T) {
	first, second, _ := strings.Cut(twoShards, " ")
	want := sums(t, mustOpen(t, makeDir(t, sharded(t))))
	files := sharded(t)
	twice := string(weights(t, nil, 64, "a", "c"))
	files[second] = twice
	c := mustOpen(t, makeDir(t, files))
	if diff := cmp.Diff(want, sums(t, c)); diff != "" {
		t.Error(diff)
	}
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0].Error(), second+`: tensor "a": it is in `+first+" too, with the same values") {
		t.Errorf("warnings %v", w)
	}
	for _, max := range []int64{0, 1 << 20} {
		out := filepath.Join(t.TempDir(), "out")
		w := mustWrite(t, c, out, checkpoint.Surgery{}, checkpoint.WriteOptions{MaxShard: max})
		if diff := cmp.Diff(want, sums(t, mustOpen(t, out))); diff != "" || w.Tensors != 3 {
			t.Errorf("copy: %d tensors %s", w.Tensors, diff)
		}
	}
	files[second] = strings.Replace(twice, "a a a ", "a a b ", 1)
	if _, err := checkpoint.Open(makeDir(t, files)); err == nil || !strings.Contains(err.Error(), "belongs to another model") {
		t.Errorf("other values: %v", err)
	}
}

func TestOpenFails(t *testing.T) {
	first, second, _ := strings.Cut(twoShards, " ")
	tests := []struct {
		name   string
		change func(files map[string]string)
		is     error
		want   []string
	}{
		{"no config", func(f map[string]string) { delete(f, "config.json") }, checkpoint.ErrNoConfig, []string{"config.json"}},
		{"config not JSON", func(f map[string]string) { f["config.json"] = `{"a":` }, nil, []string{"config.json", "not a JSON object"}},
		{"config an array", func(f map[string]string) { f["config.json"] = `[]` }, nil, []string{"not a JSON object"}},
		{"config null", func(f map[string]string) { f["config.json"] = `null` }, nil, []string{"not a JSON object"}},
		{"shard missing", func(f map[string]string) { delete(f, second) }, fs.ErrNotExist, []string{second, "missing", "get it again"}},
		{"both shards missing", func(f map[string]string) { delete(f, first); delete(f, second) }, fs.ErrNotExist, []string{first, second}},
		{"shard truncated", func(f map[string]string) { f[second] = f[second][:len(f[second])-5] }, nil, []string{second, `"c"`, "5 bytes are missing", "get it again"}},
		{"tensor twice", func(f map[string]string) { f[second] = string(weights(t, nil, 32, "a", "c")) }, nil, []string{`"a"`, first, second}},
		{"index broken", func(f map[string]string) { f["model.safetensors.index.json"] = `{"weight_map":{"a":1}}` }, nil, []string{"index.json", "not the name"}},
		{"index without map", func(f map[string]string) { f["model.safetensors.index.json"] = `{}` }, nil, []string{"no weight_map"}},
		{"index empty", func(f map[string]string) { f["model.safetensors.index.json"] = `{"weight_map":{}}` }, checkpoint.ErrNoWeights, []string{"no tensors"}},
		{"index leads out", func(f map[string]string) {
			f["model.safetensors.index.json"] = `{"weight_map":{"a":"../x.safetensors"}}`
		}, nil, []string{"../x.safetensors"}},
		{"index missing", func(f map[string]string) { delete(f, "model.safetensors.index.json") }, checkpoint.ErrNoWeights, []string{"index.json is missing", first}},
		{"only another form", func(f map[string]string) {
			clear(f)
			f["config.json"], f["consolidated.00.pth"] = "{}", "x"
		}, checkpoint.ErrNoWeights, []string{"consolidated.00.pth", "transformers"}},
		{"torch shards without index", func(f map[string]string) {
			clear(f)
			f["config.json"], f["pytorch_model-00001-of-00002.bin"] = "{}", "x"
		}, checkpoint.ErrNoWeights, []string{"pytorch_model.bin.index.json is missing", "pytorch_model-00001-of-00002.bin"}},
		{"torch index leads to safetensors", func(f map[string]string) {
			clear(f)
			f["config.json"], f["pytorch_model.bin.index.json"] = "{}", indexOf(t, map[string]string{"a": "m.safetensors"})
		}, nil, []string{"m.safetensors", ".bin file"}},
		{"torch shard missing", func(f map[string]string) {
			clear(f)
			f["config.json"], f["pytorch_model.bin.index.json"] = "{}", indexOf(t, map[string]string{"a": "a.bin", "b": "b.bin"})
		}, fs.ErrNotExist, []string{"a.bin", "b.bin", "missing"}},
		{"not a torch file", func(f map[string]string) {
			clear(f)
			f["config.json"], f["pytorch_model.bin"] = "{}", "noise"
		}, nil, []string{"pytorch_model.bin", "torch.save", "get it again"}},
		{"no weights", func(f map[string]string) {
			clear(f)
			f["config.json"] = "{}"
		}, checkpoint.ErrNoWeights, []string{"model.safetensors"}},
		{"two problems at once", func(f map[string]string) {
			delete(f, "config.json")
			delete(f, second)
		}, checkpoint.ErrNoConfig, []string{second, "config.json"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := sharded(t)
			tt.change(files)
			dir := makeDir(t, files)
			_, err := checkpoint.Open(dir)
			if err == nil {
				t.Fatal("opened")
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			for _, want := range append(tt.want, dir) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q:\n%v", want, err)
				}
			}
		})
	}
}

func TestOpenOddPaths(t *testing.T) {
	dir := makeDir(t, map[string]string{"config.json": "{}"})
	if err := os.Symlink("nowhere", filepath.Join(dir, "model.safetensors")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	tests := []struct{ path, want string }{
		{filepath.Join(dir, "absent"), "no such directory"},
		{filepath.Join(dir, "config.json"), "this is a file"},
		{dir, "link leads to a file that is missing"},
	}
	for _, tt := range tests {
		if _, err := checkpoint.Open(tt.path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.path, err, tt.want)
		}
	}
}

func TestOpenUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("skipped: root reads files whatever their permissions")
	}
	dir := makeDir(t, sharded(t))
	if err := os.Chmod(filepath.Join(dir, "config.json"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.Open(dir); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

func TestOpenConfig(t *testing.T) {
	c, err := checkpoint.OpenConfig(makeDir(t, map[string]string{"config.json": `{"a":1}`}))
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Config()) != `{"a":1}` || len(c.Tensors()) != 0 {
		t.Errorf("config %s, %d tensors", c.Config(), len(c.Tensors()))
	}
	if _, err := checkpoint.OpenConfig(t.TempDir()); !errors.Is(err, checkpoint.ErrNoConfig) {
		t.Errorf("got %v", err)
	}
}
