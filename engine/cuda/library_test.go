//go:build !nopurego && linux && (amd64 || arm64)

package cuda_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine/cuda"
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
