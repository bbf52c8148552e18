//go:build goexperiment.simd && amd64

package cpu

import "simd/archsimd"

// pack512 has no AVX2 twin: that cannot narrow integers.
func pack512(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	one, half := archsimd.BroadcastUint32x16(1), archsimd.BroadcastUint32x16(0x7fff)
	quiet, by := archsimd.BroadcastUint32x16(0x40), archsimd.BroadcastUint32x16(16) // a constant's shift is of the old encoding
	i := 0
	for ; i+lanes512 <= len(src); i += lanes512 {
		v := archsimd.LoadFloat32x16Slice(src[i:])
		bits := v.AsUint32x16()
		top := bits.ShiftRight(by)
		rounded := bits.Add(half).Add(top.And(one)).ShiftRight(by)
		number := v.Equal(v) //nolint:gocritic // what NaN is not
		rounded.Merge(top.Or(quiet), number).TruncateToUint16().StoreSlice(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
	packBF16(dst[i:], src[i:])
}

// mask512 has no AVX2 twin: that cannot multiply 64 bits.
func mask512(keep []float32, counter uint64, limit, stays float32) {
	var steps [8]uint64
	for j := range steps {
		steps[j] = counter + uint64(j+1)*splitGolden
	}
	state, next := archsimd.LoadUint64x8Slice(steps[:]), archsimd.BroadcastUint64x8(8*(splitGolden%(1<<61)))
	first, second := archsimd.BroadcastUint64x8(splitFirst), archsimd.BroadcastUint64x8(splitSecond)
	by27, by30, by31, by40 := archsimd.BroadcastUint64x8(27), archsimd.BroadcastUint64x8(30), archsimd.BroadcastUint64x8(31), archsimd.BroadcastUint64x8(40)
	low, kept := archsimd.BroadcastFloat32x8(limit), archsimd.BroadcastFloat32x8(stays)
	for i := 0; i < len(keep); i += 8 {
		x := state.Xor(state.ShiftRight(by30)).Mul(first)
		x = x.Xor(x.ShiftRight(by27)).Mul(second)
		bits := x.Xor(x.ShiftRight(by31)).ShiftRight(by40).ConvertToFloat32()
		kept.Masked(bits.GreaterEqual(low)).StoreSlicePart(keep[i:])
		state = state.Add(next)
	}
	archsimd.ClearAVXUpperBits()
}
