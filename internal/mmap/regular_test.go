package mmap

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadRegular(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if raw, err := ReadRegular(path, 5); err != nil || string(raw) != "12345" {
		t.Errorf("read %q, %v", raw, err)
	}
	if _, err := ReadRegular(path, 4); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "5 bytes, over the limit of 4") {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := ReadRegular(dir, 4); !errors.Is(err, ErrNotRegular) || !strings.Contains(err.Error(), "it is a directory") {
		t.Errorf("a directory: %v", err)
	}
	if _, err := ReadRegular(path+"x", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}
