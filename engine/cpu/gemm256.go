// Code generated from gemm512.go by twin_test.go; DO NOT EDIT.

//go:build goexperiment.simd && amd64

package cpu

import (
	"simd/archsimd"
	"unsafe"
)

// The AVX2 products, made from gemm512.go.
//
// b passes in panels of two vectors of columns, copied so that its values lie
// in the order of use. Every sum runs over the depth in order, one fused
// multiply-add at a time, whatever the rows and columns beside it.
const (
	panelDepth256   = 512 // a panel stays in the first cache
	panelColumns256 = 2 * lanes256
)

// products256: dst [m, n] = a [m, k] x b [n, k]ᵀ.
func products256(m, n, k int, a, b, dst []float32) {
	var panel [panelDepth256 * panelColumns256]float32
	for j := 0; j < n; j += panelColumns256 {
		columns := min(panelColumns256, n-j)
		for p := 0; p < k; p += panelDepth256 {
			depth := min(panelDepth256, k-p)
			transpose(panel[:], panelColumns256, b[j*k+p:(j+columns-1)*k+p+depth], columns, k, depth)
			panelProduct256(m, a[p:], k, &panel, depth, dst[j:], n, columns, p == 0)
		}
	}
}

// productsPlain256: dst [m, n] = a [m, k] x b [k, n].
func productsPlain256(m, n, k int, a, b, dst []float32) {
	var panel [panelDepth256 * panelColumns256]float32
	for j := 0; j < n; j += panelColumns256 {
		columns := min(panelColumns256, n-j)
		for p := 0; p < k; p += panelDepth256 {
			depth := min(panelDepth256, k-p)
			for i := range depth {
				copy(panel[i*panelColumns256:][:columns], b[(p+i)*n+j:])
			}
			panelProduct256(m, a[p:], k, &panel, depth, dst[j:], n, columns, p == 0)
		}
	}
}

// panelProduct256 adds a [m, depth] x panel to columns of dst, or sets them
// first; rows of a and dst are k and n values apart.
func panelProduct256(m int, a []float32, k int, panel *[panelDepth256 * panelColumns256]float32, depth int, dst []float32, n, columns int, first bool) {
	if columns == panelColumns256 {
		i := 0
		for ; i+4 <= m; i += 4 {
			outer4x256(a[i*k:], k, panel, depth, dst[i*n:], n, first)
		}
		for ; i < m; i++ {
			outer256(a[i*k:][:depth], panel, dst[i*n:][:panelColumns256], first)
		}
		return
	}
	for i := range m {
		var row [panelColumns256]float32
		copy(row[:], dst[i*n:][:columns])
		outer256(a[i*k:][:depth], panel, row[:], first)
		copy(dst[i*n:][:columns], row[:])
	}
}

func at256(p *[panelDepth256 * panelColumns256]float32, i int) vec256 {
	return archsimd.LoadFloat32x8((*[lanes256]float32)(unsafe.Pointer(&p[i])))
}

// outer4x256 computes four rows.
func outer4x256(a []float32, k int, panel *[panelDepth256 * panelColumns256]float32, depth int, dst []float32, n int, first bool) {
	a0, a1, a2, a3 := a[:depth], a[k:][:depth], a[2*k:][:depth], a[3*k:][:depth]
	d0, d1, d2, d3 := dst[:panelColumns256], dst[n:][:panelColumns256], dst[2*n:][:panelColumns256], dst[3*n:][:panelColumns256]
	var s00, s01, s10, s11, s20, s21, s30, s31 vec256
	if !first {
		s00, s01 = archsimd.LoadFloat32x8Slice(d0), archsimd.LoadFloat32x8Slice(d0[lanes256:])
		s10, s11 = archsimd.LoadFloat32x8Slice(d1), archsimd.LoadFloat32x8Slice(d1[lanes256:])
		s20, s21 = archsimd.LoadFloat32x8Slice(d2), archsimd.LoadFloat32x8Slice(d2[lanes256:])
		s30, s31 = archsimd.LoadFloat32x8Slice(d3), archsimd.LoadFloat32x8Slice(d3[lanes256:])
	}
	for p := range min(depth, panelDepth256) {
		v, w := at256(panel, p*panelColumns256), at256(panel, p*panelColumns256+lanes256)
		x := archsimd.BroadcastFloat32x8(a0[p])
		s00, s01 = x.MulAdd(v, s00), x.MulAdd(w, s01)
		x = archsimd.BroadcastFloat32x8(a1[p])
		s10, s11 = x.MulAdd(v, s10), x.MulAdd(w, s11)
		x = archsimd.BroadcastFloat32x8(a2[p])
		s20, s21 = x.MulAdd(v, s20), x.MulAdd(w, s21)
		x = archsimd.BroadcastFloat32x8(a3[p])
		s30, s31 = x.MulAdd(v, s30), x.MulAdd(w, s31)
	}
	s00.StoreSlice(d0)
	s01.StoreSlice(d0[lanes256:])
	s10.StoreSlice(d1)
	s11.StoreSlice(d1[lanes256:])
	s20.StoreSlice(d2)
	s21.StoreSlice(d2[lanes256:])
	s30.StoreSlice(d3)
	s31.StoreSlice(d3[lanes256:])
	archsimd.ClearAVXUpperBits()
}

// outer256 computes one row.
func outer256(a []float32, panel *[panelDepth256 * panelColumns256]float32, dst []float32, first bool) {
	var s0, s1 vec256
	if !first {
		s0, s1 = archsimd.LoadFloat32x8Slice(dst), archsimd.LoadFloat32x8Slice(dst[lanes256:])
	}
	for p, x := range a[:min(len(a), panelDepth256)] {
		v := archsimd.BroadcastFloat32x8(x)
		s0 = v.MulAdd(at256(panel, p*panelColumns256), s0)
		s1 = v.MulAdd(at256(panel, p*panelColumns256+lanes256), s1)
	}
	s0.StoreSlice(dst)
	s1.StoreSlice(dst[lanes256:])
	archsimd.ClearAVXUpperBits()
}
