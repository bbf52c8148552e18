//go:build !nopurego && linux && (amd64 || arm64)

package cudatest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"time"
	"unsafe"
)

// build makes the libraries, in a folder of the system's for temporary files that
// names their source and the processor they are for. Packages find what others have
// built; of those that build at once one's is taken.
func build(compiler string) (string, error) {
	texts, hash, err := source(compiler)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("coppice-fake-gpu-%d-%s", os.Getuid(), hash))
	if whole(dir, texts) {
		return dir, nil
	}
	tmp, err := os.MkdirTemp("", "coppice-fake-gpu-build-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := buildIn(tmp, dir, compiler, texts); err != nil {
		return "", err
	}
	err = os.Rename(tmp, dir)
	if err == nil || whole(dir, texts) {
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil { // what cleaning up has left of one
		return "", err
	}
	return dir, os.Rename(tmp, dir)
}

// source is the fake's files, and a hash of them and of what else makes the libraries.
func source(compiler string) (texts map[string][]byte, hash string, err error) {
	files, err := fs.ReadDir(sources, "fake")
	if err != nil {
		return nil, "", err
	}
	h := sha256.New()
	texts = map[string][]byte{}
	for _, f := range files {
		raw, err := fs.ReadFile(sources, path.Join("fake", f.Name()))
		if err != nil {
			return nil, "", err
		}
		texts[f.Name()] = raw
		fmt.Fprintf(h, "%s %d %s", f.Name(), len(raw), raw)
	}
	cpus, _ := os.ReadFile("/proc/cpuinfo")
	features := regexp.MustCompile(`(?m)^(flags|Features)\s.*$`).Find(cpus)
	fmt.Fprintf(h, "%s %s", compiler, features)
	return texts, hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// whole says that a folder has all that buildIn makes.
func whole(dir string, texts map[string][]byte) bool {
	for _, name := range append(slices.Collect(maps.Keys(texts)), names()...) {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// buildIn makes the libraries in a folder that will be dir.
func buildIn(tmp, dir, compiler string, texts map[string][]byte) error {
	args := []string{"-shared", "-fPIC", "-std=gnu++17", "-O2", "-march=native", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-Wl,-z,defs",
		"-DFAKE_COMPILER=\"" + compiler + "\"", "-DFAKE_INCLUDE=\"" + dir + "\"", "-o", filepath.Join(tmp, "fake.so")}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(tmp, name), text, 0o600); err != nil {
			return err
		}
		if path.Ext(name) == ".cc" {
			args = append(args, filepath.Join(tmp, name))
		}
	}
	if out, err := exec.Command(compiler, append(args, "-ldl")...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", compiler, err, out)
	}
	for _, name := range names() {
		if err := os.Symlink("fake.so", filepath.Join(tmp, name)); err != nil {
			return err
		}
	}
	return nil
}

// seed differs from run to run.
func seed() int64 { return time.Now().UnixNano() & (1<<40 - 1) }

// text is a C string on the heap.
func (f *Fake) text(s string) uintptr {
	b := append([]byte(s), 0)
	f.kept = append(f.kept, b)
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))
}
