package export

import (
	"encoding/binary"
	"math"

	"github.com/coppice-ml/coppice/internal/number"
)

// A block of Q8_0 is 32 numbers: their scale in half precision, then a byte each.
const (
	q8Block = 32
	q8Bytes = 2 + q8Block
)

// quantise8 writes a block as ggml does: d = max|x|/127, each number x/d rounded to
// the nearest integer, halves away from zero; what is divided by is d in float32,
// what is stored is d in half precision. ok is false where that cannot hold them.
// Source: quantize_row_q8_0_ref in ggml-quants.c.
func quantise8(dst []byte, values []float32) (ok bool) {
	values = values[:q8Block]
	most := float32(0)
	for _, v := range values {
		if v < 0 {
			v = -v
		}
		if v > most || v != v {
			most = v // NaN stays
		}
	}
	d := most / 127
	h := number.ToF16(d)
	if h&0x7c00 == 0x7c00 {
		return false
	}
	inverse := float32(0)
	if d != 0 {
		inverse = 1 / d
	}
	if math.IsInf(float64(inverse), 0) {
		inverse = 0 // denormal numbers, which half precision rounds to zero
	}
	binary.LittleEndian.PutUint16(dst, h)
	out := dst[2:q8Bytes]
	for i, v := range values {
		x := float64(v * inverse) // adding a half is exact in float64
		if x < 0 {
			out[i] = byte(int8(x - 0.5))
		} else {
			out[i] = byte(int8(x + 0.5))
		}
	}
	return true
}
