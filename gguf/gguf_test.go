package gguf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/gguf"
)

func keys() []gguf.Key {
	return []gguf.Key{
		{Name: "general.architecture", Value: "llama"}, {Name: "a.uint", Value: uint32(7)}, {Name: "a.int", Value: int32(-7)},
		{Name: "a.large", Value: uint64(1) << 40}, {Name: "a.float", Value: float32(1e-5)}, {Name: "a.true", Value: true}, {Name: "a.false", Value: false},
		{Name: "words", Value: []string{"<s>", "", "▁a\n"}}, {Name: "scores", Value: []float32{0, -1.5}}, {Name: "kinds", Value: []int32{3, 6, 1}},
	}
}

func tensors() []gguf.Tensor {
	return []gguf.Tensor{
		{Name: "norm", Type: gguf.F32, Shape: []int64{5}}, {Name: "q8", Type: gguf.Q8_0, Shape: []int64{3, 64}},
		{Name: "half", Type: gguf.F16, Shape: []int64{2, 3}}, {Name: "brain", Type: gguf.BF16, Shape: []int64{4, 1}},
	}
}

// file is a whole file of zeros behind its head.
func file(t *testing.T) ([]byte, []gguf.Tensor) {
	t.Helper()
	ts := tensors()
	head, size, err := gguf.Head(keys(), ts)
	if err != nil {
		t.Fatal(err)
	}
	return append(head, make([]byte, size-int64(len(head)))...), ts
}

func read(raw []byte) (*gguf.File, error) {
	return gguf.Read(bytes.NewReader(raw), int64(len(raw)), "m.gguf")
}

// What is written is what is read, and each size is as ggml has it.
func TestRoundTrip(t *testing.T) {
	raw, ts := file(t)
	f, err := read(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keys(), f.Keys); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(ts, f.Tensors); diff != "" {
		t.Error(diff)
	}
	for i, want := range []int64{20, 3 * 2 * 34, 12, 8} {
		if got := f.Tensors[i]; got.Bytes != want || got.Offset%32 != 0 {
			t.Errorf("%s: %d bytes at %d, want %d, aligned", got.Name, got.Bytes, got.Offset, want)
		}
	}
	if f.Value("a.uint") != uint32(7) || f.Value("none") != nil || f.Version != 3 || f.Data%32 != 0 {
		t.Errorf("values: %v, %v; version %d, data at %d", f.Value("a.uint"), f.Value("none"), f.Version, f.Data)
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if g, err := gguf.Open(path); err != nil || len(g.Keys) != len(f.Keys) {
		t.Errorf("open: %v", err)
	}
}

// The head, byte by byte, of the smallest file that has both a key and a tensor.
func TestBytes(t *testing.T) {
	head, size, err := gguf.Head([]gguf.Key{{Name: "k", Value: uint32(258)}}, []gguf.Tensor{{Name: "t", Type: gguf.BF16, Shape: []int64{2, 3}}})
	if err != nil {
		t.Fatal(err)
	}
	want := "GGUF\x03\x00\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x00" +
		"\x01\x00\x00\x00\x00\x00\x00\x00k" + "\x04\x00\x00\x00" + "\x02\x01\x00\x00" +
		"\x01\x00\x00\x00\x00\x00\x00\x00t" + "\x02\x00\x00\x00" + "\x03\x00\x00\x00\x00\x00\x00\x00" + "\x02\x00\x00\x00\x00\x00\x00\x00" +
		"\x1e\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00"
	want += strings.Repeat("\x00", 96-len(want))
	if string(head) != want || size != 96+32 {
		t.Errorf("%q\nwant\n%q; size %d", head, want, size)
	}
}

func TestNotWritten(t *testing.T) {
	for name, c := range map[string]struct {
		keys    []gguf.Key
		tensors []gguf.Tensor
	}{
		"a value of another type":     {keys: []gguf.Key{{Name: "k", Value: 1}}},
		"rows that are not blocks":    {tensors: []gguf.Tensor{{Name: "t", Type: gguf.Q8_0, Shape: []int64{2, 40}}}},
		"a type that is not known":    {tensors: []gguf.Tensor{{Name: "t", Type: 99, Shape: []int64{2}}}},
		"a tensor without dimensions": {tensors: []gguf.Tensor{{Name: "t"}}},
		"a size beyond 63 bits":       {tensors: []gguf.Tensor{{Name: "t", Shape: []int64{1 << 40, 1 << 40}}}},
	} {
		if _, _, err := gguf.Head(c.keys, c.tensors); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}

// Every lie of a head is refused, with the place.
func TestLies(t *testing.T) {
	at := func(raw []byte, what string) int { return bytes.Index(raw, []byte(what)) }
	put32 := func(raw []byte, at int, v uint32) { binary.LittleEndian.PutUint32(raw[at:], v) }
	put64 := func(raw []byte, at int, v uint64) { binary.LittleEndian.PutUint64(raw[at:], v) }
	// after the name of q8: dimensions, shape, type, offset
	q8 := func(raw []byte, field int) int { return at(raw, "q8") + 2 + field }
	for _, c := range []struct {
		name string
		lie  func(raw []byte) []byte
		want string
	}{
		{"empty", func([]byte) []byte { return nil }, "the file ends"},
		{"another magic", func(raw []byte) []byte { raw[0] = 'X'; return raw }, "no GGUF file"},
		{"version 1", func(raw []byte) []byte { put32(raw, 4, 1); return raw }, "version 1"},
		{"big-endian", func(raw []byte) []byte { put32(raw, 4, 3<<24); return raw }, "big-endian"},
		{"a million tensors", func(raw []byte) []byte { put64(raw, 8, 1e6); return raw }, "tensors: at most"},
		{"one tensor more", func(raw []byte) []byte { put64(raw, 8, 5); return raw }, "a name of 0 bytes"},
		{"2^60 keys", func(raw []byte) []byte { put64(raw, 16, 1<<60); return raw }, "keys"},
		{"one key more", func(raw []byte) []byte { put64(raw, 16, uint64(len(keys())+1)); return raw }, "a name of 0 bytes"},
		{"a name beyond the file", func(raw []byte) []byte { put64(raw, 24, 1<<40); return raw }, "more than the file has room for"},
		{"a name of negative length", func(raw []byte) []byte { put64(raw, 24, 1<<63); return raw }, "more than the file has room for"},
		{"a name that is not UTF-8", func(raw []byte) []byte { raw[32] = 0xff; return raw }, "not UTF-8"},
		{"a value of unknown type", func(raw []byte) []byte { put32(raw, at(raw, "a.uint")+6, 77); return raw }, "type 77"},
		{"a bool that is 2", func(raw []byte) []byte { raw[at(raw, "a.true")+10] = 2; return raw }, "neither true nor false"},
		{"a list beyond the file", func(raw []byte) []byte { put64(raw, at(raw, "words")+13, 1<<40); return raw }, "values of a list"},
		{"a text beyond the file", func(raw []byte) []byte { put64(raw, at(raw, "words")+21, 1<<40); return raw }, "bytes of text"},
		{"a list of an unknown type", func(raw []byte) []byte { put32(raw, at(raw, "words")+9, 50); return raw }, "type 50"},
		{"two keys of a name", func(raw []byte) []byte { copy(raw[at(raw, "a.uint"):], "a.true"); return raw }, "twice"},
		{"two tensors of a name", func(raw []byte) []byte { copy(raw[at(raw, "half"):], "norm"); return raw }, "twice"},
		{"no dimensions", func(raw []byte) []byte { put32(raw, q8(raw, 0), 0); return raw }, "0 dimensions"},
		{"nine dimensions", func(raw []byte) []byte { put32(raw, q8(raw, 0), 9); return raw }, "9 dimensions"},
		{"a dimension of 0", func(raw []byte) []byte { put64(raw, q8(raw, 4), 0); return raw }, "dimension of 0"},
		{"rows that are not blocks", func(raw []byte) []byte { put64(raw, q8(raw, 4), 33); return raw }, "not whole blocks"},
		{"a product beyond 63 bits", func(raw []byte) []byte { put64(raw, q8(raw, 4), 1<<40); put64(raw, q8(raw, 12), 1<<40); return raw }, "63 bits"},
		{"an unknown type", func(raw []byte) []byte { put32(raw, q8(raw, 20), 4); return raw }, "type 4"},
		{"an offset that is not aligned", func(raw []byte) []byte { put64(raw, q8(raw, 24), 33); return raw }, "multiple of 32"},
		{"an offset within another", func(raw []byte) []byte { put64(raw, q8(raw, 24), 0); return raw }, "within"},
		{"an offset beyond the file", func(raw []byte) []byte { put64(raw, q8(raw, 24), 1<<20); return raw }, "of the tensors"},
		{"an offset of 2^63", func(raw []byte) []byte { put64(raw, q8(raw, 24), 1<<63); return raw }, "of the tensors"},
		{"rows beyond the file", func(raw []byte) []byte { put64(raw, q8(raw, 12), 1000); return raw }, "beyond the end"},
		{"cut in the head", func(raw []byte) []byte { return raw[:100] }, "the file"},
		{"cut in the tensors", func(raw []byte) []byte { return raw[:len(raw)-40] }, "beyond the end"},
	} {
		raw, _ := file(t)
		_, err := read(c.lie(raw))
		var format *gguf.FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "m.gguf: at byte") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// An alignment of the file's own counts, and must be a power of two.
func TestAlignment(t *testing.T) {
	head := func(n uint32) []byte {
		raw, _, err := gguf.Head([]gguf.Key{{Name: "general.alignment", Value: n}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	if f, err := read(append(head(64), make([]byte, 64)...)); err != nil || f.Alignment != 64 || f.Data%64 != 0 {
		t.Errorf("64: %+v, %v", f, err)
	}
	for _, n := range []uint32{0, 3, 1 << 30} {
		if _, err := read(head(n)); err == nil {
			t.Errorf("alignment %d is taken", n)
		}
	}
}

func FuzzRead(f *testing.F) {
	ts := tensors()
	head, size, err := gguf.Head(keys(), ts)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(head, make([]byte, size-int64(len(head)))...))
	f.Add([]byte("GGUF\x03\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		g, err := read(raw)
		if err != nil {
			return
		}
		for _, x := range g.Tensors {
			if x.Offset < g.Data || x.Offset+x.Bytes > int64(len(raw)) {
				t.Errorf("tensor %q lies outside the file", x.Name)
			}
		}
	})
}
