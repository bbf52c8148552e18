//go:build goexperiment.simd && amd64

package export

import (
	"encoding/binary"
	"math"
	"simd/archsimd"
)

// vectorKernels lists the variants that this processor can run, fastest first.
func vectorKernels() []kernels {
	if !archsimd.X86.AVX2() {
		return nil
	}
	return []kernels{{name: "AVX2", widen: widen256, quantise: quantise256}}
}

const lanes = 8 // numbers of a vector: a block of Q8_0 has four

// widen256 is number.Widen of bfloat16.
func widen256(dst []float32, bf16 []byte) {
	bf16 = bf16[:2*len(dst)]
	i := 0
	for ; i+lanes <= len(dst); i += lanes {
		half := archsimd.LoadUint8x16Slice(bf16[2*i:]).AsUint16x8()
		half.ExtendToUint32().ShiftAllLeft(16).AsFloat32x8().StoreSlice(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
	for ; i < len(dst); i++ {
		dst[i] = math.Float32frombits(uint32(bf16[2*i])<<16 | uint32(bf16[2*i+1])<<24)
	}
}

// together is how many blocks go through the steps of quantise256 at a time: 8 KB
// of numbers, which stay in the nearest cache.
const together = 64

// quantise256 is quantiseBlocks. What is done by scalar instructions is done apart:
// processors take long to change between them and vectors.
func quantise256(dst []byte, values []float32) int {
	n := len(values) / q8Block
	for i := 0; i < n; i += together {
		of := values[i*q8Block : min(i+together, n)*q8Block]
		out := dst[i*q8Bytes : min(i+together, n)*q8Bytes]
		var most [together]uint32
		most256(&most, of)
		var inverse [together]float32
		for j := range len(of) / q8Block {
			scale, inv, ok := scale8(math.Float32frombits(most[j]))
			if !ok {
				round256(out[:j*q8Bytes], of[:j*q8Block], &inverse)
				return i + j
			}
			binary.LittleEndian.PutUint16(out[j*q8Bytes:], scale)
			inverse[j] = inv
		}
		round256(out, of, &inverse)
	}
	return n
}

// most256 finds the bits of each block's largest magnitude.
func most256(most *[together]uint32, values []float32) {
	magnitude := archsimd.BroadcastUint32x8(^uint32(signBit))
	for j := range min(together, len(values)/q8Block) {
		v := values[j*q8Block:][:q8Block]
		a, b := archsimd.LoadFloat32x8Slice(v).AsUint32x8().And(magnitude), archsimd.LoadFloat32x8Slice(v[lanes:]).AsUint32x8().And(magnitude)
		c, d := archsimd.LoadFloat32x8Slice(v[2*lanes:]).AsUint32x8().And(magnitude), archsimd.LoadFloat32x8Slice(v[3*lanes:]).AsUint32x8().And(magnitude)
		m := a.Max(b).Max(c.Max(d))
		q := m.GetLo().Max(m.GetHi())
		most[j] = max(q.GetElem(0), q.GetElem(1), q.GetElem(2), q.GetElem(3))
	}
	archsimd.ClearAVXUpperBits()
}

// round256 writes each block's numbers, times its inverse scale, as integers.
func round256(dst []byte, values []float32, inverse *[together]float32) {
	low := archsimd.BroadcastUint16x16(0xff)
	// Bytes of each half of a vector: numbers of a, c, a, c, …, then of b, d, b, d, ….
	apart := archsimd.LoadInt8x32(&[32]int8{
		0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15,
		0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15,
	})
	halves := archsimd.LoadUint32x8(&[8]uint32{0, 4, 1, 5, 2, 6, 3, 7})
	for j := range min(together, len(values)/q8Block) {
		v, f := values[j*q8Block:][:q8Block], archsimd.BroadcastFloat32x8(inverse[j])
		a, b := rounded256(archsimd.LoadFloat32x8Slice(v).Mul(f)), rounded256(archsimd.LoadFloat32x8Slice(v[lanes:]).Mul(f))
		c, d := rounded256(archsimd.LoadFloat32x8Slice(v[2*lanes:]).Mul(f)), rounded256(archsimd.LoadFloat32x8Slice(v[3*lanes:]).Mul(f))
		ab := a.ConvertToInt32().SaturateToInt16ConcatGrouped(b.ConvertToInt32()).AsUint16x16()
		cd := c.ConvertToInt32().SaturateToInt16ConcatGrouped(d.ConvertToInt32()).AsUint16x16()
		mixed := ab.And(low).Or(cd.ShiftAllLeft(8)).AsInt8x32().PermuteOrZeroGrouped(apart)
		mixed.AsUint32x8().Permute(halves).AsUint8x32().StoreSlice(dst[j*q8Bytes+2:])
	}
	archsimd.ClearAVXUpperBits()
}

// rounded256 rounds to the nearest integers, halves away from zero: what is cut off
// is exact, and so is its double, whose integer part is what the cut was short by.
func rounded256(x archsimd.Float32x8) archsimd.Float32x8 {
	whole := x.Trunc()
	rest := x.Sub(whole)
	return whole.Add(rest.Add(rest).Trunc())
}
