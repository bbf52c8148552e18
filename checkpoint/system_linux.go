package checkpoint

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// identity returns the inode and the time of the last change to it.
func identity(info os.FileInfo) (inode uint64, changed int64) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino, st.Ctim.Nano()
	}
	return 0, 0
}

// copyInKernel copies n bytes between files without passing them through this
// process; file systems that can share blocks do. It may copy fewer, and fails
// with errors.ErrUnsupported where the two files cannot be copied this way.
func copyInKernel(dst, src *os.File, dstOff, srcOff, n int64) (int64, error) {
	for {
		got, err := unix.CopyFileRange(int(src.Fd()), &srcOff, int(dst.Fd()), &dstOff, int(n), 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == nil && got > 0:
			return int64(got), nil
		case err == unix.ENOSPC || err == unix.EDQUOT || err == unix.EFBIG:
			return 0, os.NewSyscallError("copy_file_range", err)
		}
		// Old kernels, pairs of file systems and network mounts refuse in many
		// ways, zero bytes among them; reading and writing tells the truth.
		return 0, errors.ErrUnsupported
	}
}

// startWriteBack begins to write what was just copied, so that the final sync
// finds little left to do. It is a hint.
func startWriteBack(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
