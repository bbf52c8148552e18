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

	signBit  = 1 << 31
	halfBits = 0x3fe0000000000000 // of 0.5
)

// quantise8 writes a block as ggml does: d = max|x|/127, each number x/d rounded to
// the nearest integer, halves away from zero; what is divided by is d in float32,
// what is stored is d in half precision. ok is false where that cannot hold them.
// Source: quantize_row_q8_0_ref in ggml-quants.c.
func quantise8(dst []byte, values []float32) (ok bool) {
	values = values[:q8Block]
	bits := uint32(0)
	for _, v := range values {
		bits = max(bits, math.Float32bits(v)&^signBit) // NaN is the largest
	}
	most := math.Float32frombits(bits)
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
		x := v * inverse
		half := math.Float64frombits(halfBits | uint64(math.Float32bits(x)&signBit)<<32) // of x's sign, without a branch
		out[i] = byte(int8(int32(float64(x) + half)))                                    // the sum is exact
	}
	return true
}
