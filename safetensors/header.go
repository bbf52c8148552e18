package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
)

const (
	lengthBytes = 8
	// maxHeader is the cap of the reference implementation, so that a length
	// made of noise never leads to a huge allocation.
	maxHeader = 100_000_000
	// maxTensors and maxDims bound what a header may make of its bytes: the
	// largest published models have a tenth of it.
	maxTensors = 1 << 18
	maxDims    = 64
)

// Tensor describes one tensor of a file. Offset counts from the start of the
// file, not from the start of the data as the header does.
type Tensor struct {
	Name   string
	DType  DType
	Shape  []int
	Offset int64
	Bytes  int64
}

// Elements returns the product of the shape; a scalar (no dimensions) has one.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= int64(d)
	}
	return n
}

// End returns the offset of the first byte after the tensor.
func (t Tensor) End() int64 { return t.Offset + t.Bytes }

// Header is a validated header. Tensors are in offset order and cover the file
// from DataStart to its end without gaps.
type Header struct {
	Metadata  map[string]string
	Tensors   []Tensor
	DataStart int64
}

// ReadHeader reads and validates the header of a file of the given size. It
// reads only the header. The path is used in errors, which are *FormatError
// for anything wrong with the content.
func ReadHeader(r io.ReaderAt, size int64, path string) (*Header, error) {
	raw, err := readRaw(r, size, path)
	if err != nil {
		return nil, err
	}
	p := newParser(raw, path)
	h, err := p.header()
	if err != nil {
		return nil, err
	}
	h.DataStart = lengthBytes + int64(len(raw))
	if err := h.place(size, path); err != nil {
		return nil, err
	}
	return h, nil
}

// readRaw returns the JSON text, having checked the length in front of it.
func readRaw(r io.ReaderAt, size int64, path string) ([]byte, error) {
	fail := func(problem string) error { return &FormatError{Path: path, Problem: problem} }
	var head [256]byte
	first := head[:min(size, int64(len(head)))]
	if _, err := r.ReadAt(first, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if remedy := NotWeights(first); remedy != "" {
		return nil, &FormatError{Path: path, Problem: "this is not a safetensors file", Remedy: remedy}
	}
	if size < lengthBytes {
		return nil, fail(fmt.Sprintf("%d bytes is too short for a header length", size))
	}
	n := binary.LittleEndian.Uint64(first)
	switch {
	case n < 2:
		return nil, fail(fmt.Sprintf("header length %d is too small", n))
	case n > maxHeader:
		return nil, fail(fmt.Sprintf("header length %d is over the limit of %d", n, maxHeader))
	case n > uint64(size-lengthBytes):
		missing := n - uint64(size-lengthBytes)
		return nil, fail(fmt.Sprintf("the header takes %d bytes but the file ends %d bytes before that", n, missing))
	}
	raw := make([]byte, n)
	if _, err := r.ReadAt(raw, lengthBytes); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read header of %s: %w", path, err)
	}
	return raw, nil
}

// NotWeights recognises the two things that most often sit where weights
// should be by the first bytes of a file, and returns what to do about them.
func NotWeights(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return "it is a Git LFS pointer: fetch the file itself with `git lfs pull`"
	case bytes.HasPrefix(bytes.ToLower(bytes.TrimSpace(head)), []byte("<!doctype")),
		bytes.HasPrefix(bytes.ToLower(bytes.TrimSpace(head)), []byte("<html")):
		return "it is a web page, often a login or error page: download the file itself"
	}
	return ""
}

// place turns header offsets into file offsets, sorts the tensors by them, and
// checks that they lie in the file, have the right size and leave no gap.
func (h *Header) place(size int64, path string) error {
	for i := range h.Tensors {
		if err := h.Tensors[i].checkSize(path); err != nil {
			return err
		}
		if h.Tensors[i].End() > math.MaxInt64-h.DataStart {
			return &FormatError{Path: path, Tensor: h.Tensors[i].Name, Offset: h.Tensors[i].Offset,
				Problem: "its end offset overflows"}
		}
		h.Tensors[i].Offset += h.DataStart
	}
	slices.SortStableFunc(h.Tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.End(), b.End()))
	})
	return h.checkCover(size, path)
}

func (h *Header) checkCover(size int64, path string) error {
	at := h.DataStart
	for i, t := range h.Tensors {
		fail := func(format string, args ...any) error {
			return &FormatError{Path: path, Tensor: t.Name, Offset: t.Offset, Problem: fmt.Sprintf(format, args...)}
		}
		switch {
		case t.Offset < at:
			return fail("it starts %d bytes inside %q", at-t.Offset, h.Tensors[i-1].Name)
		case t.Offset > at:
			return fail("there is a hole of %d bytes before it", t.Offset-at)
		}
		at = t.End()
	}
	switch {
	case at > size:
		return h.truncated(at, size, path)
	case at < size:
		return &FormatError{Path: path, Offset: at,
			Problem: fmt.Sprintf("%d bytes follow the last tensor", size-at)}
	}
	return nil
}

// truncated names the first tensor that the file does not hold completely.
func (h *Header) truncated(want, size int64, path string) error {
	i := slices.IndexFunc(h.Tensors, func(t Tensor) bool { return t.End() > size })
	t := h.Tensors[i]
	return &FormatError{Path: path, Tensor: t.Name, Offset: t.Offset, Problem: fmt.Sprintf(
		"the file is truncated: %d bytes are missing (it has %d, the header promises %d)", want-size, size, want)}
}

// checkSize compares the bytes between a tensor's offsets with its shape.
func (t *Tensor) checkSize(path string) error {
	want, problem := byteSize(t.DType, t.Shape)
	if problem == "" && want != t.Bytes {
		problem = fmt.Sprintf("%s %v takes %d bytes but its offsets span %d", t.DType, t.Shape, want, t.Bytes)
	}
	if problem != "" {
		return &FormatError{Path: path, Tensor: t.Name, Offset: t.Offset, Problem: problem}
	}
	return nil
}

// byteSize returns the bytes of a tensor, or what is wrong with its shape.
func byteSize(d DType, shape []int) (n int64, problem string) {
	limit := int64(math.MaxInt64 / 64)
	n = 1
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Sprintf("shape %v has a negative dimension", shape)
		}
		if dim > 0 && n > limit/int64(dim) {
			return 0, fmt.Sprintf("shape %v overflows", shape)
		}
		n *= int64(dim)
	}
	n *= int64(d.Bits())
	if n%8 != 0 {
		return 0, fmt.Sprintf("%s %v does not fill whole bytes", d, shape)
	}
	return n / 8, ""
}
