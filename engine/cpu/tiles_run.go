//go:build goexperiment.simd && amd64

package cpu

import "unsafe"

// tileRun is what tileProducts multiplies: 32 rows of A, two tiles side by side, by
// columns of B in tiles. It keeps sums in C.
type tileRun struct {
	a, b   unsafe.Pointer
	stride uintptr // bytes from a row of A to the next
	rows   uintptr // from its first sixteen rows to the others
	along  uintptr // from a tile of A to the next along the depth
	across uintptr // from sixteen columns of B to the next
	steps  uintptr // tiles along the depth
	pairs  uintptr // of sixteen columns
	c      unsafe.Pointer
	adds   uintptr        // 1: to what C has
	next   unsafe.Pointer // rows asked for meanwhile, three for each pair; any address will do
	apart  uintptr        // bytes between them
	// kept, or nil, is where A's tiles are copied to, one behind the other; all pairs but
	// the first use the copy. keptRows are the bytes between the first sixteen rows and
	// the others.
	kept     unsafe.Pointer
	keptRows uintptr
	// wanted is how many of the 32 rows are: others' sums may be left as they are.
	wanted uintptr
}

// products computes for each pair of sixteen columns four tiles of C: the first rows with
// both, the others with both.
func (u tileUnit) products(run *tileRun) {
	if u == dotTiles {
		dotProducts(run)
	} else {
		tileProducts(run)
	}
}

// column computes the two tiles of C of sixteen columns, and asks for 2 KiB a step from
// run.next on.
func (u tileUnit) column(run *tileRun) {
	if u == dotTiles {
		dotColumn(run)
	} else {
		tileColumn(run)
	}
}

// dotProducts is tileUnit.products by VDPBF16PS. It keeps nothing: A is read where it is.
//
//go:noescape
func dotProducts(run *tileRun)

// dotColumn is tileUnit.column by VDPBF16PS. It keeps a tile of A at a time at run.kept.
//
//go:noescape
func dotColumn(run *tileRun)

// pairTiles makes tiles of sixteen columns each, in blocks so far across, of pairs of
// rows that are stride bytes apart: sixteen pairs a tile.
//
//go:noescape
func pairTiles(dst, src unsafe.Pointer, stride uintptr, pairs, blocks int, across uintptr)

// writeSums writes rows of sums, 32 at most, to rows of so many pairs of sixteen values,
// pitch bytes apart. What is written past the caches lies at whole cache lines; the next
// instruction with a LOCK, such as a phase ends with, waits for it.
//
//go:noescape
func writeSums(dst unsafe.Pointer, pitch uintptr, sums unsafe.Pointer, rows, pairs int, how writing)

// transposeTiles transposes tiles of 16 x 16 words.
//
//go:noescape
func transposeTiles(dst unsafe.Pointer, dstStride uintptr, src unsafe.Pointer, srcStride uintptr, tiles int, dstStep, srcStep uintptr)
