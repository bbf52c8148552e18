package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/safetensors"
)

// file puts a header's length before it and data bytes behind it.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func read(raw []byte) (*safetensors.Header, error) {
	return safetensors.ReadHeader(bytes.NewReader(raw), int64(len(raw)), "x.safetensors")
}

func TestReadHeader(t *testing.T) {
	tests := []struct {
		name   string
		header string
		data   int
		want   safetensors.Header
	}{
		{"no tensors", `{}`, 0, safetensors.Header{DataStart: 10}},
		{"padded", `{}   `, 0, safetensors.Header{DataStart: 13}},
		{"metadata only", `{"__metadata__":{"format":"pt"}}`, 0,
			safetensors.Header{DataStart: 40, Metadata: map[string]string{"format": "pt"}}},
		{"null metadata", `{"__metadata__": null}`, 0, safetensors.Header{DataStart: 30}},
		{"scalar and empty tensor", `{"e":{"dtype":"F32","shape":[3,0],"data_offsets":[0,0]},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 4,
			safetensors.Header{DataStart: 116, Tensors: []safetensors.Tensor{
				{Name: "e", DType: safetensors.F32, Shape: []int{3, 0}, Offset: 116},
				{Name: "s", DType: safetensors.F32, Shape: []int{}, Offset: 116, Bytes: 4},
			}}},
		{"sorted by offset", `{"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}`, 3,
			safetensors.Header{DataStart: 115, Tensors: []safetensors.Tensor{
				{Name: "a", DType: safetensors.BF16, Shape: []int{1}, Offset: 115, Bytes: 2},
				{Name: "b", DType: safetensors.U8, Shape: []int{1}, Offset: 117, Bytes: 1},
			}}},
		{"packed dtype and unknown key", `{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2],"x":{"y":[1]}}}`, 2,
			safetensors.Header{DataStart: 75, Tensors: []safetensors.Tensor{
				{Name: "a", DType: safetensors.F4, Shape: []int{4}, Offset: 75, Bytes: 2},
			}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := read(file(tt.header, tt.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, *got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// one returns a header with a single tensor "a".
func one(dtype, shape, offsets string) string {
	return fmt.Sprintf(`{"a":{"dtype":%s,"shape":%s,"data_offsets":%s}}`, dtype, shape, offsets)
}

func TestReadHeaderFindsLies(t *testing.T) {
	two := `{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[%s]}}`
	tests := []struct {
		name   string
		raw    []byte
		tensor string
		want   string
	}{
		{"empty file", nil, "", "0 bytes is too short"},
		{"seven bytes", make([]byte, 7), "", "7 bytes is too short"},
		{"length 0", make([]byte, 8), "", "header length 0 is too small"},
		{"length 1", []byte{1, 0, 0, 0, 0, 0, 0, 0, '{'}, "", "header length 1 is too small"},
		{"length over the cap", binary.LittleEndian.AppendUint64(nil, 100_000_001), "", "over the limit"},
		{"length that is negative as int64", binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "", "over the limit"},
		{"header beyond the file", append(binary.LittleEndian.AppendUint64(nil, 100), "{}"...), "", "ends 98 bytes before"},
		{"git lfs pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "", "git lfs pull"},
		{"web page", []byte("<!DOCTYPE html><html><body>Sign in</body></html>"), "", "web page"},
		{"not an object", file(`[1,2]`, 0), "", "does not start with {"},
		{"leading space", file(` {}`, 0), "", "does not start with {"},
		{"bad JSON", file(`{"a":`, 0), "", "not valid JSON"},
		{"missing colon", file(`{"a" 1}`, 0), "", "not valid JSON"},
		{"trailing garbage", file(`{}x`, 0), "", "not valid JSON"},
		{"second value", file(`{}{}`, 0), "", "not valid JSON"},
		{"NUL padding", file("{}\x00\x00", 0), "", "not valid JSON"},
		{"not UTF-8", file("{\"\xff\":{}}", 0), "", "UTF-8"},
		{"metadata not an object", file(`{"__metadata__":[]}`, 0), "", "expected an object"},
		{"metadata value not a string", file(`{"__metadata__":{"k":1}}`, 0), "", `"k" is not a string`},
		{"metadata key twice", file(`{"__metadata__":{"k":"1","k":"2"}}`, 0), "", `"k" twice`},
		{"metadata twice", file(`{"__metadata__":{},"__metadata__":{}}`, 0), "__metadata__", "twice"},
		{"tensor not an object", file(`{"a":1}`, 0), "a", "expected an object"},
		{"name twice", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}`, 0), "a", "twice"},
		{"name twice, escaped", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\u0061":{}}`, 0), "a", "twice"},
		{"key twice", file(`{"a":{"dtype":"U8","dtype":"U8"}}`, 0), "a", `"dtype" twice`},
		{"unknown key twice", file(`{"a":{"x":1,"x":2,"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "a", `"x" twice`},
		{"offsets twice", file(`{"a":{"data_offsets":[],"data_offsets":[0,1],"dtype":"U8","shape":[1]}}`, 1), "a", `"data_offsets" twice`},
		{"no dtype", file(`{"a":{"shape":[1],"data_offsets":[0,1]}}`, 1), "a", `lacks "dtype"`},
		{"no shape", file(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1), "a", `lacks "shape"`},
		{"no offsets", file(`{"a":{"dtype":"U8","shape":[1]}}`, 1), "a", `lacks "data_offsets"`},
		{"unknown dtype", file(one(`"F7"`, `[1]`, `[0,1]`), 1), "a", `unknown dtype "F7"`},
		{"dtype not a string", file(one(`8`, `[1]`, `[0,1]`), 1), "a", "not a string"},
		{"negative dimension", file(one(`"U8"`, `[-1]`, `[0,1]`), 1), "a", "-1, which is not a size"},
		{"fractional dimension", file(one(`"U8"`, `[1.5]`, `[0,1]`), 1), "a", "1.5, which is not a size"},
		{"exponent", file(one(`"U8"`, `[1e0]`, `[0,1]`), 1), "a", "1e0, which is not a size"},
		{"dimension over int64", file(one(`"U8"`, `[18446744073709551615]`, `[0,1]`), 1), "a", "not a size"},
		{"dimension a string", file(one(`"U8"`, `["1"]`, `[0,1]`), 1), "a", "not a number"},
		{"shape overflows", file(one(`"U8"`, `[4294967296,4294967296,4294967296]`, `[0,1]`), 1), "a", "overflows"},
		{"shape times dtype overflows", file(one(`"F64"`, `[2305843009213693952]`, `[0,1]`), 1), "a", "overflows"},
		{"shape wraps to the right size", file(one(`"U8"`, `[4294967296,4294967297]`, `[0,4294967296]`), 1), "a", "overflows"},
		{"packed dtype off the byte", file(one(`"F4"`, `[3]`, `[0,1]`), 1), "a", "whole bytes"},
		{"three offsets", file(one(`"U8"`, `[1]`, `[0,1,2]`), 1), "a", "holds 3 numbers"},
		{"begin after end", file(one(`"U8"`, `[1]`, `[1,0]`), 1), "a", "ends (0) before it begins (1)"},
		{"negative begin", file(one(`"U8"`, `[1]`, `[-1,0]`), 1), "a", "-1, which is not a size"},
		{"end overflows", file(one(`"U8"`, `[0]`, `[9223372036854775807,9223372036854775807]`), 1), "a", "overflows"},
		{"size is not shape x dtype", file(one(`"F32"`, `[2]`, `[0,4]`), 4), "a", "takes 8 bytes but its offsets span 4"},
		{"truncated", file(one(`"U8"`, `[10]`, `[0,10]`), 7), "a", "3 bytes are missing"},
		{"trailing bytes", file(one(`"U8"`, `[10]`, `[0,10]`), 12), "", "2 bytes follow the last tensor"},
		{"overlap", file(fmt.Sprintf(two, "3,7"), 7), "b", `starts 1 bytes inside "a"`},
		{"same place", file(fmt.Sprintf(two, "0,4"), 4), "b", `starts 4 bytes inside "a"`},
		{"hole", file(fmt.Sprintf(two, "5,9"), 9), "b", "hole of 1 bytes"},
		{"hole at the start", file(one(`"U8"`, `[1]`, `[1,2]`), 2), "a", "hole of 1 bytes"},
		{"empty tensor inside another", file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}}`, 4), "b", "inside"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := read(tt.raw)
			var fe *safetensors.FormatError
			if !errors.As(err, &fe) {
				t.Fatalf("got %v, want a FormatError", err)
			}
			if fe.Tensor != tt.tensor || fe.Path != "x.safetensors" {
				t.Errorf("got tensor %q of %q, want %q", fe.Tensor, fe.Path, tt.tensor)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q lacks %q", err, tt.want)
			}
		})
	}
}

func TestTruncationNamesFirstMissingTensor(t *testing.T) {
	raw := file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}`, 5)
	_, err := read(raw)
	var fe *safetensors.FormatError
	if !errors.As(err, &fe) || fe.Tensor != "b" {
		t.Errorf("got %v, want tensor b", err)
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add(file(`{}`, 0))
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}  `, 4))
	f.Add(file(`{"a":{"dtype":"BF16","shape":[2,0],"data_offsets":[0,0]},"<b>":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}`, 2))
	f.Add(file(`{"\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":null}}`, 1))
	f.Add(file(`{"__metadata__": null,"a":{"shape":[1],"dtype":"U8","data_offsets":[0,1]}}`, 1))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := read(raw)
		if err != nil {
			return
		}
		head, err := safetensors.AppendHeader(nil, h.Tensors, h.Metadata)
		if err != nil {
			t.Fatalf("accepted header cannot be written: %v", err)
		}
		again, err := read(append(head, raw[h.DataStart:]...))
		if err != nil {
			t.Fatalf("written header cannot be read: %v", err)
		}
		for i := range again.Tensors {
			again.Tensors[i].Offset += h.DataStart - again.DataStart
		}
		again.DataStart = h.DataStart
		if diff := cmp.Diff(h, again); diff != "" {
			t.Error(diff)
		}
	})
}

// A header may not make much of few bytes.
func TestHeaderBounds(t *testing.T) {
	var many strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&many, `%s"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, map[bool]string{true: "{", false: ","}[i == 0], i)
	}
	for _, c := range []struct{ header, want string }{
		{many.String() + "}", "more tensors than the limit of 262144"},
		{`{"a":{"dtype":"U8","shape":[` + strings.Repeat("1,", 100) + `1],"data_offsets":[0,0]}}`, "shape holds more than 64 numbers"},
	} {
		raw := binary.LittleEndian.AppendUint64(nil, uint64(len(c.header)))
		raw = append(raw, c.header...)
		if _, err := safetensors.ReadHeader(bytes.NewReader(raw), int64(len(raw)), "x"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
