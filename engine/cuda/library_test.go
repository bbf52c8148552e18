//go:build !nopurego && linux && (amd64 || arm64)

package cuda_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cuda"
	"github.com/coppice-ml/coppice/engine/cuda/cudatest"
)

// TestFolders: libraries are looked for where the system's loader does first, then in
// toolkits and Python's packages; COPPICE_CUDA is the only place where it is set.
func TestFolders(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"toolkit/lib64", "toolkit/targets/x86_64-linux/lib", "env/lib/python3.12/site-packages/nvidia/cu13/lib",
		"env/lib/python3.12/site-packages/nvidia/cublas/lib", "conda/lib", "home/.local/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	environment := map[string]string{"CUDA_HOME": root + "/toolkit", "VIRTUAL_ENV": root + "/env", "CONDA_PREFIX": root + "/conda", "HOME": root + "/home"}
	got := cuda.Folders(func(name string) string { return environment[name] })
	last := -1
	for _, want := range []string{"", "/toolkit/lib64", "/toolkit/targets/x86_64-linux/lib", "/env/lib/python3.12/site-packages/nvidia/cu13/lib",
		"/env/lib/python3.12/site-packages/nvidia/cublas/lib", "/home/.local/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib", "/conda/lib"} {
		if want != "" {
			want = root + want
		}
		at := slices.Index(got, want)
		if at <= last {
			t.Errorf("%q is looked in at place %d, want it behind %d: %v", want, at, last, got)
		}
		last = at
	}
	environment["COPPICE_CUDA"] = "/only"
	if got := cuda.Folders(func(name string) string { return environment[name] }); !slices.Equal(got, []string{"/only"}) {
		t.Errorf("with COPPICE_CUDA: %v", got)
	}
}

// TestKept: what was compiled and probed is kept in the cache for the next engine; a
// cache that cannot be read is none.
func TestKept(t *testing.T) {
	m := small(t)
	f := cudatest.New(t)
	cache := t.TempDir()
	scores := func() ([]engine.TokenScore, int) {
		t.Helper()
		e, err := cuda.Start(cuda.Options{Getenv: f.Getenv, Cache: cache, Probes: cudatest.Probes()}, cuda.Tuning{})
		if err != nil {
			t.Fatal(err)
		}
		before := f.Count(t, "launches")
		out, err := score(t.Context(), e, m)
		if err := errors.Join(err, e.Close()); err != nil {
			t.Fatal(err)
		}
		return out, f.Count(t, "launches") - before
	}
	want, probing := scores()
	files, err := filepath.Glob(filepath.Join(cache, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("the cache has %v, want kernels and products", files)
	}
	got, kept := scores()
	if !slices.Equal(got, want) || kept > probing/2 {
		t.Errorf("%d launches with what was kept, %d without; same scores: %v", kept, probing, slices.Equal(got, want))
	}
	for _, file := range files {
		if filepath.Ext(file) == ".json" {
			if err := os.WriteFile(file, []byte("{"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, again := scores(); !slices.Equal(got, want) || again != probing {
		t.Errorf("%d launches with a broken cache, want %d; same scores: %v", again, probing, slices.Equal(got, want))
	}
}
