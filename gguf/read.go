package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"unicode/utf8"
)

// What is read of a stranger's file is bounded; the largest published files have
// vocabularies of 262,144 tokens and some thousand tensors.
const (
	maxKeys    = 1 << 16
	maxTensors = 1 << 18
	maxName    = 1 << 16
	maxDims    = 4
	maxNested  = 2
	maxHeader  = 1 << 30
)

// kind is the type of a value.
type kind uint32

const (
	kindUint8 kind = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindList
	kindUint64
	kindInt64
	kindFloat64
)

// Open reads the head of a file.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &FormatError{Path: path, Problem: "it is not a regular file"}
	}
	return Read(f, info.Size(), path)
}

// Read reads the head of a file of size bytes; path is for errors, which are
// *FormatError where the file is at fault. Every tensor is checked to lie in the
// file, aligned, and no two to overlap.
func Read(from io.ReaderAt, size int64, path string) (*File, error) {
	r := &reader{from: from, size: size, path: path}
	f := &File{Size: size, Alignment: DefaultAlignment}
	keys, tensors := r.head(f)
	for i := uint64(0); i < keys && r.err == nil; i++ {
		f.Keys = append(f.Keys, r.key(f))
	}
	for i := uint64(0); i < tensors && r.err == nil; i++ {
		f.Tensors = append(f.Tensors, r.tensor())
	}
	r.what = ""
	if r.err == nil {
		f.Data = align(r.at, f.Alignment)
		r.place(f)
	}
	if r.err != nil {
		return nil, r.err
	}
	return f, nil
}

// reader reads forward; after an error it gives zeros.
type reader struct {
	from  io.ReaderAt
	size  int64
	path  string
	at    int64  // of the next byte
	what  string // key or tensor that is read
	names map[string]bool
	buf   []byte // read ahead: bytes [start, start+len)
	start int64
	err   error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = &FormatError{Path: r.path, Offset: r.at, What: r.what, Problem: fmt.Sprintf(format, args...)}
	}
}

// next returns n bytes, which are valid until the next call; nil after an error.
func (r *reader) next(n int64) []byte {
	switch {
	case r.err != nil:
		return nil
	case n > r.size-r.at:
		r.fail("%d bytes are said to follow, and the file ends after %d", n, r.size-r.at)
		return nil
	case r.at+n > maxHeader:
		r.fail("what stands before the tensors takes more than %d bytes", maxHeader)
		return nil
	}
	if r.at < r.start || r.at+n > r.start+int64(len(r.buf)) {
		want := min(max(n, 1<<16), r.size-r.at)
		r.buf, r.start = make([]byte, want), r.at
		if got, err := r.from.ReadAt(r.buf, r.at); int64(got) < want {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			r.err = fmt.Errorf("%s: at byte %d: %w", r.path, r.at, err)
			return nil
		}
	}
	from := r.at - r.start
	r.at += n
	return r.buf[from : from+n]
}

func (r *reader) uint32() uint32 {
	if b := r.next(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.next(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// length reads how many things follow, of which each takes at least size bytes.
func (r *reader) length(size int64, of string) int64 {
	n := r.uint64()
	if r.err == nil && n > uint64((r.size-r.at)/size) {
		r.fail("%d %s are said to follow, more than the file has room for", n, of)
		return 0
	}
	return int64(n)
}

func (r *reader) text() string { return string(r.next(r.length(1, "bytes of text"))) }

// head reads what comes first.
func (r *reader) head(f *File) (keys, tensors uint64) {
	if b := r.next(4); r.err == nil && string(b) != magic {
		r.at = 0
		r.fail("it does not begin with %s: it is no GGUF file", magic)
	}
	f.Version = r.uint32()
	switch {
	case r.err != nil:
	case f.Version == version<<24 || f.Version == 2<<24:
		r.fail("it is big-endian, which is not read")
	case f.Version != version && f.Version != 2:
		r.fail("version %d: 2 and %d are read", f.Version, version)
	}
	tensors, keys = r.uint64(), r.uint64()
	if r.err == nil && (keys > maxKeys || tensors > maxTensors) {
		r.fail("%d keys and %d tensors: at most %d and %d are read", keys, tensors, maxKeys, maxTensors)
	}
	return keys, tensors
}

// name reads the name of a key or a tensor and refuses a second of that name.
func (r *reader) name(of string) string {
	n := r.length(1, "bytes of a name")
	if r.err == nil && (n == 0 || n > maxName) {
		r.fail("a name of %d bytes", n)
	}
	name := string(r.next(n))
	if r.err == nil && !utf8.ValidString(name) {
		r.fail("a name that is not UTF-8: %q", name)
	}
	r.what = fmt.Sprintf("%s %q", of, name)
	if r.names == nil {
		r.names = map[string]bool{}
	}
	if r.err == nil && r.names[r.what] {
		r.fail("it is there twice")
	}
	r.names[r.what] = true
	return name
}

func (r *reader) key(f *File) Key {
	k := Key{Name: r.name("key")}
	k.Value = r.value(kind(r.uint32()), 0)
	if k.Name != alignmentKey || r.err != nil {
		return k
	}
	n, ok := k.Value.(uint32)
	if !ok || n == 0 || n&(n-1) != 0 || n > 1<<20 {
		r.fail("%v: want a power of two", k.Value)
	}
	f.Alignment = int64(n)
	return k
}

// size is how many bytes a value of fixed size takes, 0 for others.
func (k kind) size() int64 {
	switch k {
	case kindUint8, kindInt8, kindBool:
		return 1
	case kindUint16, kindInt16:
		return 2
	case kindUint32, kindInt32, kindFloat32:
		return 4
	case kindUint64, kindInt64, kindFloat64:
		return 8
	}
	return 0
}

// number reads a value of fixed size.
func (r *reader) number(k kind) any {
	var b [8]byte
	copy(b[:], r.next(k.size()))
	v := binary.LittleEndian.Uint64(b[:])
	switch k {
	case kindUint8:
		return uint8(v)
	case kindInt8:
		return int8(v)
	case kindUint16:
		return uint16(v)
	case kindInt16:
		return int16(v)
	case kindUint32:
		return uint32(v)
	case kindInt32:
		return int32(v)
	case kindFloat32:
		return math.Float32frombits(uint32(v))
	case kindBool:
		if v > 1 {
			r.fail("%d is neither true nor false", v)
		}
		return v == 1
	case kindInt64:
		return int64(v)
	case kindFloat64:
		return math.Float64frombits(v)
	}
	return v
}

func (r *reader) value(k kind, depth int) any {
	switch {
	case k.size() > 0:
		return r.number(k)
	case k == kindString:
		return r.text()
	case k == kindList && depth < maxNested:
		return r.list(depth)
	case k == kindList:
		r.fail("lists of lists of lists")
	default:
		r.fail("a value of type %d, which is not known", k)
	}
	return nil
}

// list reads a list, typed where its elements are no lists.
func (r *reader) list(depth int) any {
	of := kind(r.uint32())
	n := r.length(max(of.size(), 1), "values of a list")
	switch of {
	case kindUint8:
		return listOf[uint8](r, of, n)
	case kindInt8:
		return listOf[int8](r, of, n)
	case kindUint16:
		return listOf[uint16](r, of, n)
	case kindInt16:
		return listOf[int16](r, of, n)
	case kindUint32:
		return listOf[uint32](r, of, n)
	case kindInt32:
		return listOf[int32](r, of, n)
	case kindFloat32:
		return listOf[float32](r, of, n)
	case kindBool:
		return listOf[bool](r, of, n)
	case kindUint64:
		return listOf[uint64](r, of, n)
	case kindInt64:
		return listOf[int64](r, of, n)
	case kindFloat64:
		return listOf[float64](r, of, n)
	case kindString:
		var out []string
		for i := int64(0); i < n && r.err == nil; i++ {
			out = append(out, r.text())
		}
		return out
	}
	var out []any
	for i := int64(0); i < n && r.err == nil; i++ {
		out = append(out, r.value(of, depth+1))
	}
	return out
}

// listOf reads numbers. Its memory grows with what was read, not with what is said.
func listOf[T any](r *reader, of kind, n int64) []T {
	var out []T
	for i := int64(0); i < n && r.err == nil; i++ {
		v, _ := r.number(of).(T)
		out = append(out, v)
	}
	return out
}

func (r *reader) tensor() Tensor {
	t := Tensor{Name: r.name("tensor")}
	dims := r.uint32()
	if r.err == nil && (dims == 0 || dims > maxDims) {
		r.fail("%d dimensions: want 1 to %d", dims, maxDims)
		return t
	}
	for range dims {
		d := r.uint64()
		if r.err == nil && (d == 0 || d > math.MaxInt64) {
			r.fail("a dimension of %d", d)
		}
		t.Shape = append(t.Shape, int64(d))
	}
	slices.Reverse(t.Shape)
	t.Type = Type(r.uint32())
	offset := r.uint64()
	if r.err != nil {
		return t
	}
	var err error
	if t.Bytes, err = t.Type.Bytes(t.Shape); err != nil {
		r.fail("%v", err)
	}
	if offset > uint64(r.size) {
		r.fail("it is said to begin at byte %d of the tensors, in a file of %d bytes", offset, r.size)
	}
	t.Offset = int64(offset)
	return t
}

// place makes offsets those in the file and checks where tensors lie.
func (r *reader) place(f *File) {
	order := make([]*Tensor, len(f.Tensors))
	for i := range f.Tensors {
		t := &f.Tensors[i]
		r.what = fmt.Sprintf("tensor %q", t.Name)
		if t.Offset%f.Alignment != 0 {
			r.fail("it begins at %d, which is no multiple of %d", t.Offset, f.Alignment)
		}
		t.Offset += f.Data
		if t.Bytes > r.size-t.Offset {
			r.fail("its %d bytes from byte %d on reach beyond the end of the file, at %d", t.Bytes, t.Offset, r.size)
		}
		order[i] = t
	}
	slices.SortFunc(order, func(a, b *Tensor) int { return int(max(-1, min(1, a.Offset-b.Offset))) })
	for i := 1; i < len(order); i++ {
		if before := order[i-1]; before.Offset+before.Bytes > order[i].Offset {
			r.what = fmt.Sprintf("tensor %q", order[i].Name)
			r.fail("it begins within tensor %q", before.Name)
		}
	}
	r.what = ""
}
