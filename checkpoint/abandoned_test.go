//go:build linux || darwin

package checkpoint_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/coppice-ml/coppice/checkpoint"
)

// What a killed write left is removed by the next one with the same output. What
// a living one holds, other outputs' and other people's files are not.
func TestAbandoned(t *testing.T) {
	parent := makeDir(t, map[string]string{
		".out.coppice-partial-aaaaaaaa/model.safetensors":   "half",
		".out.coppice-partial-held0000/model.safetensors":   "half",
		".other.coppice-partial-aaaaaaaa/model.safetensors": "half",
		".out.coppice-partial-longername/x":                 "x",
		".out.coppice-partial-bbbbbbbb":                     "a file",
		".out.coppice-old-aaaaaaaa/config.json":             "{}",
	})
	held, err := os.Open(filepath.Join(parent, ".out.coppice-partial-held0000"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Skipf("skipped: no locks here: %v", err)
	}
	write := func(out string) {
		mustWrite(t, mustOpen(t, makeDir(t, layered(t, 1))), filepath.Join(parent, out), checkpoint.Surgery{}, checkpoint.WriteOptions{Force: true})
	}
	write("out")
	want := []string{".other.coppice-partial-aaaaaaaa", ".out.coppice-old-aaaaaaaa", ".out.coppice-partial-bbbbbbbb",
		".out.coppice-partial-held0000", ".out.coppice-partial-longername", "out"}
	if diff := cmp.Diff(want, names(t, parent)); diff != "" {
		t.Error(diff)
	}
	held.Close()
	write("out")
	if got := names(t, parent); slices.Contains(got, ".out.coppice-partial-held0000") {
		t.Errorf("left: %v", got)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
