package checkpoint

import (
	"errors"
	"os"
	"syscall"
)

// identity returns the inode and the time of the last change to it.
func identity(info os.FileInfo) (inode uint64, changed int64) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino, st.Ctimespec.Nano()
	}
	return 0, 0
}

func copyInKernel(dst, src *os.File, dstOff, srcOff, n int64) (int64, error) {
	return 0, errors.ErrUnsupported
}

func startWriteBack(*os.File, int64, int64) {}
