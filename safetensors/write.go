package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Entry is one tensor to write, with its data.
type Entry struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
}

// Write writes a whole file: the header, then the data in the order given.
func Write(w io.Writer, metadata map[string]string, entries []Entry) error {
	tensors := make([]Tensor, len(entries))
	for i, e := range entries {
		tensors[i] = Tensor{Name: e.Name, DType: e.DType, Shape: e.Shape}
		n, _ := byteSize(e.DType, e.Shape)
		if n != int64(len(e.Data)) {
			return fmt.Errorf("tensor %q: %s %v takes %d bytes but its data has %d", e.Name, e.DType, e.Shape, n, len(e.Data))
		}
	}
	if _, err := WriteHeader(w, tensors, metadata); err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := w.Write(e.Data); err != nil {
			return fmt.Errorf("write tensor %q: %w", e.Name, err)
		}
	}
	return nil
}

// WriteHeader writes the header of a file whose data follow in the order of
// tensors, without gaps. Only name, dtype and shape of each are used. It
// returns where the data start.
func WriteHeader(w io.Writer, tensors []Tensor, metadata map[string]string) (dataStart int64, err error) {
	raw, err := AppendHeader(nil, tensors, metadata)
	if err != nil {
		return 0, err
	}
	if _, err := w.Write(raw); err != nil {
		return 0, fmt.Errorf("write header: %w", err)
	}
	return int64(len(raw)), nil
}

// AppendHeader appends to dst what WriteHeader writes. The same arguments give
// the same bytes; a nil metadata is left out, an empty one is not. The header
// is padded with spaces so that the data start at a multiple of eight.
func AppendHeader(dst []byte, tensors []Tensor, metadata map[string]string) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, lengthBytes)...)
	dst = append(dst, '{')
	if metadata != nil {
		dst = appendMetadata(dst, metadata)
	}
	seen := make(map[string]bool, len(tensors))
	var at int64
	for i, t := range tensors {
		if seen[t.Name] {
			return nil, fmt.Errorf("tensor %q is given twice", t.Name)
		}
		seen[t.Name] = true
		if i > 0 || metadata != nil {
			dst = append(dst, ',')
		}
		var err error
		if dst, at, err = appendTensor(dst, t, at); err != nil {
			return nil, err
		}
	}
	dst = append(dst, '}')
	for (len(dst)-start)%8 != 0 {
		dst = append(dst, ' ')
	}
	n := len(dst) - start - lengthBytes
	if n > maxHeader {
		return nil, fmt.Errorf("header of %d bytes is over the format's limit of %d: write fewer tensors a file", n, maxHeader)
	}
	binary.LittleEndian.PutUint64(dst[start:], uint64(n))
	return dst, nil
}

func appendMetadata(dst []byte, metadata map[string]string) []byte {
	dst = appendString(dst, metadataKey)
	dst = append(dst, ':', '{')
	for i, key := range slices.Sorted(maps.Keys(metadata)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, key)
		dst = append(dst, ':')
		dst = appendString(dst, metadata[key])
	}
	return append(dst, '}')
}

// appendTensor appends the entry of a tensor that starts at the given offset
// in the data, and returns where it ends.
func appendTensor(dst []byte, t Tensor, at int64) ([]byte, int64, error) {
	if t.DType.Bits() == 0 {
		return nil, 0, fmt.Errorf("tensor %q: unknown dtype %q", t.Name, t.DType)
	}
	if t.Name == metadataKey || !utf8.ValidString(t.Name) {
		return nil, 0, fmt.Errorf("tensor %q: the format does not allow this name", t.Name)
	}
	n, problem := byteSize(t.DType, t.Shape)
	if problem != "" || n > math.MaxInt64-at {
		return nil, 0, fmt.Errorf("tensor %q: %s", t.Name, problem)
	}
	dst = appendString(dst, t.Name)
	dst = append(dst, `:{"dtype":"`+string(t.DType)+`","shape":[`...)
	for i, dim := range t.Shape {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(dim), 10)
	}
	dst = append(dst, `],"data_offsets":[`...)
	dst = strconv.AppendInt(dst, at, 10)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, at+n, 10)
	return append(dst, ']', '}'), at + n, nil
}

// appendString appends a JSON string without the HTML escapes of json.Marshal,
// so that names read in the file as they are.
func appendString(dst []byte, s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	// Encoding a string cannot fail: invalid UTF-8 is replaced.
	_ = enc.Encode(s)
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}
