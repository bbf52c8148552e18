package safetensors

import (
	"fmt"

	"github.com/coppice-ml/coppice/internal/mmap"
)

// File is a safetensors file mapped read-only. All methods but Close may be
// called by many goroutines at once; slices from Data are valid until Close.
type File struct {
	path   string
	header *Header
	byName map[string]int
	data   *mmap.Map
}

// Open validates the header of a file and maps the file.
func Open(path string) (*File, error) {
	f, info, err := mmap.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h, err := ReadHeader(f, info.Size(), path)
	if err != nil {
		return nil, err
	}
	data, err := mmap.New(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	byName := make(map[string]int, len(h.Tensors))
	for i, t := range h.Tensors {
		byName[t.Name] = i
	}
	return &File{path: path, header: h, byName: byName, data: data}, nil
}

// Header returns the file's header, which the caller must not change.
func (f *File) Header() *Header { return f.header }

// Tensor returns the description of a tensor.
func (f *File) Tensor(name string) (Tensor, bool) {
	i, ok := f.byName[name]
	if !ok {
		return Tensor{}, false
	}
	return f.header.Tensors[i], true
}

// Data returns the bytes of a tensor of this file. They lie in the mapping:
// nothing is read until they are touched, and writing to them faults. Their
// start is aligned to whatever the file's writer chose. It panics when t is
// not a tensor of this file or the file is closed.
func (f *File) Data(t Tensor) []byte { return f.data.Bytes(t.Offset, t.Bytes) }

// Prefetch asks the system to read a tensor ahead, into its own cache. It is a
// hint; it waits only for room in the disk's queue.
func (f *File) Prefetch(t Tensor) { f.data.Prefetch(t.Offset, t.Bytes) }

// Populate reads a tensor into the process's memory and returns when it is
// there, or at once where the system cannot.
func (f *File) Populate(t Tensor) { f.data.Populate(t.Offset, t.Bytes) }

// Release lets the pages of a tensor go, so that they stop counting against the
// process. The data stays valid: touching it reads it again.
func (f *File) Release(t Tensor) { f.data.Release(t.Offset, t.Bytes) }

// Close unmaps the file. Slices from Data must not be touched any more.
func (f *File) Close() error { return f.data.Close() }
