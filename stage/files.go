package stage

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/coppice-ml/coppice/report"
)

// checkNew refuses a file that exists.
func checkNew(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return failed("%s exists", path).with("name another file, or remove it")
	}
	return nil
}

// Writable finds out, before any work is done, whether a file can be written where a
// field says.
func Writable(field, path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failed("{"+field+"} %s: %s: %w", path, dir, reason(err)).with("make it first, or name another file")
	case err == nil && !info.IsDir():
		return failed("{"+field+"} %s: %s is a file", path, dir).with("name another file")
	case err == nil:
		err = tryWriting(dir)
	}
	if err != nil {
		return failed("{"+field+"} %s: %w", path, reason(err))
	}
	return nil
}

// tryWriting makes a file in a directory and removes it.
func tryWriting(dir string) error {
	f, err := os.CreateTemp(dir, ".coppice-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// existing is the nearest directory above a path that is there.
func existing(path string) string {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() || dir == filepath.Dir(dir) {
			return dir
		}
	}
}

// writeLines writes JSON lines to a file that appears complete or not at all.
func writeLines(path string, each func(line func(report.Line) error) error) error {
	return writeWhole(path, func(f *os.File) error {
		w := bufio.NewWriterSize(f, 1<<16)
		if err := each(func(l report.Line) error { return report.Write(w, l) }); err != nil {
			return err
		}
		return w.Flush()
	})
}

// writeWhole writes a file under another name and gives it its own when it is
// complete, so that it appears complete or not at all.
func writeWhole(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
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
