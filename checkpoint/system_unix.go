//go:build linux || darwin

package checkpoint

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// freeSpace returns the bytes that this user may still write below dir.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // Bsize has 32 bits on macOS
}

// isFull tells a full disk in the ways other than ENOSPC.
func isFull(err error) bool { return errors.Is(err, unix.EDQUOT) }

// hold marks a directory as in use until it is released or the process ends,
// however it does. It fails with errHeld where another holder has it.
func hold(dir string) (release func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errHeld
		}
		return nil, os.NewSyscallError("flock", err)
	}
	return func() { f.Close() }, nil
}

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
