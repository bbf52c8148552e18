//go:build !nopurego && linux && (amd64 || arm64)

package cudatest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"time"
	"unsafe"
)

// build makes the libraries, in a folder of the system's for temporary files that
// their source's hash names: packages tested one after the other build them once.
func build(compiler string) (string, error) {
	files, err := fs.ReadDir(sources, "fake")
	if err != nil {
		return "", err
	}
	h := sha256.New()
	texts := map[string][]byte{}
	for _, f := range files {
		raw, err := fs.ReadFile(sources, path.Join("fake", f.Name()))
		if err != nil {
			return "", err
		}
		texts[f.Name()] = raw
		fmt.Fprintf(h, "%s %d %s", f.Name(), len(raw), raw)
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("coppice-fake-gpu-%d-%s", os.Getuid(), hex.EncodeToString(h.Sum(nil)[:8])))
	if _, err := os.Stat(filepath.Join(dir, names()[0])); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	args := []string{"-shared", "-fPIC", "-std=gnu++17", "-O2", "-march=native", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-Wl,-z,defs",
		"-DFAKE_COMPILER=\"" + compiler + "\"", "-DFAKE_INCLUDE=\"" + dir + "\"", "-o", filepath.Join(tmp, "fake.so")}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", err
		}
		if path.Ext(name) == ".cc" {
			args = append(args, filepath.Join(dir, name))
		}
	}
	if out, err := exec.Command(compiler, append(args, "-ldl")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", compiler, err, out)
	}
	if err := os.Rename(filepath.Join(tmp, "fake.so"), filepath.Join(dir, "fake.so")); err != nil {
		return "", err
	}
	for i := len(names()) - 1; i >= 0; i-- { // the first, which is looked for, last
		if err := os.Symlink("fake.so", filepath.Join(dir, names()[i])); err != nil && !os.IsExist(err) {
			return "", err
		}
	}
	return dir, nil
}

// seed differs from run to run.
func seed() int64 { return time.Now().UnixNano() & (1<<40 - 1) }

// text is a C string on the heap.
func (f *Fake) text(s string) uintptr {
	b := append([]byte(s), 0)
	f.kept = append(f.kept, b)
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))
}
