// Code generated from gemm512.go by twin_test.go; DO NOT EDIT.

//go:build goexperiment.simd && amd64

package cpu

import (
	"simd/archsimd"
	"unsafe"
)

// The AVX2 products, made from gemm512.go.
//
// Two rows of a meet four of b in eight vectors of partial sums, which are
// added up once a depth block. How rows are grouped changes no sum.
const (
	depthBlock256 = 128 * lanes256 // values of a row at a time: six runs of it stay in the first cache
	rowBlock256   = 64             // rows of a that pass every four of b: they stay in the second
)

// products256: dst [m, n] = a [m, k] x b [n, k]ᵀ.
func products256(m, n, k int, a, b, dst []float32) {
	a, b, dst = a[:m*k], b[:n*k], dst[:m*n]
	clear(dst)
	for p := 0; p < k; p += depthBlock256 {
		depth := min(depthBlock256, k-p)
		for lo := 0; lo < m; lo += rowBlock256 {
			hi := min(lo+rowBlock256, m)
			j := 0
			for ; j+4 <= n; j += 4 {
				i := lo
				for ; i+2 <= hi; i += 2 {
					dot2x4x256(a[i*k+p:], b[j*k+p:], dst[i*n+j:], k, n, depth)
				}
				if i < hi {
					dot1x4x256(a[i*k+p:], b[j*k+p:], dst[i*n+j:], k, depth)
				}
			}
			for ; j < n; j++ {
				for i := lo; i < hi; i++ {
					dst[i*n+j] += dot256(a[i*k+p:][:depth], b[j*k+p:][:depth])
				}
			}
		}
	}
	archsimd.ClearAVXUpperBits()
}

func at256(p *float32, i int) vec256 {
	return archsimd.LoadFloat32x8((*[lanes256]float32)(unsafe.Add(unsafe.Pointer(p), i*4)))
}

// dot2x4x256 adds the products of two rows of a and four of b, stride values
// apart, to dst, whose rows are n apart.
func dot2x4x256(a, b, dst []float32, stride, n, depth int) {
	a0, a1 := a[:depth], a[stride:][:depth]
	b0, b1, b2, b3 := b[:depth], b[stride:][:depth], b[2*stride:][:depth], b[3*stride:][:depth]
	var s00, s01, s02, s03, s10, s11, s12, s13 vec256
	i := 0
	for ; i+lanes256 <= depth; i += lanes256 {
		x, y := at256(&a0[0], i), at256(&a1[0], i)
		w := at256(&b0[0], i)
		s00, s10 = x.MulAdd(w, s00), y.MulAdd(w, s10)
		w = at256(&b1[0], i)
		s01, s11 = x.MulAdd(w, s01), y.MulAdd(w, s11)
		w = at256(&b2[0], i)
		s02, s12 = x.MulAdd(w, s02), y.MulAdd(w, s12)
		w = at256(&b3[0], i)
		s03, s13 = x.MulAdd(w, s03), y.MulAdd(w, s13)
	}
	if i < depth {
		x, y := archsimd.LoadFloat32x8SlicePart(a0[i:]), archsimd.LoadFloat32x8SlicePart(a1[i:])
		w := archsimd.LoadFloat32x8SlicePart(b0[i:])
		s00, s10 = x.MulAdd(w, s00), y.MulAdd(w, s10)
		w = archsimd.LoadFloat32x8SlicePart(b1[i:])
		s01, s11 = x.MulAdd(w, s01), y.MulAdd(w, s11)
		w = archsimd.LoadFloat32x8SlicePart(b2[i:])
		s02, s12 = x.MulAdd(w, s02), y.MulAdd(w, s12)
		w = archsimd.LoadFloat32x8SlicePart(b3[i:])
		s03, s13 = x.MulAdd(w, s03), y.MulAdd(w, s13)
	}
	sums256(s00, s01, s02, s03).Add(archsimd.LoadFloat32x4Slice(dst)).StoreSlice(dst)
	sums256(s10, s11, s12, s13).Add(archsimd.LoadFloat32x4Slice(dst[n:])).StoreSlice(dst[n:])
}

func dot1x4x256(a, b, dst []float32, stride, depth int) {
	a0 := a[:depth]
	b0, b1, b2, b3 := b[:depth], b[stride:][:depth], b[2*stride:][:depth], b[3*stride:][:depth]
	var s0, s1, s2, s3 vec256
	i := 0
	for ; i+lanes256 <= depth; i += lanes256 {
		x := at256(&a0[0], i)
		s0, s1 = x.MulAdd(at256(&b0[0], i), s0), x.MulAdd(at256(&b1[0], i), s1)
		s2, s3 = x.MulAdd(at256(&b2[0], i), s2), x.MulAdd(at256(&b3[0], i), s3)
	}
	if i < depth {
		x := archsimd.LoadFloat32x8SlicePart(a0[i:])
		s0 = x.MulAdd(archsimd.LoadFloat32x8SlicePart(b0[i:]), s0)
		s1 = x.MulAdd(archsimd.LoadFloat32x8SlicePart(b1[i:]), s1)
		s2 = x.MulAdd(archsimd.LoadFloat32x8SlicePart(b2[i:]), s2)
		s3 = x.MulAdd(archsimd.LoadFloat32x8SlicePart(b3[i:]), s3)
	}
	sums256(s0, s1, s2, s3).Add(archsimd.LoadFloat32x4Slice(dst)).StoreSlice(dst)
}

func dot256(a, b []float32) float32 {
	var s vec256
	for len(a) > 0 {
		s = archsimd.LoadFloat32x8SlicePart(a).MulAdd(archsimd.LoadFloat32x8SlicePart(b), s)
		n := min(lanes256, len(a))
		a, b = a[n:], b[n:]
	}
	return sums256(s, s, s, s).GetElem(0)
}

// sums256 adds up each of four vectors.
func sums256(a, b, c, d vec256) archsimd.Float32x4 {
	return quarter256(a).AddPairs(quarter256(b)).AddPairs(quarter256(c).AddPairs(quarter256(d)))
}

// productsPlain256: dst [m, n] = a [m, k] x b [k, n].
func productsPlain256(m, n, k int, a, b, dst []float32) {
	a, b, dst = a[:m*k], b[:n*k], dst[:m*n]
	j := 0
	for ; j+2*lanes256 <= n; j += 2 * lanes256 {
		i := 0
		for ; i+4 <= m; i += 4 {
			outer4x256(a[i*k:], b[j:], dst[i*n+j:], k, n)
		}
		for ; i < m; i++ {
			outer256(a[i*k:][:k], b[j:], dst[i*n+j:][:2*lanes256], n)
		}
	}
	for ; j < n; j += lanes256 {
		for i := range m {
			outer256(a[i*k:][:k], b[j:], dst[i*n+j:(i+1)*n], n)
		}
	}
	archsimd.ClearAVXUpperBits()
}

// outer4x256 computes four rows of two vectors of columns.
func outer4x256(a, b, dst []float32, k, n int) {
	a0, a1, a2, a3 := a[:k], a[k:][:k], a[2*k:][:k], a[3*k:][:k]
	b = b[:(k-1)*n+2*lanes256]
	var s00, s01, s10, s11, s20, s21, s30, s31 vec256
	for p, at := 0, 0; p < k; p, at = p+1, at+n {
		v, w := at256(&b[0], at), at256(&b[0], at+lanes256)
		x := archsimd.BroadcastFloat32x8(a0[p])
		s00, s01 = x.MulAdd(v, s00), x.MulAdd(w, s01)
		x = archsimd.BroadcastFloat32x8(a1[p])
		s10, s11 = x.MulAdd(v, s10), x.MulAdd(w, s11)
		x = archsimd.BroadcastFloat32x8(a2[p])
		s20, s21 = x.MulAdd(v, s20), x.MulAdd(w, s21)
		x = archsimd.BroadcastFloat32x8(a3[p])
		s30, s31 = x.MulAdd(v, s30), x.MulAdd(w, s31)
	}
	s00.StoreSlice(dst)
	s01.StoreSlice(dst[lanes256:])
	s10.StoreSlice(dst[n:])
	s11.StoreSlice(dst[n+lanes256:])
	s20.StoreSlice(dst[2*n:])
	s21.StoreSlice(dst[2*n+lanes256:])
	s30.StoreSlice(dst[3*n:])
	s31.StoreSlice(dst[3*n+lanes256:])
}

// outer256 computes one row of at most two vectors of columns.
func outer256(a, b, dst []float32, n int) {
	var s0, s1 vec256
	for p, x := range a {
		row := b[p*n:]
		v := archsimd.BroadcastFloat32x8(x)
		s0 = v.MulAdd(archsimd.LoadFloat32x8SlicePart(row), s0)
		if len(dst) > lanes256 {
			s1 = v.MulAdd(archsimd.LoadFloat32x8SlicePart(row[lanes256:]), s1)
		}
	}
	s0.StoreSlicePart(dst)
	if len(dst) > lanes256 {
		s1.StoreSlicePart(dst[lanes256:])
	}
}
