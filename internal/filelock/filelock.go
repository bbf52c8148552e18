// Package filelock takes advisory locks on files, which the system lets go when
// the process ends, however it does.
//
// What a lock protects, and what to do when somebody else has it, belongs to
// those who take it.
package filelock

import (
	"errors"
	"os"
)

// ErrUnsupported: the disk, or the system, has no file locks.
var ErrUnsupported = errors.New("the disk has no file locks")

// ErrHeld: somebody else has the lock.
var ErrHeld = errors.New("held by another process")

// Try takes an advisory lock on the whole file, the kind that huggingface_hub
// takes. It is false when somebody else has it; it goes when f is closed.
func Try(f *os.File) (bool, error) { return try(f) }

// Take makes a file, if it is not there, and takes a lock on it until release is
// called. It fails with ErrHeld when somebody else has it. Where there are no
// locks, nothing is held and that is no error. Who holds the lock may remove the file.
func Take(path string) (release func(), err error) {
	for {
		f, err := take(path)
		if err != nil {
			return nil, err
		}
		held, err := f.Stat()
		if there, gone := os.Stat(path); err != nil || gone == nil && os.SameFile(held, there) {
			return func() { _ = f.Close() }, err
		}
		_ = f.Close() // of a file that was removed before it was locked
	}
}

func take(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	locked, err := Try(f)
	switch {
	case errors.Is(err, ErrUnsupported):
		return f, nil
	case err != nil:
		return nil, errors.Join(err, f.Close())
	case !locked:
		return nil, errors.Join(ErrHeld, f.Close())
	}
	return f, nil
}
