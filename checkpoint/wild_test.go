package checkpoint_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
)

// The shards say what there is, whatever the index says.
func TestIndexThatIsWrong(t *testing.T) {
	const first, second, index = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"
	for name, c := range map[string]struct {
		listed map[string]string
		want   string
	}{
		"absent buffers": {map[string]string{"a": first, "b": first, "c": second, "x.inv_freq": second, "y.inv_freq": second}, "lists 2 tensors that no file holds: x.inv_freq, y.inv_freq"},
		"wrong shard":    {map[string]string{"a": second, "b": first, "c": second}, "lists 1 tensor in another file than the one that holds it: a"},
		"not listed":     {map[string]string{"a": first, "c": second}, "leaves out 1 tensor: b"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := makeDir(t, map[string]string{"config.json": "{}", index: indexOf(t, c.listed),
				first: string(weights(t, nil, 8, "a", "b")), second: string(weights(t, nil, 8, "c"))})
			k, err := checkpoint.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			if w := k.Warnings(); len(w) != 1 || !strings.Contains(w[0].Error(), c.want) {
				t.Errorf("warnings %v, want %q", w, c.want)
			}
			for _, tensor := range []string{"a", "b", "c"} {
				if data, err := k.Data(tensor); err != nil || data[0] != tensor[0] {
					t.Errorf("%s: %.4q, %v", tensor, data, err)
				}
			}
			out := filepath.Join(t.TempDir(), "out")
			if _, err := checkpoint.Write(t.Context(), k, out, checkpoint.Surgery{}, checkpoint.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			again, err := checkpoint.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if w := again.Warnings(); len(w) != 0 || len(again.Tensors()) != 3 {
				t.Errorf("the copy has %d tensors and warnings %v", len(again.Tensors()), w)
			}
		})
	}
}

func TestDirectoriesThatAreNoCheckpoints(t *testing.T) {
	const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"adapter":              {map[string]string{"adapter_config.json": `{"base_model_name_or_path": "org/base"}`, "adapter_model.safetensors": "x"}, []string{"PEFT adapter of org/base", "merge"}},
		"adapter with config":  {map[string]string{"config.json": "{}", "adapter_config.json": `{}`, "adapter_model.safetensors": "x"}, []string{"PEFT adapter,", "merge"}},
		"GGUF":                 {map[string]string{"model-q8.gguf": "GGUF"}, []string{"model-q8.gguf: GGUF is not read", "original"}},
		"GGUF with config":     {map[string]string{"config.json": "{}", "model-q8.gguf": "GGUF"}, []string{"GGUF is not read"}},
		"Meta's files":         {map[string]string{"params.json": "{}", "consolidated.00.pth": "x"}, []string{"Meta's", "transformers saves"}},
		"a cache":              {map[string]string{"snapshots/abc/config.json": "{}"}, []string{"snapshots", "abc"}},
		"a parent":             {map[string]string{"x/config.json": "{}"}, []string{"name the directory in it"}},
		"nothing":              {map[string]string{"notes": "x"}, []string{"no config.json"}},
		"config is a pointer":  {map[string]string{"config.json": pointer}, []string{"git lfs pull"}},
		"config is a page":     {map[string]string{"config.json": "<!DOCTYPE html>"}, []string{"web page"}},
		"config cut short":     {map[string]string{"config.json": `{"a": [1,`}, []string{"config.json: not a JSON object", "correct it"}},
		"index is a pointer":   {map[string]string{"config.json": "{}", "model.safetensors.index.json": pointer}, []string{"git lfs pull"}},
		"weights are pointers": {map[string]string{"config.json": "{}", "model.safetensors": pointer}, []string{"git lfs pull"}},
	} {
		_, err := checkpoint.Open(makeDir(t, c.files))
		if err == nil {
			t.Errorf("%s: opened", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
		if strings.Contains(err.Error(), "download it again") {
			t.Errorf("%s: %q advises what cannot help", name, err)
		}
	}
}

// The hub's cache is made of links, and its blobs are what people clear.
func TestDanglingConfig(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("../../blobs/none", filepath.Join(dir, "config.json")); err != nil {
		t.Skipf("no links here: %v", err)
	}
	_, err := checkpoint.Open(dir)
	if !errors.Is(err, checkpoint.ErrNoConfig) || !strings.Contains(err.Error(), "this link leads to a file that is missing; pull the model again") {
		t.Errorf("error %v", err)
	}
}

func TestPythonsNumbersInConfig(t *testing.T) {
	k, err := checkpoint.Open(makeDir(t, map[string]string{"config.json": `{"a": [NaN, -Infinity]}`, "model.safetensors": string(weights(t, nil, 8, "a"))}))
	if err != nil || string(k.Config()) != `{"a": [NaN, -Infinity]}` {
		t.Fatalf("opened: %v", err)
	}
	defer k.Close()
	if _, err := checkpoint.Write(t.Context(), k, filepath.Join(t.TempDir(), "out"), checkpoint.Surgery{}, checkpoint.WriteOptions{}); err != nil {
		t.Error(err)
	}
}

// Files that ask for a lot are refused by the bound they pass.
func TestBounds(t *testing.T) {
	shards, tensors := map[string]string{}, map[string]string{}
	for i := range 5000 {
		shards[fmt.Sprint("t", i)] = fmt.Sprintf("model-%05d-of-05000.safetensors", i)
	}
	for i := range 300_000 {
		tensors[fmt.Sprint("t", i)] = "model-00001-of-00001.safetensors"
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"shards":  {map[string]string{"model.safetensors.index.json": indexOf(t, shards)}, "5000 files, over the limit of 4096"},
		"tensors": {map[string]string{"model.safetensors.index.json": indexOf(t, tensors)}, "more tensors than the limit of 262144"},
		"config":  {map[string]string{"config.json": `{"a": "` + strings.Repeat("x", 17<<20) + `"}`}, "over the limit of 16777216"},
	} {
		if c.files["config.json"] == "" {
			c.files["config.json"] = "{}"
		}
		if _, err := checkpoint.Open(makeDir(t, c.files)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
