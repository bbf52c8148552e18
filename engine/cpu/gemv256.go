// Code generated from gemv512.go by twin_test.go; DO NOT EDIT.

//go:build goexperiment.simd && amd64

package cpu

import (
	"simd/archsimd"
	"unsafe"
)

// Products of few rows, limited by how fast weights arrive: b's rows lie along
// the depth, sums run along it in order, so that lanes have to be rows of b. Four
// values of each are loaded and transposed in registers. Made from gemv512.go.

// columns256: dst[i, j] = a [m, k] x b[j], for rows lo <= j < hi of b [n, k].
func columns256(m, n, k, run, lo, hi int, a, b, dst []float32) {
	a, b, dst = a[:m*k], b[:n*k], dst[:m*n]
	for i := range m {
		row, out := a[i*k:][:k], dst[i*n:][:n]
		j := lo
		for ; j+2*lanes256 <= hi; j += 2 * lanes256 {
			column256(row, b[j*k:][:2*lanes256*k], out[j:][:2*lanes256], run)
		}
		archsimd.ClearAVXUpperBits()
		columns(1, n, k, run, j, hi, row, b, out)
	}
}

// column256 computes two vectors of columns of one row.
func column256(a, b, dst []float32, run int) {
	k := len(a)
	stride := uintptr(k) * 4
	var sum0, sum1 vec256
	for from := 0; from < k; from += run {
		to := min(from+run, k)
		var s0, s1 vec256
		i := from
		for ; i+4 <= to; i += 4 {
			x0, x1 := archsimd.BroadcastFloat32x8(a[i]), archsimd.BroadcastFloat32x8(a[i+1])
			x2, x3 := archsimd.BroadcastFloat32x8(a[i+2]), archsimd.BroadcastFloat32x8(a[i+3])
			p := unsafe.Pointer(&b[i])
			w0, w1, w2, w3 := turn256(quads256(p, stride), quads256(unsafe.Add(p, stride), stride), quads256(unsafe.Add(p, 2*stride), stride), quads256(unsafe.Add(p, 3*stride), stride))
			s0 = x3.MulAdd(w3.AsFloat32x8(), x2.MulAdd(w2.AsFloat32x8(), x1.MulAdd(w1.AsFloat32x8(), x0.MulAdd(w0.AsFloat32x8(), s0))))
			p = unsafe.Add(p, lanes256*stride)
			w0, w1, w2, w3 = turn256(quads256(p, stride), quads256(unsafe.Add(p, stride), stride), quads256(unsafe.Add(p, 2*stride), stride), quads256(unsafe.Add(p, 3*stride), stride))
			s1 = x3.MulAdd(w3.AsFloat32x8(), x2.MulAdd(w2.AsFloat32x8(), x1.MulAdd(w1.AsFloat32x8(), x0.MulAdd(w0.AsFloat32x8(), s1))))
		}
		for ; i < to; i++ {
			x := archsimd.BroadcastFloat32x8(a[i])
			s0 = x.MulAdd(gather256(b[i:], k), s0)
			s1 = x.MulAdd(gather256(b[lanes256*k+i:], k), s1)
		}
		if from == 0 {
			sum0, sum1 = s0, s1
		} else {
			sum0, sum1 = sum0.Add(s0), sum1.Add(s1)
		}
	}
	sum0.StoreSlice(dst)
	sum1.StoreSlice(dst[lanes256:])
}

// turn256 transposes within each group of four lanes.
func turn256(v0, v1, v2, v3 archsimd.Uint32x8) (c0, c1, c2, c3 archsimd.Uint32x8) {
	t0, t1 := v0.InterleaveLoGrouped(v1).AsUint64x4(), v2.InterleaveLoGrouped(v3).AsUint64x4()
	t2, t3 := v0.InterleaveHiGrouped(v1).AsUint64x4(), v2.InterleaveHiGrouped(v3).AsUint64x4()
	return t0.InterleaveLoGrouped(t1).AsUint32x8(), t0.InterleaveHiGrouped(t1).AsUint32x8(),
		t2.InterleaveLoGrouped(t3).AsUint32x8(), t2.InterleaveHiGrouped(t3).AsUint32x8()
}

// gather256 loads one value of each of a vector's rows, stride values apart.
func gather256(b []float32, stride int) vec256 {
	var v [lanes256]float32
	for i := range v {
		v[i] = b[i*stride]
	}
	return archsimd.LoadFloat32x8(&v)
}
