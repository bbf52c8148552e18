package checkpoint

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// identity is unknown: size and modification time have to do.
func identity(os.FileInfo) (inode uint64, changed int64) { return 0, 0 }

// freeSpace returns the bytes that this user may still write below dir.
func freeSpace(dir string) (int64, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(path, &free, nil, nil); err != nil {
		return 0, os.NewSyscallError("GetDiskFreeSpaceEx", err)
	}
	return int64(free), nil
}

func copyInKernel(dst, src *os.File, dstOff, srcOff, n int64) (int64, error) {
	return 0, errors.ErrUnsupported
}

func startWriteBack(*os.File, int64, int64) {}

// isFull tells a full disk in the ways other than ENOSPC.
func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

func isReadOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

// syncDir does nothing: directories cannot be synced here.
func syncDir(string) error { return nil }

// hold would mark a directory as in use, were it known how.
func hold(string) (release func(), err error) { return nil, errors.ErrUnsupported }
