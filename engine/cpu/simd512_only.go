//go:build goexperiment.simd && amd64

package cpu

import "simd/archsimd"

// pack512 has no AVX2 twin: that cannot narrow integers.
func pack512(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	one, half := archsimd.BroadcastUint32x16(1), archsimd.BroadcastUint32x16(0x7fff)
	quiet := archsimd.BroadcastUint32x16(0x40)
	i := 0
	for ; i+lanes512 <= len(src); i += lanes512 {
		v := archsimd.LoadFloat32x16Slice(src[i:])
		bits := v.AsUint32x16()
		top := bits.ShiftAllRight(16)
		rounded := bits.Add(half).Add(top.And(one)).ShiftAllRight(16)
		number := v.Equal(v) //nolint:gocritic // what NaN is not
		rounded.Merge(top.Or(quiet), number).TruncateToUint16().StoreSlice(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
	packBF16(dst[i:], src[i:])
}
