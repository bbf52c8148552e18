package cpu

// narrow implements multiplier: few rows by kernels of our own that sum in the
// provider's order, where the processor has them and the order is known, for these
// read weights as fast as memory gives them; else by the provider, a block of
// columns as a product of its own where that gives the same bits. Our kernels of bfloat16
// read the weights once a row, so that of several rows the provider's blocks come first.
func (l *rowLaw) narrow(w *worker, s shape, m, lo, hi int, a, b operand, dst []float32) {
	half := a.bf16 != nil
	var r runs
	switch {
	case m == 1, !half && m <= max(fewRows, l.kernels.several), m <= fewRows && !l.blockAgrees(w, columnsKey{shapeKey{s, half}, lo, hi}, b):
		r = l.order(w, s, a, b)
	}
	switch {
	case r.length == 0:
		l.narrowBlock(w, s, m, lo, hi, a, b, dst)
	case half:
		l.kernels.columnsHalf(m, s.n, s.k, r, lo, hi, a.bf16, b.bf16, dst)
	default:
		l.kernels.columns(m, s.n, s.k, r, lo, hi, a.f32, b.f32, dst)
	}
}

// narrowBlock computes columns [lo, hi) by the provider.
func (l *rowLaw) narrowBlock(w *worker, s shape, m, lo, hi int, a, b operand, dst []float32) {
	own := l.workers[w.id]
	block, first := shape{n: hi - lo, k: s.k}, lo
	if !l.blockAgrees(w, columnsKey{shapeKey{s, a.bf16 != nil}, lo, hi}, b) {
		block, first = s, 0
	}
	room := m
	if up := roundUp(m, l.quantum(a.bf16 != nil)); len(a.f32)+len(a.bf16) >= up*s.k {
		room = up
	}
	own.block = grow(own.block, room*block.n)
	l.filled(w, block, m, room, a, b.from(first*s.k), own.block)
	for i := range m {
		copy(dst[i*s.n+lo:i*s.n+hi], own.block[i*block.n+lo-first:])
	}
}

// columnsKey is a run of columns of a shape.
type columnsKey struct {
	shapeKey
	lo, hi int
}

// blocksAgree reports whether all blocks of a map agree that lie in steps of all
// maps side by side, of which this one begins at a column.
func (l *rowLaw) blocksAgree(w *worker, x *matrix, at, step int) bool {
	for lo := at / step * step; lo < at+x.out; lo += step {
		key := columnsKey{shapeKey{x.shape(), x.bf16 != nil}, max(lo-at, 0), min(lo+step-at, x.out)}
		if !l.blockAgrees(w, key, x.operand) {
			return false
		}
	}
	return true
}

// blockAgrees finds out, once, whether columns as a product of their own have the
// bits that they have in the whole product. One unit of rows will do: others agree
// with it.
func (l *rowLaw) blockAgrees(w *worker, key columnsKey, b operand) bool {
	own := l.workers[w.id].blocks
	if agrees, known := own[key]; known {
		return agrees
	}
	l.unit(w.id, key.shapeKey, b)
	l.unit(w.id, shapeKey{shape{n: key.hi - key.lo, k: key.k}, key.half}, b.from(key.lo*key.k))
	l.finding.Lock()
	defer l.finding.Unlock()
	agrees, known := l.blocks[key]
	if !known {
		agrees = key.hi-key.lo == key.n || l.compareBlock(w, key, b)
		l.blocks[key] = agrees
	}
	own[key] = agrees
	return agrees
}

func (l *rowLaw) compareBlock(w *worker, key columnsKey, b operand) bool {
	const rows = 2
	x, width := noise(rows*key.k, key.half, 5), key.hi-key.lo
	whole, part := make([]float32, rows*key.n), make([]float32, rows*width)
	l.product(w, key.shape, rows, x, b, whole)
	if !differ(whole[:key.n]) {
		b = noise(key.n*key.k, key.half, 6)
		l.product(w, key.shape, rows, x, b, whole)
	}
	l.product(w, shape{n: width, k: key.k}, rows, x, b.from(key.lo*key.k), part)
	for i := range rows {
		if !sameBits(part[i*width:][:width], whole[i*key.n+key.lo:]) {
			return false
		}
	}
	return true
}

// order returns how the provider cuts the depth of products of a shape, found out
// once; runs of no length when the kernels should not be used.
func (l *rowLaw) order(w *worker, s shape, a, b operand) runs {
	key := shapeKey{s, a.bf16 != nil}
	own := l.workers[w.id].runs
	if r, known := own[key]; known {
		return r
	}
	l.unit(w.id, key, b) // finds that out before the lock is held
	l.finding.Lock()
	defer l.finding.Unlock()
	r, known := l.runs[key]
	if !known {
		var telling bool
		if r, telling = l.findOrder(w, key, b.upTo(key.n*key.k)); !telling {
			r, _ = l.findOrder(w, key, noise(key.n*key.k, key.half, 6))
		}
		l.runs[key] = r
	}
	own[key] = r
	return r
}

// findOrder compares kernels with the provider. Weights that are all alike tell
// nothing.
func (l *rowLaw) findOrder(w *worker, key shapeKey, b operand) (r runs, telling bool) {
	if l.kernels.name == "scalar" || key.half && l.kernels.name != levelAVX512 { // slower than the provider
		return runs{}, true
	}
	const rows = 2
	a := noise(rows*key.k, key.half, 5)
	want, got := make([]float32, rows*key.n), make([]float32, rows*key.n)
	l.product(w, key.shape, rows, a, b, want)
	if !differ(want) {
		return runs{}, false
	}
	for _, r := range orders(key.k) {
		if key.half {
			l.kernels.columnsHalf(rows, key.n, key.k, r, 0, key.n, a.bf16, b.bf16, got)
		} else {
			l.kernels.columns(rows, key.n, key.k, r, 0, key.n, a.f32, b.f32, got)
		}
		if sameBits(got, want) {
			return r, true
		}
	}
	return runs{}, true
}

// orders lists the ways to cut a depth that libraries may have, likely ones first.
func orders(k int) []runs {
	ways := []runs{{length: k}}
	for _, length := range []int{1024, 512, 2048, 256, 4096, 128, 64, 384, 192, 768} {
		if length >= k {
			continue
		}
		ways = append(ways, runs{length: length})
		if k%length != 0 {
			ways = append(ways, runs{length: length, halves: true})
		}
	}
	return ways
}
