package bench

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// dropCache asks the system to forget the weights, so that they come from disk.
func dropCache(dir string) {
	f, err := os.Open(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		return
	}
	defer f.Close()
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
