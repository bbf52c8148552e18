//go:build goexperiment.simd && amd64

package cpu

import "unsafe"

const (
	tileBytes = 1024 // of a tile
	tileDepth = 256  // of the depth at a time: 32 rows of A stay in the first cache
	tileDeep  = 2048 // of the depth that the second cache holds of rowTile columns of B
	tileGroup = 256  // rows of A that share those, where the depth is more

	tileReduced = 512 << 10 // values of A, laid out, that stay in the second cache beside B
)

// tileProduct is A [rows, k] x B [k, columns], up to rowTile columns. B is in tiles
// already; of A 32 rows at a time are, unless all of them have been laid out.
type tileProduct struct {
	unit tileUnit

	rows, columns, k, steps int

	a    []uint16  // [rows, k], or
	laid []uint16  // tiles [rows/16, steps] of [16 rows, 32 values]
	b    []uint16  // tiles [columns/16, steps] of [16 pairs of values, 16 columns]
	kept []uint16  // room for 32 rows of A over the depth
	sums []float32 // of tileGroup rows: 32 rows after others, of those four tiles for 32 columns after others

	dst    []float32 // [rows, pitch], or where it is turned [columns, pitch]
	pitch  int
	turned bool
	how    writing   // what becomes of what dst has, where it is not turned
	corner []float32 // [16, 16], where a tile is not written whole
}

// newProduct is the worker's: one at a time.
func (t tiles) newProduct(w *worker, columns, k int) *tileProduct {
	p := t.laidProduct(w, newLayout(columns, k, w.product.columns.halves(layoutSize(columns, k))))
	clear(p.b[roundUp(columns, tileEdge)*p.steps*tileStep:])
	return p
}

// laidProduct is newProduct by what has been laid out: B [columns, k].
func (t tiles) laidProduct(w *worker, x layout) *tileProduct {
	p := &w.tiles
	*p = tileProduct{unit: t.k.tiles, columns: x.rows, k: x.k, steps: (x.k + tileStep - 1) / tileStep, b: x.values}
	p.kept = w.product.rows.halves(tilePair * (tileDepth + p.steps*tileStep))
	p.sums = w.product.sums.floats(tileGroup * roundUp(x.rows, tilePair))
	p.corner = w.product.block.floats(tileEdge * tileEdge)
	return p
}

// turnColumns lays out B, given as [columns, k].
func (p *tileProduct) turnColumns(b []uint16) {
	layTiles(p.kept, layout{p.columns, p.k, p.b}, 0, 0, p.columns, p.k, b)
}

// layTiles is strips.lay, with room for tileEdge rows of width in scratch.
func layTiles(scratch []uint16, x layout, row, column, m, width int, a []uint16) {
	depth, part := roundUp(x.k, tileStep), roundUp(width, tileStep)
	tilesAt := func(row int) []uint16 { return x.values[row*depth+column*tileEdge:][:part*tileEdge] }
	for lo := 0; lo < m; lo += tileEdge {
		from, stride := a[lo*width:], width
		if lo+tileEdge > m || width%tileStep != 0 {
			from, stride = scratch, part
			pad(from, a[lo*width:], min(tileEdge, m-lo), width, width, tileEdge, part)
		}
		transposeTiles(unsafe.Pointer(&tilesAt(row + lo)[0]), 64, unsafe.Pointer(&from[0]), uintptr(stride)*2, part/tileStep, tileBytes, 64)
	}
	if end := roundUp(row+m, tileEdge); end >= x.rows && end%tilePair != 0 {
		clear(tilesAt(end))
	}
}

// pairColumns lays out B, given as [k, stride].
func (p *tileProduct) pairColumns(b []uint16, stride int) { p.pair(p.b, b, stride, p.columns) }

// pair makes tiles of columns, given as [k, stride]. What is missing is zero.
func (p *tileProduct) pair(dst, from []uint16, stride, columns int) {
	across := p.steps * tileBytes
	whole, pairs := columns/tileEdge, p.k/2
	if whole > 0 && pairs > 0 {
		pairTiles(unsafe.Pointer(&dst[0]), unsafe.Pointer(&from[0]), uintptr(stride)*2, pairs, whole, uintptr(across))
	}
	for block := range (columns + tileEdge - 1) / tileEdge {
		tiles, first := dst[block*across/2:][:across/2], 0
		if block < whole {
			first = pairs
		}
		p.pairRest(tiles, from[block*tileEdge:], stride, min(tileEdge, columns-block*tileEdge), first)
	}
}

// pairRest makes those pairs of rows from the first on that pairTiles does not, of
// sixteen columns at most.
func (p *tileProduct) pairRest(tiles, from []uint16, stride, columns, first int) {
	clear(tiles[first*tilePair:])
	for row := 2 * first; row < p.k; row++ {
		for j, x := range from[row*stride:][:columns] {
			tiles[row/2*tilePair+2*j+row%2] = x
		}
	}
}

// turnRows lays out A, given as [k, stride], as tiles, by way of pairs.
func (p *tileProduct) turnRows(laid, pairs, a []uint16, stride, rows int) {
	depth := p.steps * tileStep
	p.pair(pairs, a, stride, rows)
	for lo := 0; lo < rows; lo += tileEdge {
		transposeTiles(unsafe.Pointer(&laid[lo*depth]), 64, unsafe.Pointer(&pairs[lo*depth]), 64, p.steps, tileBytes, tileBytes)
	}
	clear(laid[roundUp(rows, tileEdge)*depth:])
}

// pad copies values [rows, columns], rows stride apart, to [height, width] and zeroes
// what is beside and below.
func pad(dst, src []uint16, rows, columns, stride, height, width int) {
	clear(dst[:height*width])
	for i := range rows {
		copy(dst[i*width:], src[i*stride:][:columns])
	}
}

// run computes rows [lo, hi).
func (p *tileProduct) run(lo, hi int) {
	group := tilePair
	if p.k > tileDeep {
		group = tileGroup
	}
	if p.columns <= tilePair && p.laid == nil {
		for ; lo < hi; lo += tilePair {
			p.few(lo, min(hi, lo+tilePair))
		}
		return
	}
	for ; lo < hi; lo += group {
		for from := 0; from < p.steps; from += tileDeep / tileStep {
			to := min(from+tileDeep/tileStep, p.steps)
			for i := lo; i < min(hi, lo+group); i += tilePair {
				p.many(i, min(hi, i+tilePair), from, to, p.sums[(i-lo)*roundUp(p.columns, tilePair):])
			}
		}
	}
}

// few computes rows [lo, hi), 32 at most, of 32 columns at most: A is used once, from
// where it is.
func (p *tileProduct) few(lo, hi int) {
	run := p.part(0, p.steps, p.sums)
	run.wanted = uintptr(hi - lo)
	run.next, run.apart = unsafe.Pointer(&p.a[p.after(lo)*p.k]), 64
	p.rowsOf(&run, lo, 0, p.steps)
	if hi-lo <= tileEdge {
		run.rows = 0 // the others' sums are not wanted: no weights are read for them
	}
	if p.columns > tileEdge {
		p.unit.products(&run)
		p.write(p.sums, lo, hi)
		return
	}
	run.kept = unsafe.Pointer(&p.kept[0])
	p.unit.column(&run)
	if p.turned {
		p.turnTile(p.sums, lo, 0, hi)
		p.turnTile(p.sums[tileBytes/4:], lo+tileEdge, 0, hi)
		return
	}
	p.writeRest(p.sums, lo, min(hi, lo+tileEdge), 0)
	p.writeRest(p.sums[tileBytes/4:], lo+tileEdge, hi, 0)
}

// many adds to the sums of rows [lo, hi), 32 at most, steps [from, to) of the depth, and
// writes them after the last.
func (p *tileProduct) many(lo, hi, from, to int, sums []float32) {
	for end := 0; from < to; from = end {
		end = min(from+tileDepth/tileStep, to)
		run := p.part(from, end-from, sums)
		run.wanted = uintptr(hi - lo)
		if p.laid != nil {
			at := func(row int) unsafe.Pointer { return unsafe.Pointer(&p.laid[(row*p.steps+from*tileEdge)*tileStep]) }
			run.a, run.stride, run.rows, run.along = at(lo), 64, uintptr(p.steps)*tileBytes, tileBytes
			run.next = run.a
		} else {
			run.next, run.apart = unsafe.Pointer(&p.a[p.after(lo)*p.k+from*tileStep]), uintptr(p.k)*2
			run.kept, run.keptRows = unsafe.Pointer(&p.kept[0]), uintptr(end-from)*tileBytes
			p.rowsOf(&run, lo, from, end-from)
		}
		p.unit.products(&run)
	}
	if to == p.steps {
		p.write(sums, lo, hi)
	}
}

// part is a run of so many steps of the depth, but for A.
func (p *tileProduct) part(from, steps int, sums []float32) tileRun {
	run := tileRun{
		b: unsafe.Pointer(&p.b[from*tileBytes/2]), across: uintptr(p.steps) * tileBytes,
		steps: uintptr(steps), pairs: uintptr((p.columns + tilePair - 1) / tilePair), c: unsafe.Pointer(&sums[0]),
	}
	if from > 0 {
		run.adds = 1
	}
	return run
}

// after is the first of the rows to ask for while those from row on are used.
func (p *tileProduct) after(row int) int { return min(row+tilePair, max(p.rows-tilePair, 0)) }

// rowsOf makes part of the depth of 32 rows the run's A: where they lie, or padded with
// zeroes.
func (p *tileProduct) rowsOf(run *tileRun, row, from, steps int) {
	at, stride := p.a[row*p.k+from*tileStep:], p.k
	if row+tilePair > p.rows || (from+steps)*tileStep > p.k {
		stride = steps * tileStep
		padded := p.kept[tilePair*tileDepth:]
		pad(padded, at, min(tilePair, p.rows-row), min(stride, p.k-from*tileStep), p.k, tilePair, stride)
		at = padded
	}
	run.a, run.stride, run.rows, run.along = unsafe.Pointer(&at[0]), uintptr(stride)*2, uintptr(stride)*2*tileEdge, 64
}

// write writes the sums of rows from lo on, before hi.
func (p *tileProduct) write(sums []float32, lo, hi int) {
	if !p.turned {
		pairs := p.columns / tilePair
		if pairs > 0 {
			how := p.how
			if how == writePast && (uintptr(unsafe.Pointer(&p.dst[0]))|uintptr(p.pitch)*4)%64 != 0 {
				how = writeOver
			}
			writeSums(unsafe.Pointer(&p.dst[lo*p.pitch]), uintptr(p.pitch)*4, unsafe.Pointer(&sums[0]), hi-lo, pairs, how)
		}
		p.writeRest(sums[pairs*4*tileBytes/4:], lo, hi, pairs*tilePair)
		return
	}
	for column := 0; column < p.columns; column += tilePair {
		for tile := range 4 {
			p.turnTile(sums[column*tilePair+tile*tileBytes/4:], lo+tile/2*tileEdge, column+tile%2*tileEdge, hi)
		}
	}
}

// writeRest writes columns from one on, fewer than 32.
func (p *tileProduct) writeRest(sums []float32, lo, hi, first int) {
	for column := first; column < p.columns; column += tileEdge {
		columns := min(tileEdge, p.columns-column)
		for row := lo; row < hi; row++ {
			from := sums[(row-lo)/tileEdge*2*tileBytes/4+(row-lo)%tileEdge*tileEdge:][:columns]
			to := p.dst[row*p.pitch+column:][:columns]
			if p.how != writeAdd {
				copy(to, from)
				continue
			}
			for i, x := range from {
				to[i] += x
			}
		}
		sums = sums[tileBytes/4:]
	}
}

// turnTile writes one tile of sums of rows from row on, before hi, and columns from
// column on, turned.
func (p *tileProduct) turnTile(sums []float32, row, column, hi int) {
	rows, columns := min(tileEdge, hi-row), min(tileEdge, p.columns-column)
	switch {
	case rows <= 0 || columns <= 0:
	case rows == tileEdge && columns == tileEdge:
		transposeTiles(unsafe.Pointer(&p.dst[column*p.pitch+row]), uintptr(p.pitch)*4, unsafe.Pointer(&sums[0]), 64, 1, 0, 0)
	default:
		transposeTiles(unsafe.Pointer(&p.corner[0]), 64, unsafe.Pointer(&sums[0]), 64, 1, 0, 0)
		for j := range columns {
			copy(p.dst[(column+j)*p.pitch+row:][:rows], p.corner[j*tileEdge:])
		}
	}
}
