//go:build linux || darwin || freebsd

package hub

import (
	"errors"

	"golang.org/x/sys/unix"
)

// freeSpace is what is left for us on the disk of a directory, in bytes; ok is
// false where that cannot be found out.
func freeSpace(dir string) (free int64, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true //nolint:unconvert // the types differ between systems
}

// diskFull recognises a full disk, a used-up quota, and a limit on files.
func diskFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}
