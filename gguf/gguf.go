// Package gguf reads and writes GGUF, the file format of llama.cpp: keys with
// values, tensors by name, their bytes aligned behind.
//
// Only the container belongs here. Which keys a model needs, how tensors are
// called and what becomes of their values is package export's; bytes of tensors
// are copied by whoever has them. A file is taken for a stranger's: every length
// is bounded by the file's size before memory is set aside for it.
//
// Source: docs/gguf.md of github.com/ggml-org/ggml.
package gguf

import (
	"errors"
	"fmt"
	"math"
)

const (
	magic   = "GGUF"
	version = 3

	// DefaultAlignment is the multiple of bytes at which tensors begin where
	// general.alignment does not say otherwise.
	DefaultAlignment = 32
	alignmentKey     = "general.alignment"
)

// Type is how a tensor's elements are stored.
type Type uint32

// The types that are written.
const (
	F32  Type = 0
	F16  Type = 1
	Q8_0 Type = 8
	BF16 Type = 30
)

// layout is the size of a block of elements.
type layout struct {
	name            string
	elements, bytes int64
}

// layouts are those that ggml has had; quantised types keep elements in blocks.
func layouts() map[Type]layout {
	return map[Type]layout{
		F32: {"F32", 1, 4}, F16: {"F16", 1, 2}, BF16: {"BF16", 1, 2}, 28: {"F64", 1, 8},
		24: {"I8", 1, 1}, 25: {"I16", 1, 2}, 26: {"I32", 1, 4}, 27: {"I64", 1, 8},
		2: {"Q4_0", 32, 18}, 3: {"Q4_1", 32, 20}, 6: {"Q5_0", 32, 22}, 7: {"Q5_1", 32, 24}, Q8_0: {"Q8_0", 32, 34}, 9: {"Q8_1", 32, 36},
		10: {"Q2_K", 256, 84}, 11: {"Q3_K", 256, 110}, 12: {"Q4_K", 256, 144}, 13: {"Q5_K", 256, 176}, 14: {"Q6_K", 256, 210}, 15: {"Q8_K", 256, 292},
		16: {"IQ2_XXS", 256, 66}, 17: {"IQ2_XS", 256, 74}, 18: {"IQ3_XXS", 256, 98}, 19: {"IQ1_S", 256, 50}, 20: {"IQ4_NL", 32, 18},
		21: {"IQ3_S", 256, 110}, 22: {"IQ2_S", 256, 82}, 23: {"IQ4_XS", 256, 136}, 29: {"IQ1_M", 256, 56},
		34: {"TQ1_0", 256, 54}, 35: {"TQ2_0", 256, 66}, 39: {"MXFP4", 32, 17},
	}
}

func (t Type) String() string {
	if l, ok := layouts()[t]; ok {
		return l.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Block is how many elements of a row are stored together, and in how many bytes;
// 0 for a type that is not known.
func (t Type) Block() (elements, bytes int64) {
	l := layouts()[t]
	return l.elements, l.bytes
}

// Bytes is the size of a tensor. Shape is row major, the longest stride first; the
// last dimension, a row, must be whole blocks. It fails for a type that is not
// known and where the size does not fit an int64.
func (t Type) Bytes(shape []int64) (int64, error) {
	elements, size := t.Block()
	if size == 0 {
		return 0, fmt.Errorf("%v is not known", t)
	}
	if len(shape) == 0 {
		return 0, errors.New("no dimensions")
	}
	if row := shape[len(shape)-1]; row%elements != 0 {
		return 0, fmt.Errorf("rows of %d elements are not whole blocks of %d, which %v has", row, elements, t)
	}
	n := int64(1)
	for _, d := range shape {
		if d <= 0 || n > math.MaxInt64/d {
			return 0, fmt.Errorf("shape %v: dimensions must be positive, and their product fit 63 bits", shape)
		}
		n *= d
	}
	if n/elements > math.MaxInt64/size {
		return 0, fmt.Errorf("shape %v of %v: too large", shape, t)
	}
	return n / elements * size, nil
}

// Tensor describes one tensor.
type Tensor struct {
	Name   string
	Type   Type
	Shape  []int64 // row major, as in a checkpoint: [rows, columns]; the file has them the other way round
	Offset int64   // of the first byte in the file
	Bytes  int64
}

// Key is a key with its value: uint8 … uint64, int8 … int64, float32, float64,
// bool, string, or a slice of one of these ([]string, []int32, []any for lists of
// lists).
type Key struct {
	Name  string
	Value any
}

// File is what a file holds, but for the bytes of tensors.
type File struct {
	Version   uint32
	Alignment int64
	Keys      []Key    // in the file's order
	Tensors   []Tensor // in the file's order
	Data      int64    // offset of the first tensor's bytes
	Size      int64    // of the whole file
}

// Value returns the value of a key, nil where the file lacks it.
func (f *File) Value(name string) any {
	for _, k := range f.Keys {
		if k.Name == name {
			return k.Value
		}
	}
	return nil
}

// FormatError is what is wrong with a file, and where.
type FormatError struct {
	Path    string
	Offset  int64  // of the byte at which reading stopped
	What    string // the key or tensor at fault; "" where it is neither
	Problem string
}

func (e *FormatError) Error() string {
	what := ""
	if e.What != "" {
		what = e.What + ": "
	}
	return fmt.Sprintf("%s: at byte %d: %s%s; get it again, or export the model anew", e.Path, e.Offset, what, e.Problem)
}

// align rounds up.
func align(n, to int64) int64 { return (n + to - 1) / to * to }
