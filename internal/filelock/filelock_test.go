package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestTake(t *testing.T) {
	switch runtime.GOOS {
	case "linux", "darwin", "freebsd", "windows":
	default:
		t.Skip("no file locks are known on this system")
	}
	path := filepath.Join(t.TempDir(), "lock")
	release, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(path); !errors.Is(err, ErrHeld) {
		t.Errorf("taken twice: %v", err)
	}
	release()
	again, err := Take(path)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	again()
	if release, err = Take(path); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" { // where what is open cannot be removed
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		other, err := Take(path)
		if err != nil {
			t.Fatalf("after who held it removed it: %v", err)
		}
		other()
	}
	release()
	if _, err := Take(filepath.Join(path, "inside")); err == nil || errors.Is(err, ErrHeld) {
		t.Errorf("a path through a file: %v", err)
	}
}
