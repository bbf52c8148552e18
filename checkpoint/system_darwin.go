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
		return st.Ino, st.Ctimespec.Nano()
	}
	return 0, 0
}

// freeSpace returns the bytes that this user may still write below dir.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func copyInKernel(dst, src *os.File, dstOff, srcOff, n int64) (int64, error) {
	return 0, errors.ErrUnsupported
}

func startWriteBack(*os.File, int64, int64) {}

// isFull tells a full disk in the ways other than ENOSPC.
func isFull(err error) bool { return errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) }

func isReadOnly(err error) bool { return errors.Is(err, unix.EROFS) }

// syncDir makes the names in a directory last.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
