//go:build goexperiment.simd && amd64

package cpu

import (
	"simd/archsimd"
	"unsafe"
)

// The AVX-512 products; gemm256.go is their AVX2 twin (see simd512.go).
//
// b passes in panels of two vectors of columns, copied so that its values lie
// in the order of use. Every sum runs over the depth in order, one fused
// multiply-add at a time, whatever the rows and columns beside it.
const (
	panelDepth512   = 256 // a panel stays in the first cache
	panelColumns512 = 2 * lanes512
)

// products512: dst [m, n] = a [m, k] x b [n, k]ᵀ.
func products512(m, n, k int, a, b, dst []float32) {
	var panel [panelDepth512 * panelColumns512]float32
	for j := 0; j < n; j += panelColumns512 {
		columns := min(panelColumns512, n-j)
		for p := 0; p < k; p += panelDepth512 {
			depth := min(panelDepth512, k-p)
			transpose(panel[:], panelColumns512, b[j*k+p:(j+columns-1)*k+p+depth], columns, k, depth)
			panelProduct512(m, a[p:], k, &panel, depth, dst[j:], n, columns, p == 0)
		}
	}
}

// productsPlain512: dst [m, n] = a [m, k] x b [k, n].
func productsPlain512(m, n, k int, a, b, dst []float32) {
	var panel [panelDepth512 * panelColumns512]float32
	for j := 0; j < n; j += panelColumns512 {
		columns := min(panelColumns512, n-j)
		for p := 0; p < k; p += panelDepth512 {
			depth := min(panelDepth512, k-p)
			for i := range depth {
				copy(panel[i*panelColumns512:][:columns], b[(p+i)*n+j:])
			}
			panelProduct512(m, a[p:], k, &panel, depth, dst[j:], n, columns, p == 0)
		}
	}
}

// panelProduct512 adds a [m, depth] x panel to columns of dst, or sets them
// first; rows of a and dst are k and n values apart.
func panelProduct512(m int, a []float32, k int, panel *[panelDepth512 * panelColumns512]float32, depth int, dst []float32, n, columns int, first bool) {
	if columns == panelColumns512 {
		i := 0
		for ; i+4 <= m; i += 4 {
			outer4x512(a[i*k:], k, panel, depth, dst[i*n:], n, first)
		}
		for ; i < m; i++ {
			outer512(a[i*k:][:depth], panel, dst[i*n:][:panelColumns512], first)
		}
		return
	}
	for i := range m {
		var row [panelColumns512]float32
		copy(row[:], dst[i*n:][:columns])
		outer512(a[i*k:][:depth], panel, row[:], first)
		copy(dst[i*n:][:columns], row[:])
	}
}

func at512(p *[panelDepth512 * panelColumns512]float32, i int) vec512 {
	return archsimd.LoadFloat32x16((*[lanes512]float32)(unsafe.Pointer(&p[i])))
}

// outer4x512 computes four rows.
func outer4x512(a []float32, k int, panel *[panelDepth512 * panelColumns512]float32, depth int, dst []float32, n int, first bool) {
	a0, a1, a2, a3 := a[:depth], a[k:][:depth], a[2*k:][:depth], a[3*k:][:depth]
	d0, d1, d2, d3 := dst[:panelColumns512], dst[n:][:panelColumns512], dst[2*n:][:panelColumns512], dst[3*n:][:panelColumns512]
	var s00, s01, s10, s11, s20, s21, s30, s31 vec512
	if !first {
		s00, s01 = archsimd.LoadFloat32x16Slice(d0), archsimd.LoadFloat32x16Slice(d0[lanes512:])
		s10, s11 = archsimd.LoadFloat32x16Slice(d1), archsimd.LoadFloat32x16Slice(d1[lanes512:])
		s20, s21 = archsimd.LoadFloat32x16Slice(d2), archsimd.LoadFloat32x16Slice(d2[lanes512:])
		s30, s31 = archsimd.LoadFloat32x16Slice(d3), archsimd.LoadFloat32x16Slice(d3[lanes512:])
	}
	for p := range min(depth, panelDepth512) {
		v, w := at512(panel, p*panelColumns512), at512(panel, p*panelColumns512+lanes512)
		x := archsimd.BroadcastFloat32x16(a0[p])
		s00, s01 = x.MulAdd(v, s00), x.MulAdd(w, s01)
		x = archsimd.BroadcastFloat32x16(a1[p])
		s10, s11 = x.MulAdd(v, s10), x.MulAdd(w, s11)
		x = archsimd.BroadcastFloat32x16(a2[p])
		s20, s21 = x.MulAdd(v, s20), x.MulAdd(w, s21)
		x = archsimd.BroadcastFloat32x16(a3[p])
		s30, s31 = x.MulAdd(v, s30), x.MulAdd(w, s31)
	}
	s00.StoreSlice(d0)
	s01.StoreSlice(d0[lanes512:])
	s10.StoreSlice(d1)
	s11.StoreSlice(d1[lanes512:])
	s20.StoreSlice(d2)
	s21.StoreSlice(d2[lanes512:])
	s30.StoreSlice(d3)
	s31.StoreSlice(d3[lanes512:])
	archsimd.ClearAVXUpperBits()
}

// outer512 computes one row.
func outer512(a []float32, panel *[panelDepth512 * panelColumns512]float32, dst []float32, first bool) {
	var s0, s1 vec512
	if !first {
		s0, s1 = archsimd.LoadFloat32x16Slice(dst), archsimd.LoadFloat32x16Slice(dst[lanes512:])
	}
	for p, x := range a[:min(len(a), panelDepth512)] {
		v := archsimd.BroadcastFloat32x16(x)
		s0 = v.MulAdd(at512(panel, p*panelColumns512), s0)
		s1 = v.MulAdd(at512(panel, p*panelColumns512+lanes512), s1)
	}
	s0.StoreSlice(dst)
	s1.StoreSlice(dst[lanes512:])
	archsimd.ClearAVXUpperBits()
}
