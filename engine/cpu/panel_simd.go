//go:build goexperiment.simd && amd64

package cpu

import "unsafe"

// Products of several rows, limited by how fast weights arrive. b's rows lie along
// the depth and sums run along it in order, so lanes have to be rows of b. Sixteen of
// them are read once, a piece of their depth at a time: a piece is transposed into a
// panel that stays in the first cache, all rows of a pass by it, and the next piece is
// asked for meanwhile, for rows are too short for the processor to see that by itself.

const (
	pieceDepth = 128 // of a panel: 8 KiB
	pieceLines = pieceDepth / 16
	sumRows    = 64 // rows of a whose sums are kept at a time
	// severalRows is up to how many rows columnsPanels beats oneDNN's products for
	// processors with AVX2 and no more.
	severalRows = 64
)

// panelRows adds to sums [rows, 16] the products of rows of a, stride bytes apart,
// with a panel [depth, 16]: 1, 2, 4 or 6 rows, whose sums are kept in registers.
//
//go:noescape
func panelRows(rows int, a *float32, stride uintptr, panel *float32, depth int, sums *float32)

// panelBlock is how many of so many rows panelRows takes at a time.
func panelBlock(rows int) int {
	switch {
	case rows >= 6 && rows != 8:
		return 6
	case rows >= 4:
		return 4
	case rows >= 2:
		return 2
	}
	return 1
}

// columnsBy is columns for any number of rows: of one, sums stay in registers along the
// whole depth.
func columnsBy(ask asking) func(m, n, k int, r runs, lo, hi int, a, b, dst []float32) {
	return func(m, n, k int, r runs, lo, hi int, a, b, dst []float32) {
		if m == 1 {
			columnsVector(n, k, r, lo, hi, a, b, dst, ask)
		} else {
			columnsPanels(m, n, k, r, lo, hi, a, b, dst)
		}
	}
}

// narrowBy gives what products512 and products256 give: one run.
func narrowBy(ask asking) func(m, n, k, lo, hi int, a, b, dst []float32) {
	columns := columnsBy(ask)
	return func(m, n, k, lo, hi int, a, b, dst []float32) {
		columns(m, n, k, runs{length: k}, lo, hi, a, b, dst)
	}
}

// columnsPanels: dst[i, j] = a [m, k] x b[j], for rows lo <= j < hi of b [n, k].
func columnsPanels(m, n, k int, r runs, lo, hi int, a, b, dst []float32) {
	a, b, dst = a[:m*k], b[:n*k], dst[:m*n]
	for i := 0; i < m; i += sumRows {
		rows := min(sumRows, m-i)
		for j := lo; j < hi; j += groupRows {
			width := min(groupRows, hi-j)
			p := panelGroup{a: a[i*k:][:rows*k], b: b[j*k:][:width*k], k: k, rows: rows, width: width, more: j+groupRows < hi}
			p.product(r, dst[i*n+j:], n)
		}
	}
}

// panelGroup is rows of a beside up to sixteen rows of b.
type panelGroup struct {
	a, b        []float32 // [rows, k], [width, k]
	k           int
	rows, width int
	more        bool // rows of b come next

	panel [pieceDepth * groupRows]float32
	sums  [sumRows * groupRows]float32
}

// product sets dst [rows, width], whose rows are n values apart.
func (p *panelGroup) product(r runs, dst []float32, n int) {
	for from, to := 0, 0; from < p.k; from = to {
		clear(p.sums[:p.rows*groupRows])
		to = r.end(from, p.k)
		for at := from; at < to; at += pieceDepth {
			depth := min(pieceDepth, to-at)
			transpose(p.panel[:], groupRows, p.b[at:], p.width, p.k, depth)
			p.piece(at, depth)
		}
		for i := range p.rows {
			row := dst[i*n:][:p.width]
			for j, sum := range p.sums[i*groupRows:][:p.width] {
				row[j] = plus(row[j], sum, from)
			}
		}
	}
}

// piece adds the products with the panel, depth values from a place on, and asks
// for what comes next.
func (p *panelGroup) piece(at, depth int) {
	stride := uintptr(p.k) * 4
	next, lines := unsafe.Pointer(&p.b[at]), pieceLines
	switch {
	case at+depth < p.k:
		next = unsafe.Add(next, depth*4)
	case p.more:
		next = unsafe.Add(next, groupRows*stride-uintptr(at)*4)
	default:
		lines = 0
	}
	blocks := (p.rows + 5) / 6
	share := (lines + blocks - 1) / blocks
	for i := 0; i < p.rows; {
		for range min(share, lines) {
			prefetchRows(next, stride)
			next, lines = unsafe.Add(next, 64), lines-1
		}
		block := panelBlock(p.rows - i)
		panelRows(block, &p.a[i*p.k+at], stride, &p.panel[0], depth, &p.sums[i*groupRows])
		i += block
	}
}
