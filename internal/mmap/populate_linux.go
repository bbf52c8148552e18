package mmap

import "golang.org/x/sys/unix"

// populate maps pages in one go; kernels before 5.14 do not know how.
func populate(pages []byte) {
	if len(pages) > 0 && unix.Madvise(pages, unix.MADV_POPULATE_READ) != nil {
		willNeed(pages)
	}
}
