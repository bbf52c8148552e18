//go:build !nopurego && linux && (amd64 || arm64)

package cuda_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cuda"
	"github.com/coppice-ml/coppice/engine/cuda/cudatest"
)

// TestCheckSetting: COPPICE_CUDA_CHECK is on, off or an error, GPU or not.
func TestCheckSetting(t *testing.T) {
	for value, wrong := range map[string]bool{"": false, "1": false, "Yes": false, "off": false, "2": true, "kernels": true} {
		_, err := cuda.New(cuda.Options{Getenv: func(name string) string {
			return map[string]string{"COPPICE_CUDA": t.TempDir(), "COPPICE_CUDA_CHECK": value}[name]
		}})
		var setting *engine.SettingError
		if errors.As(err, &setting) != wrong || !wrong && !errors.Is(err, cuda.ErrNoGPU) {
			t.Errorf("COPPICE_CUDA_CHECK=%s: %v", value, err)
		}
	}
}

// TestFolders: libraries are looked for where CUDA_HOME says first, then where the
// system's loader does, in toolkits and Python's packages; COPPICE_CUDA is the only
// place where it is set.
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
	for _, want := range []string{"/toolkit/lib64", "/toolkit/targets/x86_64-linux/lib", "", "/env/lib/python3.12/site-packages/nvidia/cu13/lib",
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

// TestNewest: of several versions the newest that the driver knows is taken, wherever it
// lies; what CUDA_HOME names is taken before all others.
func TestNewest(t *testing.T) {
	f := cudatest.New(t)
	root := t.TempDir()
	link := func(dir string, names ...string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if err := os.Symlink(filepath.Join(f.Dir, "fake.so"), filepath.Join(root, dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	link("conda/lib", "libcublasLt.so.12")
	link("env/lib/python3.12/site-packages/nvidia/cu13/lib", "libcublasLt.so.13")
	link("toolkit/lib64", "libcublasLt.so.12")
	environment := map[string]string{"VIRTUAL_ENV": root + "/env", "CONDA_PREFIX": root + "/conda"}
	found := func(driver int) string {
		t.Helper()
		path, err := cuda.FindBLAS(driver, func(name string) string { return environment[name] })
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	for driver, want := range map[int]string{12: "libcublasLt.so.12", 13: "libcublasLt.so.13"} {
		if got := found(driver); filepath.Base(got) != want {
			t.Errorf("a driver of CUDA %d takes %s, want %s", driver, got, want)
		}
	}
	environment["CUDA_HOME"] = root + "/toolkit"
	if got := found(13); got != root+"/toolkit/lib64/libcublasLt.so.12" {
		t.Errorf("with CUDA_HOME: %s", got)
	}
}

// TestNotCompiled: the error names the compiler and has its words.
func TestNotCompiled(t *testing.T) {
	f := cudatest.New(t)
	_, err := cuda.Start(cuda.Options{Getenv: f.Getenv}, cuda.Tuning{Edit: func(files map[string]string) { files["all.cu"] = "no C" }})
	for _, want := range []string{"NVRTC 13.0 (" + f.Dir, "does not compile the kernels for", "error:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %s", err, want)
		}
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
