//go:build goexperiment.simd && amd64

package cpu

import (
	"simd/archsimd"
	"unsafe"
)

// Products of one row, limited by how fast weights arrive. b's rows lie along
// the depth and sums run along it in order, so lanes have to be rows of b: eight
// of them, four words at a time, are transposed in registers of AVX2. Two such
// groups take turns, so that one's sums need not wait for the other's.

// groupRows is how many rows of b are computed together.
const groupRows = 16

// sumQuads adds to each of sums the products of a with one of the sixteen rows at
// b, stride bytes apart, over four times quads values in order.
//
//go:noescape
func sumQuads(a, b *float32, stride uintptr, quads int, sums *[groupRows]float32)

// sumQuadsAhead is sumQuads, and asks meanwhile for as much memory, from next on.
//
//go:noescape
func sumQuadsAhead(a, b *float32, stride uintptr, quads int, sums *[groupRows]float32, next *float32)

// columnsVector: dst[j] = a x b[j], for rows lo <= j < hi of b [n, k], by group.
func columnsVector(n, k int, r runs, lo, hi int, a, b, dst []float32, group groupFunc) {
	a, b, dst = a[:k], b[:n*k], dst[:n]
	j := lo
	for ; j+groupRows <= hi; j += groupRows {
		next := b[j*k:]
		if j+2*groupRows <= hi {
			next = next[groupRows*k:]
		}
		group(a, b[j*k:][:groupRows*k], next, dst[j:][:groupRows], r)
	}
	columns(1, n, k, r, j, hi, a, b, dst)
}

// A groupFunc computes sixteen columns of one row, and asks for what comes next.
type groupFunc func(a, b, next, dst []float32, r runs)

// groupInOrder asks for all that comes next, in the order in which it lies: with
// sixteen rows under way, processors with AVX2 do not see by themselves what that is.
func groupInOrder(a, b, next, dst []float32, r runs) {
	k := len(a)
	for from, to := 0, 0; from < k; from = to {
		to = r.end(from, k)
		quads := (to - from) / 4
		var sums [groupRows]float32
		sumQuadsAhead(&a[from], &b[from], uintptr(k)*4, quads, &sums, &next[from*groupRows])
		finish(a, b, dst, &sums, from, from+4*quads, to)
	}
}

// firstLines is how many cache lines of a row a processor misses that sees by itself
// where the row goes on.
const firstLines = 4

// groupByRows asks for the beginnings of the rows that come next: processors with
// AVX-512 ask for the rest by themselves.
func groupByRows(a, b, next, dst []float32, r runs) {
	k := len(a)
	for p := 0; p < min(k, firstLines*16); p += 16 {
		prefetchRows(unsafe.Pointer(&next[p]), uintptr(k)*4)
	}
	for from, to := 0, 0; from < k; from = to {
		to = r.end(from, k)
		quads := (to - from) / 4
		var sums [groupRows]float32
		sumQuads(&a[from], &b[from], uintptr(k)*4, quads, &sums)
		finish(a, b, dst, &sums, from, from+4*quads, to)
	}
}

// finish adds to the sums of a run what is left of it from a place on, and them to dst.
func finish(a, b, dst []float32, sums *[groupRows]float32, from, at, to int) {
	k := len(a)
	for j, sum := range sums {
		for p := at; p < to; p++ {
			sum = fma32(a[p], b[j*k+p], sum)
		}
		dst[j] = plus(dst[j], sum, from)
	}
}

// turn transposes four words of eight rows, of which r and r+4 share a vector:
// one vector a word, one lane a row.
func turn(b0, b1, b2, b3 archsimd.Uint32x8) (w0, w1, w2, w3 archsimd.Uint64x4) {
	lo01, hi01 := b0.InterleaveLoGrouped(b1).AsUint64x4(), b0.InterleaveHiGrouped(b1).AsUint64x4()
	lo23, hi23 := b2.InterleaveLoGrouped(b3).AsUint64x4(), b2.InterleaveHiGrouped(b3).AsUint64x4()
	return lo01.InterleaveLoGrouped(lo23), lo01.InterleaveHiGrouped(lo23), hi01.InterleaveLoGrouped(hi23), hi01.InterleaveHiGrouped(hi23)
}
