package torchfile_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/safetensors"
	"github.com/coppice-ml/coppice/torchfile"
)

// wanted is a tensor that testdata/make.py saved.
type wanted struct {
	DType safetensors.DType
	Shape []int
	Hex   string
}

// Files that PyTorch itself wrote, in both of its formats: views, shared
// storages, parameters, and the attributes of a module's state dict.
func TestReadsWhatTorchWrote(t *testing.T) {
	raw, err := os.ReadFile("testdata/want.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]wanted
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"archive.bin", "stream.bin"} {
		t.Run(name, func(t *testing.T) {
			f := mustOpen(t, filepath.Join("testdata", name))
			got := map[string]wanted{}
			for _, tensor := range f.Contents().Tensors {
				got[tensor.Name] = wanted{tensor.DType, tensor.Shape, hex.EncodeToString(f.Data(tensor.Tensor))}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			var moved []string
			for _, tensor := range f.Contents().Tensors {
				if !tensor.InPlace() {
					moved = append(moved, tensor.Name)
				}
			}
			if diff := cmp.Diff([]string{"columns", "transposed", "permuted"}, moved); diff != "" {
				t.Errorf("not used where they lie: %s", diff)
			}
		})
	}
}

// What is put in order in one go and in pieces of any size is the same, also
// after it was released.
func TestReadInPieces(t *testing.T) {
	f := mustOpen(t, "testdata/archive.bin")
	for _, tensor := range f.Contents().Tensors {
		size := int64(tensor.DType.Size())
		whole := bytes.Clone(f.Data(tensor.Tensor))
		for step := size; step <= tensor.Bytes; step += size {
			var got []byte
			for at := int64(0); at < tensor.Bytes; at += step {
				part := make([]byte, min(step, tensor.Bytes-at))
				f.Read(tensor.Tensor, part, at)
				got = append(got, part...)
			}
			if !bytes.Equal(got, whole) {
				t.Errorf("%s in steps of %d: got %x, want %x", tensor.Name, step, got, whole)
			}
		}
		f.Prefetch(tensor.Tensor)
		f.Populate(tensor.Tensor)
		f.Release(tensor.Tensor)
		if again := f.Data(tensor.Tensor); !bytes.Equal(again, whole) {
			t.Errorf("%s after release: got %x, want %x", tensor.Name, again, whole)
		}
	}
}

// The twins of the golden checkpoints hold the same tensors, and use them in place.
func TestTwins(t *testing.T) {
	for _, family := range []string{"vicuna", "baichuan", "chatglm2"} {
		t.Run(family, func(t *testing.T) {
			dir := testkit.GoldenDir(t, family)
			f := mustOpen(t, filepath.Join(dir, "checkpoint_bin", "pytorch_model.bin"))
			twin, err := safetensors.Open(filepath.Join(dir, "checkpoint", "model.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			defer twin.Close()
			got := map[string]bool{}
			for _, tensor := range f.Contents().Tensors {
				got[tensor.Name] = true
				want, ok := twin.Tensor(tensor.Name)
				if !ok || want.DType != tensor.DType || !slices.Equal(want.Shape, tensor.Shape) {
					t.Errorf("%s: %s %v, want %s %v", tensor.Name, tensor.DType, tensor.Shape, want.DType, want.Shape)
					continue
				}
				if !tensor.InPlace() || tensor.Offset%64 != 0 {
					t.Errorf("%s: not used where it lies, at %d", tensor.Name, tensor.Offset)
				}
				if !bytes.Equal(f.Data(tensor.Tensor), twin.Data(want)) {
					t.Errorf("%s: other bytes", tensor.Name)
				}
			}
			if n := len(twin.Header().Tensors); len(got) != n {
				t.Errorf("tensors %v, want %d", slices.Sorted(maps.Keys(got)), n)
			}
		})
	}
}

func mustOpen(t *testing.T, path string) *torchfile.File {
	t.Helper()
	f, err := torchfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
