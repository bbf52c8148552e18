package mmap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// What a path can be wrong by, beside not being there.
var (
	// ErrNotRegular: a directory, a pipe, a device. Opening a pipe would wait for
	// whoever writes to it.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooLarge: more bytes than the reader takes.
	ErrTooLarge = errors.New("too large")
)

// OpenRegular opens a file for reading, and nothing else that a path may name. It
// never waits for another process.
func OpenRegular(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, notRegular(path, info)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func notRegular(path string, info fs.FileInfo) error {
	return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("it is %s: %w", kindOf(info.Mode()), ErrNotRegular)}
}

// ReadRegular reads a whole file of at most so many bytes.
func ReadRegular(path string, most int64) ([]byte, error) {
	f, info, err := OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(raw)) > most {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it has %d bytes, over the limit of %d for such a file: %w", info.Size(), most, ErrTooLarge)}
	}
	return raw, err
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}
