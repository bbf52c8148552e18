package torchfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/coppice-ml/coppice/safetensors"
)

// Contents is what a file holds.
type Contents struct {
	// Tensors in the order of the state dict. Two may share bytes.
	Tensors []Tensor
	// Storages that tensors use, in that order too.
	Storages []Storage
}

// Storage is a run of bytes in the file.
type Storage struct {
	Offset, Bytes int64
	// CRC32 is the checksum (IEEE) that the archive gives; 0 where it has none.
	CRC32 uint32
}

// ReadContents reads what a file of the given size holds, without its tensors'
// bytes. The path is used in errors, which are *FormatError for anything wrong
// with the content, or refused in it.
func ReadContents(r io.ReaderAt, size int64, path string) (*Contents, error) {
	head := make([]byte, min(size, 512))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var c *Contents
	var err error
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		c, err = readArchive(r, size, path)
	case len(head) > 1 && opcode(head[0]) == opProto:
		c, err = readStream(r, size, path)
	default:
		return nil, unknownFormat(head, path)
	}
	var format *FormatError
	if errors.As(err, &format) {
		format.Path = path
	}
	return c, err
}

func unknownFormat(head []byte, path string) error {
	e := &FormatError{Path: path, Problem: "this is not a file that torch.save wrote", Remedy: safetensors.NotWeights(head)}
	switch {
	case len(head) == 0:
		e.Problem = "the file is empty"
	case len(head) == 512 && string(head[257:262]) == "ustar":
		e.Problem, e.Remedy = "this is a tar archive, as PyTorch wrote before 0.1.10", saveAgain
	}
	return e
}

// locate finds where a storage lies in the file.
type locate func(s *storage) (Storage, error)

// contents takes the state dict apart: a dict of names and tensors.
func contents(top any, find locate, bigEndian bool) (*Contents, error) {
	state, ok := top.(*dict)
	if !ok {
		return nil, &FormatError{Problem: fmt.Sprintf("the file holds %s, not a state dict", kindOf(top)), Remedy: saveAgain}
	}
	c := &Contents{}
	seen := make(map[string]bool, len(state.pairs))
	places := make(map[string]Storage)
	for _, p := range state.pairs {
		name, ok := p.key.(string)
		if !ok {
			return nil, &FormatError{Problem: fmt.Sprintf("a key of the state dict is %s, not a name", kindOf(p.key)), Remedy: saveAgain}
		}
		d, ok := p.value.(*described)
		switch {
		case !ok:
			return nil, &FormatError{Tensor: name, Remedy: saveAgain,
				Problem: fmt.Sprintf("it is %s, not a tensor: this is not the state dict of a model", kindOf(p.value))}
		case seen[name]:
			return nil, &FormatError{Tensor: name, Problem: "the state dict names it twice"}
		}
		seen[name] = true
		at, known := places[d.storage.key]
		if !known {
			var err error
			if at, err = find(d.storage); err != nil {
				return nil, named(err, name)
			}
			places[d.storage.key] = at
			c.Storages = append(c.Storages, at)
		}
		if at.Bytes < d.storage.bytes() {
			return nil, &FormatError{Tensor: name, Offset: at.Offset,
				Problem: fmt.Sprintf("its storage (%q) has %d bytes, the pickle promises %d", d.storage.key, at.Bytes, d.storage.bytes())}
		}
		t, err := d.place(name, at, bigEndian)
		if err != nil {
			return nil, err
		}
		c.Tensors = append(c.Tensors, t)
	}
	return c, nil
}

// named puts the tensor into an error about its storage.
func named(err error, tensor string) error {
	var format *FormatError
	if errors.As(err, &format) {
		format.Tensor = tensor
	}
	return err
}
