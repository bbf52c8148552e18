package mmap

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// MostPiped bounds what is held of a pipe, which may have no end.
const MostPiped = 1 << 30

// stdin is taken whatever it is: a terminal is a device, too.
const stdin = "/dev/stdin"

// OpenNamed opens what a user names for reading: a file, or a pipe. Devices are refused,
// since some have no end.
func OpenNamed(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if info.Mode()&fs.ModeDevice != 0 && path != stdin {
		return nil, nil, notRegular(path, info)
	}
	f, err := os.Open(path)
	return f, info, err
}

// ReadNamed reads what a user names as a whole, at most MostPiped bytes of it if it is no
// regular file.
func ReadNamed(path string) ([]byte, error) {
	f, info, err := OpenNamed(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Mode().IsRegular() {
		return io.ReadAll(f)
	}
	raw, err := io.ReadAll(io.LimitReader(f, MostPiped+1))
	if len(raw) > MostPiped {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("more than the %d bytes that are read of what is no regular file: %w", MostPiped, ErrTooLarge)}
	}
	return raw, err
}
