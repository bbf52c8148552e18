//go:build !nopurego && linux && (amd64 || arm64)

package all_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine/all"
	"github.com/coppice-ml/coppice/engine/cuda/cudatest"
)

// TestGPU: a GPU is found where there is one, by number too, and one that cannot be
// used is an error, not the processor.
func TestGPU(t *testing.T) {
	f := cudatest.New(t)
	f.Set(t, "devices", 2)
	for device, want := range map[string]string{"auto": "cuda", "": "cuda", "cuda": "cuda", "cuda:1": "cuda:1", "cpu": "cpu"} {
		e, err := all.Open(device, all.Options{DType: "float32", Getenv: f.Getenv, Cache: f.Cache})
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Info().Device; got != want {
			t.Errorf("device %q: %q, want %q", device, got, want)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	alone := t.TempDir() // a driver and no libraries
	if err := os.Symlink(filepath.Join(f.Dir, "libcuda.so.1"), filepath.Join(alone, "libcuda.so.1")); err != nil {
		t.Fatal(err)
	}
	_, err := all.Open("auto", all.Options{Getenv: func(name string) string { return map[string]string{"COPPICE_CUDA": alone}[name] }})
	if err == nil || !strings.Contains(err.Error(), "NVRTC was not found") || !strings.Contains(err.Error(), "device cpu does without") {
		t.Errorf("a GPU without libraries: %v", err)
	}
}
