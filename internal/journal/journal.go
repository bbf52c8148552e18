// Package journal keeps finished pieces of long work in a file, so that the next
// run goes on from there: one line says what the pieces belong to, each other one
// is a piece, and lines are only ever appended. A process that is killed at any
// moment loses at most the line it was writing.
//
// What the lines hold belongs to those who write them: package score's Store,
// package eval's State.
package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/internal/filelock"
)

// Header says what the lines of a journal belong to. It is the first line: a JSON
// object of About, with the kind and the version of the lines beside.
type Header struct {
	Kind    string         // whose lines they are, such as "scores"
	Version int            // of what the lines hold
	About   map[string]any // what they belong to, by name
}

// Keys of the header's own among those of About.
const (
	kindKey    = "journal"
	versionKey = "version"
)

// Options say how a journal is opened.
type Options struct {
	// Shared lets several processes append at once. Otherwise a second one is
	// refused with ErrInUse, where the system has locks.
	Shared bool
	// Unversioned takes files whose header has neither kind nor version, from
	// before there were any, for ones of version 1.
	Unversioned bool
}

// Journal is an open file of lines. Its methods are for one goroutine at a time.
type Journal struct {
	f      *os.File
	path   string
	header []byte // still to be written, before the first line
}

// What is wrong with a file that cannot be gone on with.
var (
	ErrForeign = errors.New("not a file of finished work")
	ErrVersion = errors.New("kept by another version")
	ErrInUse   = errors.New("another process is writing to it")
)

// OtherError is a journal that belongs to something else.
type OtherError struct {
	Path        string
	Differences []string // "model was "a" and is "b"", by name
}

func (e *OtherError) Error() string {
	return fmt.Sprintf("%s: %s", e.Path, strings.Join(e.Differences, "; "))
}

// Open opens a journal or begins one, and gives each whole line to take, in
// order. What follows the first line that is cut short, or that take refuses, is
// cut off. Errors: ErrForeign, ErrVersion, ErrInUse, an *OtherError, the system's.
func Open(path string, h Header, o Options, take func(line []byte) error) (*Journal, error) {
	want, err := h.line()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	j := &Journal{f: f, path: path}
	if !o.Shared {
		held, err := filelock.Try(f)
		if errors.Is(err, filelock.ErrUnsupported) {
			held, err = true, nil
		}
		if err == nil && !held {
			err = ErrInUse
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
	}
	if err := j.read(want, h, o, take); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

func (j *Journal) read(want []byte, h Header, o Options, take func([]byte) error) error {
	in := bufio.NewReader(j.f)
	var good int64
	for {
		line, err := in.ReadBytes('\n')
		switch {
		case err == io.EOF:
			return j.end(line, want, good)
		case err != nil:
			return fmt.Errorf("%s: %w", j.path, err)
		case good == 0:
			if err := h.check(j.path, line, want, o); err != nil {
				return err
			}
		case bytes.Equal(line, want): // two processes began the file at once
		case take(bytes.TrimSuffix(line, []byte("\n"))) != nil:
			return j.cut(good)
		}
		good += int64(len(line))
	}
}

// end cuts off what stands after the last whole line; a file that has none is to
// begin with the header.
func (j *Journal) end(rest, want []byte, good int64) error {
	if good == 0 && !bytes.HasPrefix(want, rest) {
		return fmt.Errorf("%s: %w", j.path, ErrForeign)
	}
	if len(rest) > 0 {
		if err := j.cut(good); err != nil {
			return err
		}
	}
	if good == 0 {
		j.header = want
	}
	return nil
}

// cut ends the file after its first n bytes: by its name, since Windows truncates
// no file that is open to be appended to.
func (j *Journal) cut(n int64) error { return os.Truncate(j.path, n) }

// Append writes a line.
func (j *Journal) Append(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	// The header comes with the first line: a file that has something has work in it.
	if _, err = j.f.Write(append(append(j.header, line...), '\n')); err == nil {
		j.header = nil
	}
	return err
}

// Sync waits until the lines are on the disk.
func (j *Journal) Sync() error { return j.f.Sync() }

// Path is the file.
func (j *Journal) Path() string { return j.path }

// Close closes the file.
func (j *Journal) Close() error { return j.f.Close() }

// Remove deletes the file, before anybody else can take its lock, and closes it.
func (j *Journal) Remove() error {
	err := os.Remove(j.path)
	closed := j.f.Close()
	if err != nil { // Windows keeps what is open
		err = os.Remove(j.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, closed)
}

func (h Header) line() ([]byte, error) {
	all := map[string]any{kindKey: h.Kind, versionKey: h.Version}
	for name, v := range h.About {
		all[name] = v
	}
	line, err := json.Marshal(all)
	return append(line, '\n'), err
}

// check compares the header of a file with what is wanted.
func (h Header) check(path string, have, want []byte, o Options) error {
	var a, b map[string]json.RawMessage
	if json.Unmarshal(have, &a) != nil {
		return fmt.Errorf("%s: %w", path, ErrForeign)
	}
	if err := json.Unmarshal(want, &b); err != nil {
		return err
	}
	if o.Unversioned && a[kindKey] == nil && a[versionKey] == nil && h.resembles(a) {
		a[kindKey], a[versionKey] = b[kindKey], json.RawMessage("1")
	}
	if !bytes.Equal(a[kindKey], b[kindKey]) {
		return fmt.Errorf("%s: %w", path, ErrForeign)
	}
	if !bytes.Equal(a[versionKey], b[versionKey]) {
		return fmt.Errorf("%s: %w: its lines are of version %s, and this program's of %d", path, ErrVersion, a[versionKey], h.Version)
	}
	var diff []string
	for key := range b {
		if !bytes.Equal(a[key], b[key]) {
			diff = append(diff, fmt.Sprintf("%s was %s and is %s", key, short(a[key]), short(b[key])))
		}
	}
	if len(diff) == 0 {
		return nil
	}
	slices.Sort(diff)
	return &OtherError{Path: path, Differences: diff}
}

// resembles says whether an object names anything that this header does.
func (h Header) resembles(object map[string]json.RawMessage) bool {
	for name := range h.About {
		if object[name] != nil {
			return true
		}
	}
	return false
}

func short(raw []byte) string {
	switch {
	case raw == nil:
		return "not said"
	case len(raw) > 60:
		return string(raw[:60]) + "…"
	}
	return string(raw)
}
