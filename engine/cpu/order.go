package cpu

// narrow implements multiplier: by kernels of our own that sum in the provider's
// order, where the processor has them and the order is known, for these read
// weights as fast as memory gives them; else by the provider, a block of columns
// as a product of its own where that gives the same bits.
func (l *rowLaw) narrow(w *worker, s shape, m, lo, hi int, a, b operand, dst []float32) {
	run := l.order(w, s, a, b)
	switch {
	case run == 0:
		l.narrowBlock(w, s, m, lo, hi, a, b, dst)
	case a.bf16 != nil:
		l.kernels.columnsHalf(m, s.n, s.k, run, lo, hi, a.bf16, b.bf16, dst)
	default:
		l.kernels.columns(m, s.n, s.k, run, lo, hi, a.f32, b.f32, dst)
	}
}

// narrowBlock computes columns [lo, hi) by the provider.
func (l *rowLaw) narrowBlock(w *worker, s shape, m, lo, hi int, a, b operand, dst []float32) {
	own := l.workers[w.id]
	block, first := shape{n: hi - lo, k: s.k}, lo
	if !l.blockIsExact(w, s, lo, hi, a, b) {
		block, first = s, 0
	}
	own.block = grow(own.block, m*block.n)
	l.product(w, block, m, a, b.from(first*s.k), own.block)
	for i := range m {
		copy(dst[i*s.n+lo:i*s.n+hi], own.block[i*block.n+lo-first:])
	}
}

// columnsKey is a run of columns of a shape.
type columnsKey struct {
	shapeKey
	lo, hi int
}

// blockIsExact finds out, once a worker, whether columns as a product of their
// own have the bits that they have in the whole product.
func (l *rowLaw) blockIsExact(w *worker, s shape, lo, hi int, a, b operand) bool {
	key := columnsKey{shapeKey{s, a.bf16 != nil}, lo, hi}
	own := l.workers[w.id]
	if exact, known := own.blocks[key]; known || hi-lo == s.n {
		return exact || hi-lo == s.n
	}
	const rows = 1
	x := noise(rows*s.k, key.half, 5)
	whole, part := make([]float32, rows*s.n), make([]float32, rows*(hi-lo))
	l.product(w, s, rows, x, b, whole)
	l.product(w, shape{n: hi - lo, k: s.k}, rows, x, b.from(lo*s.k), part)
	exact := sameBits(part, whole[lo:hi])
	own.blocks[key] = exact
	return exact
}

// order returns how many values of the depth the provider adds up at a time for
// products of a shape, found out once; 0 when the kernels should not be used.
func (l *rowLaw) order(w *worker, s shape, a, b operand) int {
	key := shapeKey{s, a.bf16 != nil}
	own := l.workers[w.id].runs
	if run, known := own[key]; known {
		return run
	}
	l.unit(w.id, key, b) // finds that out before the lock is held
	l.finding.Lock()
	defer l.finding.Unlock()
	run, known := l.runs[key]
	if !known {
		var telling bool
		if run, telling = l.findOrder(w, key, b.upTo(key.n*key.k)); !telling {
			run, _ = l.findOrder(w, key, noise(key.n*key.k, key.half, 6))
		}
		l.runs[key] = run
	}
	own[key] = run
	return run
}

// findOrder compares kernels with the provider. Weights that are all alike tell
// nothing.
func (l *rowLaw) findOrder(w *worker, key shapeKey, b operand) (run int, telling bool) {
	if l.kernels.name == "scalar" || key.half && l.kernels.name != "AVX-512" { // slower than the provider
		return 0, true
	}
	const rows = 2
	a := noise(rows*key.k, key.half, 5)
	want, got := make([]float32, rows*key.n), make([]float32, rows*key.n)
	l.product(w, key.shape, rows, a, b, want)
	if !differ(want) {
		return 0, false
	}
	for _, run := range []int{key.k, 1024, 512, 2048, 256, 4096, 128, 64, 384, 192, 768} {
		if key.half {
			l.kernels.columnsHalf(rows, key.n, key.k, run, 0, key.n, a.bf16, b.bf16, got)
		} else {
			l.kernels.columns(rows, key.n, key.k, run, 0, key.n, a.f32, b.f32, got)
		}
		if sameBits(got, want) {
			return run, true
		}
	}
	return 0, true
}
