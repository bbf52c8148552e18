package cli

import (
	"errors"
	"os"
	"path/filepath"
)

// writeNew writes a file that must not exist yet: under a temporary name first,
// so that it appears complete or not at all.
func writeNew(path string, content []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".partial-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if _, err = tmp.Write(content); err == nil {
		err = errors.Join(tmp.Chmod(0o644), tmp.Sync())
	}
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if err := checkNew(path); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// checkNew refuses a file that exists.
func checkNew(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return failed("%s exists", path).withHint("name another file, or remove it")
	}
	return nil
}
