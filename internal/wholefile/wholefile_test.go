package wholefile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "result.json")
	for _, want := range []string{"first", "second, in its place"} {
		if err := Bytes(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		holds(t, path, want)
	}
}

// TestFails: what could not be finished leaves the old file and nothing else.
func TestFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "result.json")
	if err := Bytes(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := Write(path, func(f *os.File) error {
		_, err := f.WriteString("half")
		return errors.Join(err, broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	holds(t, path, "old")
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	err = Write(path, func(f *os.File) error {
		_ = f.Close()
		_, err := f.WriteString("late")
		return err
	})
	if !errors.Is(err, os.ErrClosed) || strings.Contains(err.Error(), "write "+filepath.Dir(path)+"/.result.json") {
		t.Errorf("error %v: want it to name %s alone", err, path)
	}
	if err := Bytes(filepath.Join(path, "below"), nil); err == nil {
		t.Error("a file below a file")
	}
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
