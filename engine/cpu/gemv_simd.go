//go:build goexperiment.simd && amd64

package cpu

import (
	"simd/archsimd"
	"unsafe"
)

// Products of few rows, limited by how fast weights arrive. b's rows lie along
// the depth and sums run along it in order, so lanes have to be rows of b: eight
// of them, four words at a time, are transposed in registers of AVX2. Two such
// groups take turns, so that one's sums need not wait for the other's.

// groupRows is how many rows of b are computed together.
const groupRows = 16

// prefetchRows asks for the cache lines at p and at the 15 places that follow
// it, stride bytes apart. Any address will do.
//
//go:noescape
func prefetchRows(p unsafe.Pointer, stride uintptr)

// columnsVector: dst[i, j] = a [m, k] x b[j], for rows lo <= j < hi of b [n, k].
func columnsVector(m, n, k, run, lo, hi int, a, b, dst []float32) {
	a, b, dst = a[:m*k], b[:n*k], dst[:m*n]
	for i := range m {
		j := lo
		for ; j+groupRows <= hi; j += groupRows {
			ahead := j+2*groupRows <= hi
			group(a[i*k:][:k], b[j*k:][:groupRows*k], dst[i*n+j:][:groupRows], run, ahead)
		}
		columns(1, n, k, run, j, hi, a[i*k:], b, dst[i*n:])
	}
	archsimd.ClearAVXUpperBits()
}

// group computes sixteen columns of one row. ahead says that the rows of b that
// follow are next: rows are too short for the processor to see that by itself.
func group(a, b, dst []float32, run int, ahead bool) {
	k := len(a)
	stride := uintptr(k) * 4
	for from := 0; from < k; from += run {
		to := min(from+run, k)
		var s, t archsimd.Float32x8
		i := from
		for i+4 <= to {
			line := min(16, (to-i)/4*4) // values of a cache line
			p := unsafe.Pointer(&b[i])
			if ahead {
				prefetchRows(unsafe.Add(p, groupRows*stride), stride)
			}
			for range groupRows / 8 { // loops, or the compiler runs out of registers
				for q := i; q < i+line; q += 4 {
					x := (*[4]float32)(a[q:])
					w0, w1, w2, w3 := turn(four(p, stride), four(unsafe.Add(p, stride), stride), four(unsafe.Add(p, 2*stride), stride), four(unsafe.Add(p, 3*stride), stride))
					s = word(word(word(word(s, x[0], w0), x[1], w1), x[2], w2), x[3], w3)
					p = unsafe.Add(p, 16)
				}
				s, t = t, s
				p = unsafe.Add(unsafe.Pointer(&b[i]), 8*stride)
			}
			i += line
		}
		var sums [groupRows]float32
		s.StoreSlice(sums[:])
		t.StoreSlice(sums[8:])
		for j := range sums {
			for p := i; p < to; p++ {
				sums[j] = fma32(a[p], b[j*k+p], sums[j])
			}
			dst[j] = plus(dst[j], sums[j], from)
		}
	}
}

// four loads four words at p and four of the row four strides on. It reads, and
// drops, four words more at p, which are there: rows follow.
func four(p unsafe.Pointer, stride uintptr) archsimd.Uint32x8 {
	return row8(p).SetHi(archsimd.LoadUint32x4((*[4]uint32)(unsafe.Add(p, 4*stride))))
}

// turn transposes four words of eight rows, given as four loads them:
// one vector a word, one lane a row.
func turn(b0, b1, b2, b3 archsimd.Uint32x8) (w0, w1, w2, w3 archsimd.Uint64x4) {
	lo01, hi01 := b0.InterleaveLoGrouped(b1).AsUint64x4(), b0.InterleaveHiGrouped(b1).AsUint64x4()
	lo23, hi23 := b2.InterleaveLoGrouped(b3).AsUint64x4(), b2.InterleaveHiGrouped(b3).AsUint64x4()
	return lo01.InterleaveLoGrouped(lo23), lo01.InterleaveHiGrouped(lo23), hi01.InterleaveLoGrouped(hi23), hi01.InterleaveHiGrouped(hi23)
}

// word adds the product of x and a word of each row.
func word(s archsimd.Float32x8, x float32, w archsimd.Uint64x4) archsimd.Float32x8 {
	return archsimd.BroadcastFloat32x8(x).MulAdd(w.AsFloat32x8(), s)
}
