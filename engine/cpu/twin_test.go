package cpu

import (
	"flag"
	"go/format"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the AVX2 kernels anew")

// TestTwin holds the AVX2 kernels to what the AVX-512 ones become when vectors
// are half as long.
func TestTwin(t *testing.T) {
	narrow := strings.NewReplacer(
		"Float32x16", "Float32x8", "Uint32x16", "Uint32x8", "Int32x16", "Int32x8",
		"Uint16x16", "Uint16x8", "Uint64x8", "Uint64x4", "Float64x8", "Float64x4",
		"[16]uint32{1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14}", "[8]uint32{1, 0, 3, 2, 5, 4, 7, 6}",
		"lanes512 = 16", "lanes256 = 8", "TrailingZeros16(uint16(", "TrailingZeros8(uint8(",
		"// The AVX-512 kernels. simd256.go, with the AVX2 ones, is made from this file\n"+
			"// by the substitutions in twin_test.go: go test ./engine/cpu -run Twin -update.\n",
		"// The AVX2 kernels, made from simd512.go: see there.\n",
		"The AVX-512 kernels of the backward pass; simd_back256.go is their AVX2 twin\n// (see simd512.go).", "The AVX2 kernels of the backward pass, made from simd_back512.go.",
		"The AVX-512 products; gemm256.go is their AVX2 twin (see simd512.go).", "The AVX2 products, made from gemm512.go.",
		"panelDepth512   = 256", "panelDepth256   = 512",
		"512", "256",
	)
	for from, to := range map[string]string{"simd512.go": "simd256.go", "gemm512.go": "gemm256.go", "simd_back512.go": "simd_back256.go"} {
		source, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		formatted, err := format.Source([]byte("// Code generated from " + from + " by twin_test.go; DO NOT EDIT.\n\n" + narrow.Replace(string(source))))
		if err != nil {
			t.Fatal(err)
		}
		want := string(formatted)
		if *update {
			if err := os.WriteFile(to, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(to)
		if err != nil || string(got) != want {
			t.Errorf("%s is not what %s becomes (%v); run go test ./engine/cpu -run Twin -update", to, from, err)
		}
	}
}
