// Package wholefile writes files that appear complete or not at all: under
// another name beside their own, which they get when all is on the disk.
//
// Single files belong here. Directories of checkpoints are package checkpoint's,
// logs that grow are package journal's.
package wholefile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Write makes or replaces a file with what write puts into it, and makes the
// directories above it that are missing. Where that fails, what was at the path is as
// it was.
func Write(path string, write func(*os.File) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := create(path)
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	var at *fs.PathError
	if errors.As(err, &at) && at.Path == f.Name() { // which nobody knows
		err = at.Err
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}

// create makes a file beside a path, hidden and of a name that nothing has. It has the
// mode that the process gives to new files, where os.CreateTemp would keep it from others.
func create(path string) (*os.File, error) {
	for {
		name := fmt.Sprintf(".%s.%d", filepath.Base(path), rand.Uint32())
		f, err := os.OpenFile(filepath.Join(filepath.Dir(path), name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// Bytes makes or replaces a file with the content given, as Write does.
func Bytes(path string, content []byte) error {
	return Write(path, func(f *os.File) error { _, err := f.Write(content); return err })
}
