package checkpoint_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/torchfile"
)

// The same seed in both forms is the same model, to the byte, before and after
// layers are cut; what is written is safetensors alone.
func TestTorchEqualsSafetensors(t *testing.T) {
	for _, shards := range []int{1, 3} {
		plain := mustOpen(t, testkit.Llama(t, testkit.Options{Layers: 4, Shards: shards}))
		torch := mustOpen(t, testkit.Llama(t, testkit.Options{Layers: 4, Shards: shards, Torch: true}))
		if diff := cmp.Diff(sums(t, plain), sums(t, torch)); diff != "" {
			t.Fatal(diff)
		}
		if torch.Sharded() != (shards > 1) {
			t.Errorf("%d shards: sharded %v", shards, torch.Sharded())
		}
		s := checkpoint.Surgery{Rename: dropLayers(1)}
		var got [2]map[string]string
		for i, c := range []*checkpoint.Checkpoint{plain, torch} {
			out := filepath.Join(t.TempDir(), "out")
			mustWrite(t, c, out, s, checkpoint.WriteOptions{})
			got[i] = readDir(t, out)
			mustOpen(t, out)
		}
		// Of one file the order differs: bytes there, state dict here.
		if diff := cmp.Diff(got[0], got[1]); diff != "" {
			t.Errorf("%d shards: %s", shards, diff)
		}
	}
}

func TestTorchFilesHaveTheirRole(t *testing.T) {
	c := mustOpen(t, testkit.Llama(t, testkit.Options{Layers: 1, Shards: 2, Torch: true}))
	var roles []string
	for _, f := range c.Files() {
		roles = append(roles, f.Name+" "+string(f.Role))
	}
	want := []string{"config.json config", "generation_config.json config", "pytorch_model-00001-of-00002.bin weights",
		"pytorch_model-00002-of-00002.bin weights", "pytorch_model.bin.index.json config"}
	if diff := cmp.Diff(want, roles); diff != "" {
		t.Error(diff)
	}
}

// torchDir is a checkpoint of the file that PyTorch itself wrote, views and all.
func torchDir(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "torchfile", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return makeDir(t, map[string]string{"config.json": "{}", "pytorch_model.bin": string(raw)})
}

// Views are put in order in what is written.
func TestTorchViews(t *testing.T) {
	for _, name := range []string{"archive.bin", "stream.bin"} {
		c := mustOpen(t, torchDir(t, name))
		out := filepath.Join(t.TempDir(), "out")
		mustWrite(t, c, out, checkpoint.Surgery{}, checkpoint.WriteOptions{})
		copied := mustOpen(t, out)
		if diff := cmp.Diff(sums(t, c), sums(t, copied)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if problems := checkpoint.Check(context.Background(), c.Dir(), true, nil); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
		before, err := c.Data("transposed")
		if err != nil {
			t.Fatal(err)
		}
		kept := bytes.Clone(before)
		c.Release("transposed")
		after, err := c.Data("transposed")
		if err != nil || !bytes.Equal(before, kept) || !bytes.Equal(after, kept) {
			t.Errorf("%s: other data after release (%v)", name, err)
		}
	}
}

// Safetensors are preferred; a torch file beside them may be anything.
func TestSafetensorsPreferred(t *testing.T) {
	files := sharded(t)
	files["pytorch_model.bin"], files["pytorch_model.bin.index.json"] = "noise", "noise"
	c := mustOpen(t, makeDir(t, files))
	out := filepath.Join(t.TempDir(), "out")
	w := mustWrite(t, c, out, checkpoint.Surgery{}, checkpoint.WriteOptions{})
	if all := strings.Join(w.Files, " "); strings.Contains(all, ".bin") {
		t.Errorf("carried along: %s", all)
	}
}

func TestTorchProblems(t *testing.T) {
	dir := torchDir(t, "archive.bin")
	path := filepath.Join(dir, "pytorch_model.bin")
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := mustOpen(t, dir)
	bytesAt := func(name string) int64 { info, _ := c.Tensor(name); return info.Offset }
	tests := []struct {
		name  string
		deep  bool
		at    int64
		value byte
		want  []string
	}{
		{"a byte of floats", true, bytesAt("bfloat16"), 0x55, []string{`tensor "bfloat16"`, "checksum of 6 bytes"}},
		{"a byte of integers", true, bytesAt("bytes"), 0x55, []string{"checksum of 5 bytes"}},
		{"a byte of a view", true, bytesAt("transposed") + 1, 0x55, []string{`tensor "base"`, "checksum of 96 bytes"}},
		{"not looked at", false, bytesAt("bytes"), 0x55, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			damaged := bytes.Clone(sound)
			damaged[tt.at] = tt.value
			bad := makeDir(t, map[string]string{"config.json": "{}", "pytorch_model.bin": string(damaged)})
			problems := checkpoint.Check(context.Background(), bad, tt.deep, nil)
			if len(problems) != min(1, len(tt.want)) {
				t.Fatalf("got %v", problems)
			}
			for _, want := range tt.want {
				if !strings.Contains(problems[0].Error(), want) {
					t.Errorf("lacks %q: %v", want, problems[0])
				}
			}
		})
	}
}

// What is copied is checked while it is copied, views with the storage they are of.
func TestCopyFindsWrongBytes(t *testing.T) {
	dir := torchDir(t, "archive.bin")
	sound, err := os.ReadFile(filepath.Join(dir, "pytorch_model.bin"))
	if err != nil {
		t.Fatal(err)
	}
	c := mustOpen(t, dir)
	for _, tt := range []struct {
		damaged string // the tensor whose byte is another
		keep    string // the tensor that is copied
		fails   bool
	}{
		{"bfloat16", "bfloat16", true}, {"bytes", "bytes", true}, {"transposed", "base", true}, {"base", "transposed", true}, {"bfloat16", "bytes", false},
	} {
		damaged := bytes.Clone(sound)
		at, _ := c.Tensor(tt.damaged)
		damaged[at.Offset] ^= 0x55
		bad := mustOpen(t, makeDir(t, map[string]string{"config.json": "{}", "pytorch_model.bin": string(damaged)}))
		out := filepath.Join(t.TempDir(), "out")
		_, err := checkpoint.Write(t.Context(), bad, out, checkpoint.Surgery{Rename: func(n string) (string, bool) { return n, n == tt.keep }}, checkpoint.WriteOptions{})
		if (err != nil) != tt.fails || tt.fails && !strings.Contains(err.Error(), "checksum of") {
			t.Errorf("damaged %s, copied %s: %v", tt.damaged, tt.keep, err)
		}
		if _, gone := os.Stat(out); tt.fails && gone == nil {
			t.Errorf("damaged %s: %s is there", tt.damaged, out)
		}
	}
}

func TestTorchTruncated(t *testing.T) {
	dir := testkit.Llama(t, testkit.Options{Layers: 1, Torch: true})
	path := filepath.Join(dir, "pytorch_model.bin")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	_, err = checkpoint.Open(dir)
	var format *torchfile.FormatError
	if !errors.As(err, &format) || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("got %v", err)
	}
}

// A file larger than memory may be is copied in pieces: the heap stays small, the
// torch file is not mapped.
func TestTorchStreams(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	dir := testkit.Llama(t, testkit.Options{Layers: 4, Hidden: 512, FF: 2048, Torch: true})
	c := mustOpen(t, dir)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w := mustWrite(t, c, filepath.Join(t.TempDir(), "out"), checkpoint.Surgery{Rename: dropLayers(1)}, checkpoint.WriteOptions{}.WithoutKernelCopy())
	runtime.ReadMemStats(&after)
	if used := int64(after.TotalAlloc - before.TotalAlloc); used > w.Bytes/4 {
		t.Errorf("%d bytes allocated to write %d", used, w.Bytes)
	}
}

// The twins of the golden checkpoints are the same models.
func TestTorchTwins(t *testing.T) {
	for _, family := range []string{"vicuna", "baichuan", "chatglm2"} {
		dir := testkit.GoldenDir(t, family)
		plain, torch := mustOpen(t, filepath.Join(dir, "checkpoint")), mustOpen(t, filepath.Join(dir, "checkpoint_bin"))
		if diff := cmp.Diff(sums(t, plain), sums(t, torch)); diff != "" {
			t.Errorf("%s: %s", family, diff)
		}
	}
}
