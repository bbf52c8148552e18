//go:build !nopurego && (linux || darwin) && (amd64 || arm64)

package cpu

// narrow implements multiplier: by kernels of our own that sum in the library's
// order, where the processor has them and the order is known, for these read
// weights as fast as memory gives them; else by the library, a block of columns
// as a product of its own.
func (d *oneDNN) narrow(w *worker, s shape, m, lo, hi int, a, b operand, dst []float32) {
	run := d.order(w, s, a, b)
	switch {
	case run == 0:
		block := shape{n: hi - lo, k: s.k}
		out := w.floats(slotColumns, roundUp(m, d.rows)*block.n)
		d.product(w, block, m, a, b.from(lo*s.k), out)
		for i := range m {
			copy(dst[i*s.n+lo:i*s.n+hi], out[i*block.n:])
		}
	case a.bf16 != nil:
		d.kernels.columnsHalf(m, s.n, s.k, run, lo, hi, a.bf16, b.bf16, dst)
	default:
		d.kernels.columns(m, s.n, s.k, run, lo, hi, a.f32, b.f32, dst)
	}
}

// order returns how many values of the depth the library adds up at a time for
// products of a shape, found out once; 0 when the kernels should not be used.
func (d *oneDNN) order(w *worker, s shape, a, b operand) int {
	key := shapeKey{s, a.bf16 != nil}
	own := d.workers[w.id].runs
	if run, known := own[key]; known {
		return run
	}
	d.mu.Lock()
	run, known := d.runs[key]
	d.mu.Unlock()
	if !known {
		var telling bool
		if run, telling = d.findOrder(w, key, b); !telling {
			return run
		}
		d.mu.Lock()
		d.runs[key] = run
		d.mu.Unlock()
	}
	own[key] = run
	return run
}

// findOrder compares kernels with the library on the caller's own weights, or
// on noise where they are few. Weights that are all alike tell nothing.
func (d *oneDNN) findOrder(w *worker, key shapeKey, b operand) (run int, telling bool) {
	if d.kernels.name == "scalar" {
		return 0, true
	}
	if b = b.upTo(key.n * key.k); key.n*key.k < 1<<20 {
		b = noise(key.n*key.k, key.half, 6)
	}
	a := noise(d.rows*key.k, key.half, 5)
	want, got := make([]float32, d.rows*key.n), make([]float32, key.n)
	d.product(w, key.shape, 1, a, b, want)
	if !differ(want[:key.n]) {
		return 0, false
	}
	for _, run := range []int{key.k, 1024, 512, 2048, 256, 4096, 128, 64} {
		if key.half {
			d.kernels.columnsHalf(1, key.n, key.k, run, 0, key.n, a.bf16, b.bf16, got)
		} else {
			d.kernels.columns(1, key.n, key.k, run, 0, key.n, a.f32, b.f32, got)
		}
		if sameBits(got, want[:key.n]) {
			return run, true
		}
	}
	return 0, true
}
