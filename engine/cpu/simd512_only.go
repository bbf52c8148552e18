//go:build goexperiment.simd && amd64

package cpu

import (
	"simd/archsimd"
	"unsafe"
)

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
		rounded.Merge(top.Or(quiet), v.Equal(v)).TruncateToUint16().StoreSlice(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
	packBF16(dst[i:], src[i:])
}

// quads512 loads four values at p and four of each row four, eight and twelve
// strides on.
func quads512(p unsafe.Pointer, stride uintptr) archsimd.Uint32x16 {
	var v archsimd.Uint32x16
	return v.SetLo(quads256(p, stride)).SetHi(quads256(unsafe.Add(p, 8*stride), stride))
}

// columnsHalf512 is columns512 for weights in bfloat16. The two values of a
// pair enter a sum last first, as the processor's bfloat16 products do (VDPBF16PS).
func columnsHalf512(m, n, k, run, lo, hi int, a []float32, b []uint16, dst []float32) {
	a, b, dst = a[:m*k], b[:n*k], dst[:m*n]
	for i := range m {
		row, out := a[i*k:][:k], dst[i*n:][:n]
		j := lo
		for ; j+2*lanes512 <= hi && k%2 == 0; j += 2 * lanes512 {
			columnHalf512(row, b[j*k:][:2*lanes512*k], out[j:][:2*lanes512], run)
		}
		archsimd.ClearAVXUpperBits()
		columnsHalf(1, n, k, run, j, hi, row, b, out)
	}
}

// columnHalf512 computes two vectors of columns of one row; k is even.
func columnHalf512(a []float32, b []uint16, dst []float32, run int) {
	k := len(a)
	stride := uintptr(k) * 2
	odd := archsimd.BroadcastUint32x16(0xffff0000)
	var sum0, sum1 vec512
	for from := 0; from < k; from += run {
		to := min(from+run, k)
		var s0, s1 vec512
		i := from
		for ; i+8 <= to; i += 8 {
			x := a[i : i+8]
			p := unsafe.Pointer(&b[i])
			w0, w1, w2, w3 := turn512(quads512(p, stride), quads512(unsafe.Add(p, stride), stride), quads512(unsafe.Add(p, 2*stride), stride), quads512(unsafe.Add(p, 3*stride), stride))
			s0 = archsimd.BroadcastFloat32x16(x[1]).MulAdd(w0.And(odd).AsFloat32x16(), s0)
			s0 = archsimd.BroadcastFloat32x16(x[0]).MulAdd(w0.ShiftAllLeft(16).AsFloat32x16(), s0)
			s0 = archsimd.BroadcastFloat32x16(x[3]).MulAdd(w1.And(odd).AsFloat32x16(), s0)
			s0 = archsimd.BroadcastFloat32x16(x[2]).MulAdd(w1.ShiftAllLeft(16).AsFloat32x16(), s0)
			s0 = archsimd.BroadcastFloat32x16(x[5]).MulAdd(w2.And(odd).AsFloat32x16(), s0)
			s0 = archsimd.BroadcastFloat32x16(x[4]).MulAdd(w2.ShiftAllLeft(16).AsFloat32x16(), s0)
			s0 = archsimd.BroadcastFloat32x16(x[7]).MulAdd(w3.And(odd).AsFloat32x16(), s0)
			s0 = archsimd.BroadcastFloat32x16(x[6]).MulAdd(w3.ShiftAllLeft(16).AsFloat32x16(), s0)
			p = unsafe.Add(p, lanes512*stride)
			w0, w1, w2, w3 = turn512(quads512(p, stride), quads512(unsafe.Add(p, stride), stride), quads512(unsafe.Add(p, 2*stride), stride), quads512(unsafe.Add(p, 3*stride), stride))
			s1 = archsimd.BroadcastFloat32x16(x[1]).MulAdd(w0.And(odd).AsFloat32x16(), s1)
			s1 = archsimd.BroadcastFloat32x16(x[0]).MulAdd(w0.ShiftAllLeft(16).AsFloat32x16(), s1)
			s1 = archsimd.BroadcastFloat32x16(x[3]).MulAdd(w1.And(odd).AsFloat32x16(), s1)
			s1 = archsimd.BroadcastFloat32x16(x[2]).MulAdd(w1.ShiftAllLeft(16).AsFloat32x16(), s1)
			s1 = archsimd.BroadcastFloat32x16(x[5]).MulAdd(w2.And(odd).AsFloat32x16(), s1)
			s1 = archsimd.BroadcastFloat32x16(x[4]).MulAdd(w2.ShiftAllLeft(16).AsFloat32x16(), s1)
			s1 = archsimd.BroadcastFloat32x16(x[7]).MulAdd(w3.And(odd).AsFloat32x16(), s1)
			s1 = archsimd.BroadcastFloat32x16(x[6]).MulAdd(w3.ShiftAllLeft(16).AsFloat32x16(), s1)
		}
		for ; i < to; i += 2 {
			x, y := archsimd.BroadcastFloat32x16(a[i]), archsimd.BroadcastFloat32x16(a[i+1])
			s0 = x.MulAdd(gatherHalf512(b[i:], k), y.MulAdd(gatherHalf512(b[i+1:], k), s0))
			s1 = x.MulAdd(gatherHalf512(b[lanes512*k+i:], k), y.MulAdd(gatherHalf512(b[lanes512*k+i+1:], k), s1))
		}
		if from == 0 {
			sum0, sum1 = s0, s1
		} else {
			sum0, sum1 = sum0.Add(s0), sum1.Add(s1)
		}
	}
	sum0.StoreSlice(dst)
	sum1.StoreSlice(dst[lanes512:])
}

func gatherHalf512(b []uint16, stride int) vec512 {
	var v [lanes512]float32
	for i := range v {
		v[i] = fromBF16(b[i*stride])
	}
	return archsimd.LoadFloat32x16(&v)
}
