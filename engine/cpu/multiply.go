package cpu

// operand is a dense row-major matrix in the form products take: exactly one
// of the two is set.
type operand struct {
	f32  []float32
	bf16 []uint16
}

// from returns the operand without its first n values.
func (o operand) from(n int) operand {
	if o.bf16 != nil {
		return operand{bf16: o.bf16[n:]}
	}
	return operand{f32: o.f32[n:]}
}

// upTo returns the first n values.
func (o operand) upTo(n int) operand {
	if o.bf16 != nil {
		return operand{bf16: o.bf16[:n]}
	}
	return operand{f32: o.f32[:n]}
}

// grow returns memory for n values, the operand's own where it is enough.
func (o operand) grow(n int, half bool) operand {
	if half {
		return operand{bf16: grow(o.bf16, n)}
	}
	return operand{f32: grow(o.f32, n)}
}

// multiplier computes matrix products. The result for a row depends on that
// row and b alone, bit for bit: not on m, on other rows or on the row's place.
// Calls with different workers may overlap.
type multiplier interface {
	name() string
	// half reports whether bfloat16 operands are taken.
	half() bool
	// quantum is what rows of bfloat16 or of float32 are best cut at multiples of.
	// Any m is right; what is left of m after whole quanta costs as much as one.
	quantum(half bool) int
	// product sets dst [m, n] = a [m, k] x b, sums in float32; b is [n, k] as
	// weights are stored, or [k, n] when plain is set. dst overlaps nothing, and
	// nothing is read or written beyond so many values.
	// It panics with a *productError when the provider fails.
	product(w *worker, s shape, m int, a, b operand, dst []float32)
	// filled is product where a and dst have room for so many rows: those beyond m
	// are read, whatever they hold, and overwritten, where that saves a call.
	filled(w *worker, s shape, m, room int, a, b operand, dst []float32)
	// narrow sets columns [lo, hi) of dst [m, n] to what product gives, bit for
	// bit; b is not plain. Rows of a beyond m, where it has any, may be read.
	narrow(w *worker, s shape, m, lo, hi int, a, b operand, dst []float32)
	// reduce sets dst [m, n] = a [k, stride]ᵀ x b [k, n], taking the first m
	// columns of a: a sum over rows. Nothing is padded. The bits depend on m, n
	// and k too, so that who cuts must always cut at the same places.
	reduce(w *worker, s shape, m int, a, b operand, dst []float32)
	// startWorker and stopWorker run on the worker's own thread.
	startWorker(worker int)
	stopWorker(worker int)
}

// adder is a multiplier that can add products of bfloat16 to what dst has: each sum is
// made as product or reduce makes it and then added.
type adder interface {
	// productInto is columns [lo, hi) of product.
	productInto(w *worker, s shape, m, lo, hi int, a, b operand, how writing, dst []float32)
	// reduceInto is reduce.
	reduceInto(w *worker, s shape, m int, a, b operand, how writing, dst []float32)
}

// writing is what becomes of what memory has where sums are written.
type writing int

const (
	writeOver writing = iota
	writeAdd
	writePast // over it and, where whole cache lines are, past the caches: nobody reads it soon
)

// adder is the engine's, nil where it has none.
func (e *Engine) adder() adder {
	if !e.half {
		return nil
	}
	add, _ := e.mul.(adder)
	return add
}

// shape is a product without its number of rows.
type shape struct {
	n, k  int
	plain bool // b is [k, n]
	// stride, of reduce alone, is how far the rows of a [k, stride] are apart.
	stride int
	// pitch, of plain weights, is how far the rows of b are apart where they are not dense.
	pitch int
}

// weights is how many values b has.
func (s shape) weights() int {
	if s.pitch != 0 {
		return (s.k-1)*s.pitch + s.n
	}
	return s.n * s.k
}

// goMultiplier is the portable fallback: the kernels' own products.
type goMultiplier struct{ k *kernels }

func (g goMultiplier) name() string   { return "Go (" + g.k.name + ")" }
func (goMultiplier) half() bool       { return false }
func (goMultiplier) quantum(bool) int { return 1 }
func (goMultiplier) startWorker(int)  {}
func (goMultiplier) stopWorker(int)   {}

func (g goMultiplier) product(_ *worker, s shape, m int, a, b operand, dst []float32) {
	if s.plain {
		g.k.productsPlain(m, s.n, s.k, a.f32, b.f32, dst)
	} else {
		g.k.products(m, s.n, s.k, a.f32, b.f32, dst)
	}
}

func (g goMultiplier) filled(w *worker, s shape, m, _ int, a, b operand, dst []float32) {
	g.product(w, s, m, a, b, dst)
}

func (g goMultiplier) narrow(w *worker, s shape, m, lo, hi int, a, b operand, dst []float32) {
	if m <= g.k.several {
		g.k.narrow(m, s.n, s.k, lo, hi, a.f32, b.f32, dst)
		return
	}
	width := hi - lo
	block := w.product.block.floats(m * width)
	g.k.products(m, width, s.k, a.f32, b.f32[lo*s.k:], block)
	for i := range m {
		copy(dst[i*s.n+lo:i*s.n+hi], block[i*width:])
	}
}

func (g goMultiplier) reduce(w *worker, s shape, m int, a, b operand, dst []float32) {
	turned := w.product.turned.floats(m * s.k)
	turnRows(turned, a.f32, m, s.k, s.stride)
	g.k.productsPlain(m, s.n, s.k, turned, b.f32, dst)
}

// turnRows: dst [m, k] = the first m columns of a [k, stride], transposed.
func turnRows(dst, a []float32, m, k, stride int) {
	const block = 16 // of both stay in cache
	for lo := 0; lo < m; lo += block {
		columns := min(block, m-lo)
		for p := range k {
			for j, x := range a[p*stride+lo:][:columns] {
				dst[(lo+j)*k+p] = x
			}
		}
	}
}

// productRows: dst [m, n] = a [m, k] x b [n, k]ᵀ. Four rows of b stay in cache
// while all rows of a pass by. The conversions to float32 keep compilers from
// fusing multiply and add in some loops but not in others, which would make a
// row's bits depend on its place.
func productRows(m, n, k int, a, b, dst []float32) {
	j := 0
	for ; j+4 <= n; j += 4 {
		b0, b1, b2, b3 := b[j*k:][:k], b[(j+1)*k:][:k], b[(j+2)*k:][:k], b[(j+3)*k:][:k]
		i := 0
		for ; i+2 <= m; i += 2 {
			a0, a1 := a[i*k:][:k], a[(i+1)*k:][:k]
			var s00, s01, s02, s03, s10, s11, s12, s13 float32
			for p := range k {
				x, y := a0[p], a1[p]
				w0, w1, w2, w3 := b0[p], b1[p], b2[p], b3[p]
				s00 += float32(x * w0)
				s01 += float32(x * w1)
				s02 += float32(x * w2)
				s03 += float32(x * w3)
				s10 += float32(y * w0)
				s11 += float32(y * w1)
				s12 += float32(y * w2)
				s13 += float32(y * w3)
			}
			d0, d1 := dst[i*n+j:][:4], dst[(i+1)*n+j:][:4]
			d0[0], d0[1], d0[2], d0[3] = s00, s01, s02, s03
			d1[0], d1[1], d1[2], d1[3] = s10, s11, s12, s13
		}
		for ; i < m; i++ {
			a0 := a[i*k:][:k]
			var s0, s1, s2, s3 float32
			for p := range k {
				x := a0[p]
				s0 += float32(x * b0[p])
				s1 += float32(x * b1[p])
				s2 += float32(x * b2[p])
				s3 += float32(x * b3[p])
			}
			d0 := dst[i*n+j:][:4]
			d0[0], d0[1], d0[2], d0[3] = s0, s1, s2, s3
		}
	}
	for ; j < n; j++ {
		bj := b[j*k:][:k]
		for i := range m {
			ai := a[i*k:][:k]
			var s float32
			for p := range k {
				s += float32(ai[p] * bj[p])
			}
			dst[i*n+j] = s
		}
	}
}

// narrowRows is productRows for columns [lo, hi) of dst [m, n].
func narrowRows(m, n, k, lo, hi int, a, b, dst []float32) {
	for i := range m {
		productRows(1, hi-lo, k, a[i*k:], b[lo*k:], dst[i*n+lo:])
	}
}

// productPlain: dst [m, n] = a [m, k] x b [k, n].
func productPlain(m, n, k int, a, b, dst []float32) {
	for i := range m {
		row := dst[i*n:][:n]
		clear(row)
		for p, x := range a[i*k:][:k] {
			if x == 0 { // masked keys: adding 0 * finite changes nothing
				continue
			}
			for j, w := range b[p*n:][:n] {
				row[j] += float32(x * w)
			}
		}
	}
}

// noise returns n pseudo-random values in (-1, 1), the same for the same seed. Those
// of bfloat16 have many exponents: sums of others would be exact, in any order.
func noise(n int, half bool, seed uint32) operand {
	o := operand{}
	if half {
		o.bf16 = make([]uint16, n)
	} else {
		o.f32 = make([]float32, n)
	}
	for i := range n {
		seed = seed*1664525 + 1013904223
		v := float32(int32(seed)) / (1 << 31)
		if half {
			o.bf16[i] = roundBF16(v / float32(uint32(1)<<(seed>>12&15)))
		} else {
			o.f32[i] = v
		}
	}
	return o
}
