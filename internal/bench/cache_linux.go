package bench

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropCache asks the system to forget the beginning of a file, so that it comes from
// disk; 0: all of it.
func dropCache(path string, bytes int64) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	_ = unix.Fadvise(int(f.Fd()), 0, bytes, unix.FADV_DONTNEED)
}
