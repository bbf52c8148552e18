package torchfile

import (
	"fmt"
	"sync"

	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/safetensors"
)

// File is a file mapped read-only. All methods but Close may be called by many
// goroutines at once.
type File struct {
	contents *Contents
	byName   map[string]int
	data     *mmap.Map

	mu   sync.Mutex
	made map[string][]byte // tensors put in order, until they are released
}

// Open reads what a file holds and maps it.
func Open(path string) (*File, error) {
	f, info, err := mmap.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := ReadContents(f, info.Size(), path)
	if err != nil {
		return nil, err
	}
	data, err := mmap.New(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	byName := make(map[string]int, len(c.Tensors))
	for i := range c.Tensors {
		byName[c.Tensors[i].Name] = i
	}
	return &File{contents: c, byName: byName, data: data, made: make(map[string][]byte)}, nil
}

// Contents returns what the file holds, which the caller must not change.
func (f *File) Contents() *Contents { return f.contents }

// Tensor returns the description of a tensor.
func (f *File) Tensor(name string) (safetensors.Tensor, bool) {
	i, ok := f.byName[name]
	if !ok {
		return safetensors.Tensor{}, false
	}
	return f.contents.Tensors[i].Tensor, true
}

// Data returns the bytes of a tensor of this file, row by row, least significant
// byte first. Where they lie so in the file they are the mapping's: nothing is
// read until they are touched, writing to them faults, and they are valid until
// Close. Else they are put in order in memory of their own, which is kept until
// Release. It panics when t is not a tensor of this file or the file is closed.
func (f *File) Data(t safetensors.Tensor) []byte {
	whole := f.tensor(t)
	if whole.InPlace() {
		return f.data.Bytes(t.Offset, t.Bytes)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	data, ok := f.made[t.Name]
	if !ok {
		data = make([]byte, t.Bytes)
		whole.gather(data, f.data.Bytes(t.Offset, whole.span), 0)
		f.data.Release(t.Offset, whole.span)
		f.made[t.Name] = data
	}
	return data
}

// Read fills dst with the bytes of a tensor from a byte on, as Data has them,
// without keeping anything. From and the length of dst are multiples of the
// element's size.
func (f *File) Read(t safetensors.Tensor, dst []byte, from int64) {
	whole := f.tensor(t)
	whole.gather(dst, f.data.Bytes(t.Offset, whole.span), from)
}

// Prefetch asks the system to read a tensor ahead. It is a hint and does not wait.
func (f *File) Prefetch(t safetensors.Tensor) { f.data.Prefetch(t.Offset, f.tensor(t).span) }

// Populate reads a tensor into the process's memory and returns when it is there,
// or at once where the system cannot.
func (f *File) Populate(t safetensors.Tensor) {
	if f.tensor(t).InPlace() {
		f.data.Populate(t.Offset, t.Bytes)
	} else {
		f.Data(t)
	}
}

// Release lets the memory of a tensor go. Slices that Data returned stay valid.
// Of a tensor that is InPlace, t may be a part: its Offset and Bytes count.
func (f *File) Release(t safetensors.Tensor) {
	whole := f.tensor(t)
	if whole.InPlace() {
		f.data.Release(t.Offset, t.Bytes)
		return
	}
	f.data.Release(t.Offset, whole.span)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.made, t.Name)
}

func (f *File) tensor(t safetensors.Tensor) *Tensor { return &f.contents.Tensors[f.byName[t.Name]] }

// Close unmaps the file. Slices from Data must not be touched any more.
func (f *File) Close() error { return f.data.Close() }
