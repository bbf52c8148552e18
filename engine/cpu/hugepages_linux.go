package cpu

import "golang.org/x/sys/unix"

// hugePages asks for large pages: a layer's weights are hundreds of megabytes,
// and half of the time to bring one in went into page faults. It is a hint.
func hugePages(mem []byte) { _ = unix.Madvise(mem, unix.MADV_HUGEPAGE) }
