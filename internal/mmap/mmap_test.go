package mmap_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/coppice-ml/coppice/internal/mmap"
)

func open(t *testing.T, content []byte) *mmap.Map {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := mmap.New(f, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMap(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 5000)
	m := open(t, content)
	for _, r := range [][2]int64{{0, 50000}, {12345, 30001}, {49999, 1}, {50000, 0}} {
		off, n := r[0], r[1]
		m.Prefetch(off, n)
		m.Populate(off, n)
		got := m.Bytes(off, n)
		if !bytes.Equal(got, content[off:off+n]) || cap(got) != len(got) {
			t.Errorf("wrong bytes at %d", off)
		}
		m.Release(off, n)
		if !bytes.Equal(got, content[off:off+n]) {
			t.Errorf("wrong bytes at %d after release", off)
		}
	}
	// Hints outside the file are not taken.
	m.Prefetch(-1, 5)
	m.Populate(-1, 5)
	m.Release(49999, 2)
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	m.Release(0, 1)
}

func TestEmpty(t *testing.T) {
	m := open(t, nil)
	if got := m.Bytes(0, 0); len(got) != 0 {
		t.Errorf("got %d bytes", len(got))
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
