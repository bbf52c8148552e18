//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package mmap

import (
	"os"

	"golang.org/x/sys/unix"
)

func mapFile(f *os.File, size int64) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
}

func unmapFile(data []byte) error { return unix.Munmap(data) }

// advise ignores errors: without the hint everything works, only slower.
func advise(pages []byte, need bool) {
	if len(pages) == 0 {
		return
	}
	advice := unix.MADV_DONTNEED
	if need {
		advice = unix.MADV_WILLNEED
	}
	_ = unix.Madvise(pages, advice)
}
