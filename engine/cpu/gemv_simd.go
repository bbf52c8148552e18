//go:build goexperiment.simd && amd64

package cpu

import "simd/archsimd"

// Products of one row, limited by how fast weights arrive. b's rows lie along
// the depth and sums run along it in order, so lanes have to be rows of b: eight
// of them, four words at a time, are transposed in registers of AVX2. Two such
// groups take turns, so that one's sums need not wait for the other's.

// groupRows is how many rows of b are computed together.
const groupRows = 16

// sumQuads adds to each of sums the products of a with one of the sixteen rows at
// b, stride bytes apart, over four times quads values in order. Meanwhile it asks
// for as much memory, from so many bytes ahead on.
//
//go:noescape
func sumQuads(a, b *float32, stride uintptr, quads int, sums *[groupRows]float32, ahead uintptr)

// columnsVector: dst[i, j] = a [m, k] x b[j], for rows lo <= j < hi of b [n, k].
func columnsVector(m, n, k int, r runs, lo, hi int, a, b, dst []float32) {
	a, b, dst = a[:m*k], b[:n*k], dst[:m*n]
	j := lo
	for ; j+groupRows <= hi; j += groupRows {
		var ahead int // rows are too short for the processor to see by itself what comes next
		if j+2*groupRows <= hi {
			ahead = groupRows * k
		}
		for i := range m {
			group(a[i*k:][:k], b[j*k:][:groupRows*k], dst[i*n+j:][:groupRows], r, ahead)
			ahead = 0
		}
	}
	for i := range m {
		columns(1, n, k, r, j, hi, a[i*k:], b, dst[i*n:])
	}
}

// group computes sixteen columns of one row, and asks for what follows so many
// values ahead: in the order in which it lies, which memory likes best.
func group(a, b, dst []float32, r runs, ahead int) {
	k := len(a)
	for from, to := 0, 0; from < k; from = to {
		to = r.end(from, k)
		quads := (to - from) / 4
		var sums [groupRows]float32
		sumQuads(&a[from], &b[from], uintptr(k)*4, quads, &sums, uintptr(ahead+from*(groupRows-1))*4)
		for j := range sums {
			for p := from + 4*quads; p < to; p++ {
				sums[j] = fma32(a[p], b[j*k+p], sums[j])
			}
			dst[j] = plus(dst[j], sums[j], from)
		}
	}
}

// turn transposes four words of eight rows, of which r and r+4 share a vector:
// one vector a word, one lane a row.
func turn(b0, b1, b2, b3 archsimd.Uint32x8) (w0, w1, w2, w3 archsimd.Uint64x4) {
	lo01, hi01 := b0.InterleaveLoGrouped(b1).AsUint64x4(), b0.InterleaveHiGrouped(b1).AsUint64x4()
	lo23, hi23 := b2.InterleaveLoGrouped(b3).AsUint64x4(), b2.InterleaveHiGrouped(b3).AsUint64x4()
	return lo01.InterleaveLoGrouped(lo23), lo01.InterleaveHiGrouped(lo23), hi01.InterleaveLoGrouped(hi23), hi01.InterleaveHiGrouped(hi23)
}
