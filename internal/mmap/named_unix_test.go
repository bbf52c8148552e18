//go:build unix

package mmap

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadNamed: files and pipes are read, devices refused.
func TestReadNamed(t *testing.T) {
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, []byte("text"), 0o600), unix.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	go func() { _ = os.WriteFile(pipe, []byte("text"), 0) }()
	for _, path := range []string{file, pipe} {
		if raw, err := ReadNamed(path); string(raw) != "text" || err != nil {
			t.Errorf("%s: %q, error %v", path, raw, err)
		}
	}
	if _, err := ReadNamed("/dev/zero"); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a device: error %v", err)
	}
}
