package export

import (
	"encoding/binary"
	"math"

	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/safetensors"
)

// A block of Q8_0 is 32 numbers: their scale in half precision, then a byte each.
const (
	q8Block = 32
	q8Bytes = 2 + q8Block

	signBit  = 1 << 31
	halfBits = 0x3fe0000000000000 // of 0.5
)

// kernels are the loops over numbers that most of the time goes into. All variants
// give the same bytes.
type kernels struct {
	name string
	// widen converts numbers in bfloat16, little endian; bf16 holds at least len(dst).
	widen func(dst []float32, bf16 []byte)
	// quantise writes whole blocks of Q8_0 and returns how many: fewer than there are
	// where the next one cannot be held.
	quantise func(dst []byte, values []float32) int
}

// variants lists the kernels that this machine can run, fastest first.
func variants() []kernels {
	return append(vectorKernels(), kernels{
		name:     "Go",
		widen:    func(dst []float32, bf16 []byte) { number.Widen(dst, bf16, safetensors.BF16) },
		quantise: quantiseBlocks,
	})
}

func quantiseBlocks(dst []byte, values []float32) int {
	n := len(values) / q8Block
	for i := range n {
		if !quantise8(dst[i*q8Bytes:], values[i*q8Block:]) {
			return i
		}
	}
	return n
}

// quantise8 writes a block as ggml does: each number divided by the block's scale
// and rounded to the nearest integer, halves away from zero. ok is false where that
// cannot hold them. Source: quantize_row_q8_0_ref in ggml-quants.c.
func quantise8(dst []byte, values []float32) (ok bool) {
	values = values[:q8Block]
	bits := uint32(0)
	for _, v := range values {
		bits = max(bits, math.Float32bits(v)&^signBit) // NaN is the largest
	}
	h, inverse, ok := scale8(math.Float32frombits(bits))
	if !ok {
		return false
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

// scale8 is the scale d = most/127 of a block whose largest magnitude is most, in
// half precision as it is stored, and 1/d of the d in float32 that numbers are
// divided by. ok is false where half precision cannot hold it.
func scale8(most float32) (stored uint16, inverse float32, ok bool) {
	d := most / 127
	stored = number.ToF16(d)
	if stored&0x7c00 == 0x7c00 {
		return 0, 0, false
	}
	if d != 0 {
		inverse = 1 / d
	}
	if math.IsInf(float64(inverse), 0) {
		inverse = 0 // denormal numbers, which half precision rounds to zero
	}
	return stored, inverse, true
}
