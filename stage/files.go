package stage

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/coppice-ml/coppice/internal/wholefile"
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
// field says. The directories above it that are missing are made when it is.
func Writable(field, path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	for ; errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir); info, err = os.Stat(dir) {
		dir = filepath.Dir(dir)
	}
	switch {
	case err == nil && !info.IsDir():
		return failed("{"+field+"} %s: %s is a file", path, dir).with("name another file")
	case err == nil:
		err = tryWriting(dir)
	}
	if err != nil {
		return failed("{"+field+"} %s: %s: %w", path, dir, reason(err)).with("name a file in another directory")
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
	return wholefile.Write(path, func(f *os.File) error {
		w := bufio.NewWriterSize(f, 1<<16)
		if err := each(func(l report.Line) error { return report.Write(w, l) }); err != nil {
			return err
		}
		return w.Flush()
	})
}
