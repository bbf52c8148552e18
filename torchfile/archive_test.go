package torchfile_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/torchfile"
)

// entry is a file of a hand-made archive.
type entry struct {
	name, content string
	method        uint16
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		w, err := z.CreateHeader(&zip.FileHeader{Name: e.name, Method: e.method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// state pickles a state dict of tensors as they are described by described.
func state(tensors ...string) string { return "\x80\x02}(" + strings.Join(tensors, "") + "u." }

func text(s string) string { return fmt.Sprintf("U%c%s", len(s), s) }

func integer(n int64) string {
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func integers(n ...int64) string {
	s := "("
	for _, v := range n {
		s += integer(v)
	}
	return s + "t"
}

// described pickles a name and a tensor of a storage "0" of the class.
func described(name, class string, numel, offset int64, shape, stride []int64) string {
	return text(name) + "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "c" + class + "\n" + text("0") + text("cpu") +
		integer(numel) + "tQ" + integer(offset) + integers(shape...) + integers(stride...) + "\x89)tR"
}

const float = "torch\nFloatStorage"

func read(raw []byte) (*torchfile.Contents, error) {
	return torchfile.ReadContents(bytes.NewReader(raw), int64(len(raw)), "m.bin")
}

func sound(t testing.TB) []byte {
	return archive(t, entry{name: "m/data.pkl", content: state(described("w", float, 6, 0, []int64{2, 3}, []int64{3, 1}))},
		entry{name: "m/byteorder", content: "little"}, entry{name: "m/data/0", content: strings.Repeat("\x00\x00\x80\x3f", 6)})
}

func TestReadContents(t *testing.T) {
	raw := sound(t)
	c, err := read(raw)
	if err != nil {
		t.Fatal(err)
	}
	data := strings.Repeat("\x00\x00\x80\x3f", 6)
	at := int64(bytes.Index(raw, []byte(data)))
	want := []torchfile.Storage{{Offset: at, Bytes: 24, CRC32: crc32.ChecksumIEEE([]byte(data))}}
	if diff := cmp.Diff(want, c.Storages); diff != "" {
		t.Error(diff)
	}
	w := c.Tensors[0]
	if w.Name != "w" || w.DType != "F32" || w.Offset != at || w.Bytes != 24 || !w.InPlace() {
		t.Errorf("got %+v", w)
	}
}

func TestBigEndian(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.bin")
	complexes := described("c", "torch\nComplexFloatStorage", 1, 0, []int64{1}, []int64{1})
	raw := archive(t, entry{name: "m/data.pkl", content: state(described("w", float, 2, 0, []int64{2}, []int64{1}), complexes)},
		entry{name: "m/byteorder", content: "big"}, entry{name: "m/data/0", content: "\x3f\x80\x00\x01\x40\x00\x00\x02"})
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, path)
	for _, name := range []string{"w", "c"} {
		tensor, _ := f.Tensor(name)
		if diff := cmp.Diff("\x01\x00\x80\x3f\x02\x00\x00\x40", string(f.Data(tensor))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestArchiveRefused(t *testing.T) {
	pickle := func(tensors ...string) []entry {
		return []entry{{name: "m/data.pkl", content: state(tensors...)}, {name: "m/data/0", content: strings.Repeat("x", 24)}}
	}
	one := func(numel, offset int64, shape, stride []int64) []entry {
		return pickle(described("w", float, numel, offset, shape, stride))
	}
	const huge = 1 << 61
	tests := []struct {
		name    string
		entries []entry
		want    string
	}{
		{"no pickle", []entry{{name: "m/version", content: "3"}}, "no data.pkl"},
		{"two pickles", []entry{{name: "a/data.pkl"}, {name: "b/data.pkl"}}, "two pickles"},
		{"twice", []entry{{name: "m/data/0"}, {name: "m/data/0"}}, `"m/data/0" twice`},
		{"script", []entry{{name: "m/data.pkl"}, {name: "m/constants.pkl"}}, "TorchScript"},
		{"compressed pickle", []entry{{name: "m/data.pkl", content: state(), method: zip.Deflate}}, "compressed"},
		{"compressed storage", []entry{pickle(described("w", float, 6, 0, []int64{6}, []int64{1}))[0],
			{name: "m/data/0", content: strings.Repeat("x", 24), method: zip.Deflate}}, `"m/data/0": it is compressed`},
		{"storage missing", one(6, 0, []int64{6}, []int64{1})[:1], `tensor "w".*"m/data/0": the archive lacks it`},
		{"byte order", append(one(6, 0, []int64{6}, []int64{1}), entry{name: "m/byteorder", content: "middle"}), `byte order is "middle"`},
		{"hostile pickle", []entry{{name: "m/data.pkl", content: "\x80\x02cos\nsystem\nU\x02id\x85R."}}, `opcode GLOBAL: it asks for "os.system"`},
		{"storage too short", one(7, 0, []int64{6}, []int64{1}), "has 24 bytes, the pickle promises 28"},
		{"shape past the storage", one(6, 0, []int64{7}, []int64{1}), "element 6 is wanted"},
		{"offset past the storage", one(6, 4, []int64{3}, []int64{1}), "element 6 is wanted"},
		{"stride past the storage", one(6, 0, []int64{2, 3}, []int64{4, 1}), "element 6 is wanted"},
		{"negative offset", one(6, -1, []int64{1}, []int64{1}), "element -1 is wanted"},
		{"negative shape", one(6, 0, []int64{-1}, []int64{1}), "negative"},
		{"negative stride", one(6, 0, []int64{2}, []int64{-1}), "negative"},
		{"too few strides", one(6, 0, []int64{2, 3}, []int64{1}), "do not match"},
		{"shape overflows", one(6, 0, []int64{huge, huge}, []int64{0, 0}), "overflow"},
		{"stride overflows", one(6, 0, []int64{3}, []int64{huge}), "overflow"},
		{"offset overflows", one(6, 1<<62+1<<61, []int64{3}, []int64{huge}), "overflow"},
		{"repeated element", one(6, 0, []int64{1 << 40}, []int64{0}), "repeats the elements"},
		{"named twice", pickle(described("w", float, 1, 0, nil, nil), described("w", float, 1, 0, nil, nil)), `"w".*twice`},
		{"not a tensor", pickle(text("epoch") + "K\x05"), `"epoch".*it is an int.*state_dict`},
		{"nested", pickle(text("model") + "}"), `"model".*it is a dict`},
		{"key not a name", pickle("K\x05K\x05"), "a key of the state dict is an int"},
		{"a list", []entry{{name: "m/data.pkl", content: "\x80\x02]."}}, "holds a list, not a state dict"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := read(archive(t, tt.entries...))
			wantFormatError(t, err, strings.Split(tt.want, ".*")...)
		})
	}
}

func wantFormatError(t *testing.T, err error, parts ...string) {
	t.Helper()
	var format *torchfile.FormatError
	if !errors.As(err, &format) {
		t.Fatalf("got %v, want a FormatError", err)
	}
	for _, want := range append(parts, "m.bin", format.Action()) {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
}

// However much of an archive is missing, it is refused, and says why.
func TestTruncated(t *testing.T) {
	raw := sound(t)
	for n := range raw {
		_, err := read(raw[:n])
		wantFormatError(t, err)
		if n > 4 && !strings.Contains(err.Error(), "cut short") {
			t.Errorf("%d of %d bytes: %v", n, len(raw), err)
		}
	}
	stream, err := os.ReadFile("testdata/stream.bin")
	if err != nil {
		t.Fatal(err)
	}
	for n := range stream {
		_, err := read(stream[:n])
		wantFormatError(t, err)
	}
}

func TestOtherFiles(t *testing.T) {
	tar := make([]byte, 1024)
	copy(tar[257:], "ustar")
	for name, tt := range map[string]struct{ content, want string }{
		"empty":         {"", "empty"},
		"LFS pointer":   {"version https://git-lfs.github.com/spec/v1\noid sha256:x\n", "git lfs pull"},
		"web page":      {"<!DOCTYPE html><html>", "web page"},
		"tar":           {string(tar), "before 0.1.10"},
		"noise":         {"noise", "not a file that torch.save wrote"},
		"other pickle":  {"\x80\x02N.", "not one that torch.save wrote"},
		"other version": {"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02K\x01.", "1001"},
		"hostile":       {"\x80\x02cos\nsystem\nU\x02id\x85R.", "os.system"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read([]byte(tt.content))
			wantFormatError(t, err, tt.want)
		})
	}
}

// zeros is a file of a few bytes and zeros behind them.
type zeros struct {
	head, tail []byte
	size       int64
}

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(z.head)) {
		copy(p, z.head[off:])
	}
	if from := z.size - int64(len(z.tail)); off+int64(len(p)) > from {
		copy(p[max(0, from-off):], z.tail[max(0, off-from):])
	}
	return len(p), nil
}

// Past four gigabytes the archive's directory counts in eight bytes (zip64).
func TestZip64(t *testing.T) {
	const numel = 3 << 30 // of two bytes
	pickle := state(described("w", "torch\nHalfStorage", numel, 0, []int64{3, 1 << 30}, []int64{1 << 30, 1}))
	head := localHeader("m/data.pkl", int64(len(pickle))) + pickle
	dataHeader := int64(len(head))
	head += localHeader("m/data/0", 2*numel)
	data := int64(len(head))
	directory := data + 2*numel
	central := centralHeader("m/data.pkl", int64(len(pickle)), 0) + centralHeader("m/data/0", 2*numel, dataHeader)
	tail := central + endOfDirectory64(2, int64(len(central)), directory)
	z := zeros{[]byte(head), []byte(tail), directory + int64(len(tail))}
	c, err := torchfile.ReadContents(z, z.size, "m.bin")
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Tensors[0]; w.Offset != data || w.Bytes != 2*numel {
		t.Errorf("got %+v", w)
	}
	// The same file two gigabytes short.
	cut := zeros{z.head, nil, z.size - 2<<30}
	_, err = torchfile.ReadContents(cut, cut.size, "m.bin")
	wantFormatError(t, err, "cut short")
}

func le(size int, v int64) string {
	return string(binary.LittleEndian.AppendUint64(nil, uint64(v))[:size])
}

func localHeader(name string, size int64) string {
	return "PK\x03\x04" + le(2, 45) + le(2, 0) + le(2, 0) + le(4, 0) + le(4, 0) + le(4, 0xffffffff) + le(4, 0xffffffff) +
		le(2, int64(len(name))) + le(2, 20) + name + le(2, 1) + le(2, 16) + le(8, size) + le(8, size)
}

func centralHeader(name string, size, offset int64) string {
	return "PK\x01\x02" + le(2, 45) + le(2, 45) + le(2, 0) + le(2, 0) + le(4, 0) + le(4, 0) + le(4, 0xffffffff) + le(4, 0xffffffff) +
		le(2, int64(len(name))) + le(2, 28) + le(2, 0) + le(2, 0) + le(2, 0) + le(4, 0) + le(4, 0xffffffff) +
		name + le(2, 1) + le(2, 24) + le(8, size) + le(8, size) + le(8, offset)
}

func endOfDirectory64(entries, size, offset int64) string {
	end := offset + size
	return "PK\x06\x06" + le(8, 44) + le(2, 45) + le(2, 45) + le(4, 0) + le(4, 0) + le(8, entries) + le(8, entries) + le(8, size) + le(8, offset) +
		"PK\x06\x07" + le(4, 0) + le(8, end) + le(4, 1) +
		"PK\x05\x06" + le(2, 0) + le(2, 0) + le(2, 0xffff) + le(2, 0xffff) + le(4, 0xffffffff) + le(4, 0xffffffff) + le(2, 0)
}

// A directory without end is given up on.
func TestHugeDirectory(t *testing.T) {
	var head strings.Builder
	for head.Len() < 2*torchfile.MaxDirectory {
		head.WriteString(centralHeader("m/data/"+strings.Repeat("x", 60), 0, 0))
	}
	directory := int64(len(head.String()))
	local := localHeader("m/data.pkl", 0)
	file := local + head.String() + endOfDirectory64(directory/100, directory, int64(len(local)))
	_, err := read([]byte(file))
	wantFormatError(t, err, "over the limit")
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "absent.bin")} {
		if _, err := torchfile.Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("open %s: got %v", path, err)
		}
	}
}

// Whatever the bytes, reading ends with contents that lie in the file or with a
// FormatError.
func FuzzArchive(f *testing.F) {
	f.Add(sound(f))
	for _, name := range []string{"archive.bin", "stream.bin"} {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(t.TempDir(), "m.bin")
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		file, err := torchfile.Open(path)
		if err != nil {
			wantFormatError(t, err)
			return
		}
		defer file.Close()
		for _, tensor := range file.Contents().Tensors {
			if int64(len(file.Data(tensor.Tensor))) != tensor.Bytes || tensor.Bytes > int64(len(raw)) {
				t.Errorf("%s: %d bytes of a file of %d", tensor.Name, tensor.Bytes, len(raw))
			}
		}
	})
}

// Two entries of the directory that lead to the same bytes.
func TestOverlap(t *testing.T) {
	raw := archive(t, entry{name: "m/data.pkl", content: state(described("w", float, 6, 0, []int64{6}, []int64{1}),
		strings.Replace(described("v", float, 6, 0, []int64{6}, []int64{1}), text("0"), text("1"), 1))},
		entry{name: "m/data/0", content: strings.Repeat("\x00\x00\x80\x3f", 6)}, entry{name: "m/data/1", content: strings.Repeat("\x00\x00\x80\x3f", 6)})
	if _, err := read(raw); err != nil {
		t.Fatal(err)
	}
	// The offset of the local header ends the fixed part of an entry: 42 bytes in, before the name.
	directory := bytes.Index(raw, []byte("PK\x01\x02"))
	offsetOf := func(name string) int { return directory + bytes.Index(raw[directory:], []byte(name)) - 4 }
	copy(raw[offsetOf("m/data/1"):][:4], raw[offsetOf("m/data/0"):][:4])
	if _, err := read(raw); err == nil || !strings.Contains(err.Error(), "two entries of the archive overlap by 24 bytes") {
		t.Errorf("error %v", err)
	}
}
