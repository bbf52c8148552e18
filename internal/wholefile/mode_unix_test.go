//go:build unix

package wholefile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestMode: a file has the mode that the process gives to new files.
func TestMode(t *testing.T) {
	for _, mask := range []int{0o022, 0o077} {
		path := filepath.Join(t.TempDir(), "result.json")
		old := syscall.Umask(mask)
		err := Bytes(path, []byte("{}"))
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o666&^os.FileMode(mask) {
			t.Errorf("umask %o: mode %v, %v", mask, info.Mode(), err)
		}
	}
}
