//go:build linux || darwin || freebsd

package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock marks a file as this process's until it is closed. File systems without
// locks let everybody in.
func lock(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return ErrInUse
	}
	return nil
}
