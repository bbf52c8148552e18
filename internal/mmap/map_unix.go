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

// Hints fail without harm: everything works without them, only slower.

// willNeedStep is how much is asked for at a time: Linux reads no more of a
// larger range ahead than a disk takes in one request.
const willNeedStep = 1 << 20

func willNeed(pages []byte) {
	for len(pages) > 0 {
		n := min(willNeedStep, len(pages))
		_ = unix.Madvise(pages[:n], unix.MADV_WILLNEED)
		pages = pages[n:]
	}
}

func dontNeed(pages []byte) {
	if len(pages) > 0 {
		_ = unix.Madvise(pages, unix.MADV_DONTNEED)
	}
}
