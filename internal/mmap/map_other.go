//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly || windows)

package mmap

import (
	"io"
	"os"
)

// mapFile reads the whole file where the system has no mapping to offer.
func mapFile(f *os.File, size int64) ([]byte, error) {
	data := make([]byte, size)
	_, err := io.ReadFull(io.NewSectionReader(f, 0, size), data)
	return data, err
}

func unmapFile([]byte) error { return nil }

func willNeed([]byte) {}
func dontNeed([]byte) {}
