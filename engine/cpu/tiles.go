//go:build goexperiment.simd && amd64

package cpu

// tiles multiplies bfloat16 in tiles of 16 x 32 values. All else is left to another
// multiplier.
//
// TDPBF16PS, of AMX, adds to a sum, for each 32 values of the depth, what it summed from
// zero: values of even place by one chain of fused multiply-adds, those of odd place by
// another, and then both. By VDPBF16PS a sum is one chain over the whole depth, of each
// pair the value of odd place first. So a row's bits depend on nothing but the row.
type tiles struct {
	multiplier
	k *kernels
}

// withTiles multiplies bfloat16 by tiles where the kernels have them.
func withTiles(mul multiplier, k *kernels) multiplier {
	if k.tiles == noTiles {
		return mul
	}
	return tiles{mul, k}
}

// beneath is the library under the tiles, which may multiply bfloat16 as well; or nil.
func beneath(mul multiplier) multiplier {
	t, _ := mul.(tiles)
	law, ok := t.multiplier.(*rowLaw)
	if !ok || !law.provider.half() {
		return nil
	}
	return law
}

func (tiles) half() bool { return true }

// quantum implements multiplier: rows are multiplied by 32.
func (t tiles) quantum(half bool) int {
	if half {
		return tilePair
	}
	return t.multiplier.quantum(half)
}

// product takes weights [n, k] as they lie in memory: dstᵀ = b x aᵀ, so that it is the
// rows of a that are rearranged, and sums come out turned.
func (t tiles) product(w *worker, s shape, m int, a, b operand, dst []float32) {
	switch {
	case a.bf16 == nil:
		t.multiplier.product(w, s, m, a, b, dst)
	case s.plain:
		t.plain(w, s, m, 0, s.n, writeOver, a.bf16, b.bf16, dst)
	case s.n <= tilePair && m > tilePair:
		t.turned(w, s, m, s.n, writeOver, a.bf16, b.bf16, dst)
	default:
		t.columns(w, s, m, 0, s.n, a.bf16, b.bf16, dst)
	}
}

func (tiles) lay(w *worker, x layout, row, column, m, width int, a operand) {
	layTiles(w.product.rows.halves(tileEdge*roundUp(width, tileStep)), x, row, column, m, width, a.bf16)
}

func (t tiles) strip(w *worker, x layout, n, lo, hi int, b operand, dst []float32, pitch int) {
	p := t.laidProduct(w, x)
	p.rows, p.a, p.dst, p.pitch, p.turned = n-lo, b.bf16[lo*x.k:n*x.k], dst[:(x.rows-1)*pitch+hi-lo], pitch, true
	p.run(0, hi-lo)
}

func (t tiles) filled(w *worker, s shape, m, room int, a, b operand, dst []float32) {
	if a.bf16 == nil {
		t.multiplier.filled(w, s, m, room, a, b, dst)
		return
	}
	t.product(w, s, m, a, b, dst)
}

func (t tiles) narrow(w *worker, s shape, m, lo, hi int, a, b operand, dst []float32) {
	if a.bf16 == nil {
		t.multiplier.narrow(w, s, m, lo, hi, a, b, dst)
		return
	}
	if t.k.tiles == dotTiles && m == 1 { // sixteen rows at a time take longer
		t.k.columnsHalf(m, s.n, s.k, runs{length: s.k}, lo, hi, a.bf16, b.bf16, dst)
		return
	}
	t.columns(w, s, m, lo, hi, a.bf16, b.bf16, dst)
}

func (t tiles) reduce(w *worker, s shape, m int, a, b operand, dst []float32) {
	if a.bf16 == nil {
		t.multiplier.reduce(w, s, m, a, b, dst)
		return
	}
	t.reduceRows(w, s, m, writeOver, a.bf16, b.bf16, dst)
}

// productInto implements adder.
func (t tiles) productInto(w *worker, s shape, m, lo, hi int, a, b operand, how writing, dst []float32) {
	if s.plain {
		t.plain(w, s, m, lo, hi, how, a.bf16, b.bf16, dst)
		return
	}
	for ; lo < hi; lo += rowTile {
		part := shape{n: min(rowTile, hi-lo), k: s.k}
		t.turned(w, part, m, s.n, how, a.bf16, b.bf16[lo*s.k:], dst[lo:])
	}
}

// reduceInto implements adder.
func (t tiles) reduceInto(w *worker, s shape, m int, a, b operand, how writing, dst []float32) {
	t.reduceRows(w, s, m, how, a.bf16, b.bf16, dst)
}

// columns sets columns [lo, hi) of dst [m, n] = a [m, k] x b [n, k]ᵀ.
func (t tiles) columns(w *worker, s shape, m, lo, hi int, a, b []uint16, dst []float32) {
	for i := 0; i < m; i += rowTile {
		rows := min(rowTile, m-i)
		p := t.newProduct(w, rows, s.k)
		p.turnColumns(a[i*s.k : (i+rows)*s.k])
		p.rows, p.a, p.dst, p.pitch, p.turned = s.n, b[:s.n*s.k], dst[i*s.n:(i+rows)*s.n], s.n, true
		p.run(lo, hi)
	}
}

// turned sets columns of dst [m, pitch] to a [m, k] x b [n, k]ᵀ, or adds to them, n
// being rowTile at most: it is the weights that are rearranged.
func (t tiles) turned(w *worker, s shape, m, pitch int, how writing, a, b []uint16, dst []float32) {
	p := t.newProduct(w, s.n, s.k)
	p.turnColumns(b[:s.n*s.k])
	p.rows, p.a, p.dst, p.pitch, p.how = m, a[:m*s.k], dst[:(m-1)*pitch+s.n], pitch, how
	p.run(0, m)
}

// plain sets columns [lo, hi) of dst [m, n] = a [m, k] x b [k, n], or adds to them.
func (t tiles) plain(w *worker, s shape, m, lo, hi int, how writing, a, b []uint16, dst []float32) {
	for j := lo; j < hi; j += rowTile {
		p := t.newProduct(w, min(rowTile, hi-j), s.k)
		p.pairColumns(b[j:], max(s.n, s.pitch))
		p.rows, p.a, p.dst, p.pitch, p.how = m, a[:m*s.k], dst[j:(m-1)*s.n+j+p.columns], s.n, how
		p.run(0, m)
	}
}

// reduceRows sets dst [m, n] = a [k, stride]ᵀ x b [k, n] of the first m columns of a, or
// adds to it. What is laid out of b serves as many rows as the second cache has room for.
func (t tiles) reduceRows(w *worker, s shape, m int, how writing, a, b []uint16, dst []float32) {
	if s.n < m && s.n <= tilePair && how != writeAdd {
		t.reduceFew(w, s, m, a, b, dst)
		return
	}
	depth := roundUp(s.k, tileStep)
	most := max(rowTile, min(m, tileReduced/depth)/tilePair*tilePair)
	for i := 0; i < m; i += most {
		rows := min(most, m-i)
		size := roundUp(rows, tilePair) * depth
		memory := w.product.turned.halves(2 * size)
		laid, pairs := memory[:size], memory[size:]
		for j := 0; j < s.n; j += rowTile {
			p := t.newProduct(w, min(rowTile, s.n-j), s.k)
			if j == 0 {
				p.turnRows(laid, pairs, a[i:], s.stride, rows)
			}
			p.pairColumns(b[j:], s.n)
			p.rows, p.laid, p.dst, p.pitch, p.how = rows, laid, dst[i*s.n+j:(i+rows-1)*s.n+j+p.columns], s.n, how
			p.run(0, rows)
		}
	}
}

// reduceFew is reduceRows for few columns of b, which are laid out as rows: sums come
// out turned.
func (t tiles) reduceFew(w *worker, s shape, m int, a, b []uint16, dst []float32) {
	size := tilePair * roundUp(s.k, tileStep)
	memory := w.product.turned.halves(2 * size)
	for j := 0; j < m; j += rowTile {
		p := t.newProduct(w, min(rowTile, m-j), s.k)
		if j == 0 {
			p.turnRows(memory[:size], memory[size:], b, s.n, s.n)
		}
		p.pairColumns(a[j:], s.stride)
		p.rows, p.laid, p.dst, p.pitch, p.turned = s.n, memory[:size], dst[j*s.n:(j+p.columns)*s.n], s.n, true
		p.run(0, s.n)
	}
}

// tileMemory is what a worker keeps for products of so many values in depth.
func tileMemory(depth int64) int64 {
	return rowTile*depth*2 + tilePair*(depth+tileDepth)*2 + tileGroup*rowTile*4 + tileEdge*tilePair*4
}
