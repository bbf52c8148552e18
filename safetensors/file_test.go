package safetensors_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/safetensors"
)

func writeFile(t *testing.T, metadata map[string]string, entries []safetensors.Entry) string {
	t.Helper()
	var b bytes.Buffer
	if err := safetensors.Write(&b, metadata, entries); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen(t *testing.T) {
	big := bytes.Repeat([]byte{1, 2, 3, 4}, 5000)
	path := writeFile(t, map[string]string{"format": "pt"}, []safetensors.Entry{
		{Name: "big", DType: safetensors.F32, Shape: []int{50, 100}, Data: big},
		{Name: "none", DType: safetensors.F16, Shape: []int{0, 7}},
		{Name: "last", DType: safetensors.U8, Shape: []int{3}, Data: []byte{7, 8, 9}},
	})
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Header().DataStart%8 != 0 {
		t.Errorf("data start at %d, not a multiple of 8", f.Header().DataStart)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for name, want := range map[string][]byte{"big": big, "none": {}, "last": {7, 8, 9}} {
				tensor, ok := f.Tensor(name)
				if !ok {
					t.Errorf("no tensor %q", name)
				}
				f.Prefetch(tensor)
				data := f.Data(tensor)
				if !bytes.Equal(data, want) || cap(data) != len(data) {
					t.Errorf("%s: wrong data", name)
				}
				f.Release(tensor)
				if !bytes.Equal(data, want) {
					t.Errorf("%s: wrong data after release", name)
				}
			}
		})
	}
	wg.Wait()
	if _, ok := f.Tensor("absent"); ok {
		t.Error("found a tensor that is not there")
	}
}

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.safetensors")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, dir, filepath.Join(dir, "absent.safetensors")} {
		if _, err := safetensors.Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("open %s: got %v, want an error with the path", path, err)
		}
	}
}

func TestCloseTwice(t *testing.T) {
	f, err := safetensors.Open(writeFile(t, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The layout is that of the reference implementation, byte for byte.
func TestHeaderBytes(t *testing.T) {
	got, err := safetensors.AppendHeader(nil, []safetensors.Tensor{
		{Name: "a<b>", DType: safetensors.BF16, Shape: []int{2, 3}},
		{Name: "c", DType: safetensors.I64},
	}, map[string]string{"format": "pt", "a": "é"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"__metadata__":{"a":"é","format":"pt"},` +
		`"a<b>":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},"c":{"dtype":"I64","shape":[],"data_offsets":[12,20]}}`
	if diff := cmp.Diff(want, strings.TrimRight(string(got[8:]), " ")); diff != "" {
		t.Error(diff)
	}
	if len(got)%8 != 0 || int(got[0]) != len(got)-8 {
		t.Errorf("length %d, header says %d", len(got), got[0])
	}
}

func TestWriteRefuses(t *testing.T) {
	u8 := safetensors.U8
	tests := []struct {
		name    string
		entries []safetensors.Entry
		want    string
	}{
		{"twice", []safetensors.Entry{{Name: "a", DType: u8, Shape: []int{0}}, {Name: "a", DType: u8, Shape: []int{0}}}, "twice"},
		{"unknown dtype", []safetensors.Entry{{Name: "a", DType: "X"}}, "unknown dtype"},
		{"metadata key", []safetensors.Entry{{Name: "__metadata__", DType: u8, Data: []byte{1}}}, "does not allow"},
		{"not UTF-8", []safetensors.Entry{{Name: "\xff", DType: u8, Data: []byte{1}}}, "does not allow"},
		{"wrong size", []safetensors.Entry{{Name: "a", DType: u8, Shape: []int{2}, Data: []byte{1}}}, "takes 2 bytes"},
		{"negative", []safetensors.Entry{{Name: "a", DType: u8, Shape: []int{-1}}}, "negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := safetensors.Write(&bytes.Buffer{}, nil, tt.entries)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestDTypeSizes(t *testing.T) {
	for d, want := range map[safetensors.DType]int{
		safetensors.BOOL: 1, safetensors.F8_E4M3: 1, safetensors.BF16: 2, safetensors.F32: 4, safetensors.C64: 8, safetensors.F4: 0, "X": 0,
	} {
		if got := d.Size(); got != want {
			t.Errorf("%s: got %d, want %d", d, got, want)
		}
	}
}

func BenchmarkReadHeader(b *testing.B) {
	var tensors []safetensors.Tensor
	for i := range 1000 {
		tensors = append(tensors, safetensors.Tensor{Name: fmt.Sprintf("model.layers.%d.mlp.down_proj.weight", i), DType: safetensors.BF16, Shape: []int{0, 4096}})
	}
	raw, err := safetensors.AppendHeader(nil, tensors, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := read(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func Example() {
	var b bytes.Buffer
	err := safetensors.Write(&b, map[string]string{"format": "pt"}, []safetensors.Entry{
		{Name: "w", DType: safetensors.F32, Shape: []int{2}, Data: make([]byte, 8)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	h, err := safetensors.ReadHeader(bytes.NewReader(b.Bytes()), int64(b.Len()), "w.safetensors")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range h.Tensors {
		fmt.Println(t.Name, t.DType, t.Shape, t.Bytes)
	}
	// Output: w F32 [2] 8
}
