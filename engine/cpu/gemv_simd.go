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

// columnsVector: dst[j] = a x b[j], for rows lo <= j < hi of b [n, k]; ask says how
// what comes next is asked for.
func columnsVector(n, k int, r runs, lo, hi int, a, b, dst []float32, ask asking) {
	a, b, dst = a[:k], b[:n*k], dst[:n]
	j := lo
	for ; j+groupRows <= hi; j += groupRows {
		next := b[j*k:]
		if j+2*groupRows <= hi {
			next = next[groupRows*k:]
		}
		group(a, b[j*k:][:groupRows*k], next, dst[j:][:groupRows], r, ask)
	}
	columns(1, n, k, r, j, hi, a, b, dst)
}

// asking says how rows that come next are asked for, with sixteen of them under way.
type asking int

const (
	// inOrder asks for all of them in the order in which they lie: processors with AVX2
	// do not see by themselves where rows go on.
	inOrder asking = iota
	// byRows asks for their beginnings: processors with AVX-512 see the rest.
	byRows
)

// firstLines is how many cache lines of a row a processor misses that sees by itself
// where the row goes on.
const firstLines = 4

// group computes sixteen columns of one row, and asks for what comes next.
func group(a, b, next, dst []float32, r runs, ask asking) {
	k := len(a)
	for p := 0; ask == byRows && p < min(k, firstLines*16); p += 16 {
		prefetchRows(unsafe.Pointer(&next[p]), uintptr(k)*4)
	}
	for from, to := 0, 0; from < k; from = to {
		to = r.end(from, k)
		quads := (to - from) / 4
		var sums [groupRows]float32
		if ask == inOrder {
			sumQuadsAhead(&a[from], &b[from], uintptr(k)*4, quads, &sums, &next[from*groupRows])
		} else {
			sumQuads(&a[from], &b[from], uintptr(k)*4, quads, &sums)
		}
		for j, sum := range sums {
			for p := from + 4*quads; p < to; p++ {
				sum = fma32(a[p], b[j*k+p], sum)
			}
			dst[j] = plus(dst[j], sum, from)
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
