package cpu

import "sync/atomic"

// The phases of a forward call of few rows for each worker: every product is cut by
// columns, so that each worker reads its own part of the weights. What lies between is
// cut by rows, or is little enough for one worker. Each computes what its counterpart
// for many rows does, bit for bit.

func (f *forward) someNorm(w *worker, lo, hi int) {
	d := f.l.s.Hidden
	f.e.normRows(w, f.x.from(lo*d), f.in[lo*d:hi*d], d, f.l.first())
	if f.rows != nil {
		f.normOutputs(w, f.xq, f.in, f.l.first(), 0, f.outputs)
	}
	w.lap(lapNorms)
}

// someProject computes columns [lo, hi) of queries, keys and values side by side.
func (f *forward) someProject(w *worker, lo, hi int) {
	x, n := f.x, f.b.Len()
	if f.rows != nil {
		x = f.xq
	}
	f.columns(w, f.l.query, f.outputs, x, lo, hi, f.q)
	lo, hi = lo-f.l.query.out, hi-f.l.query.out
	f.columns(w, f.l.key, n, f.x, lo, hi, f.k)
	lo, hi = lo-f.l.key.out, hi-f.l.key.out
	f.columns(w, f.l.value, n, f.x, lo, hi, f.v)
	w.lap(lapProducts)
}

// columns computes those of [lo, hi) that x has, for m rows of in.
func (f *forward) columns(w *worker, x *matrix, m int, in operand, lo, hi int, dst []float32) {
	if lo, hi = max(lo, 0), min(hi, x.out); lo < hi && m > 0 {
		f.e.mul.narrow(w, x.shape(), m, lo, hi, in, x.operand, dst)
	}
}

func (f *forward) someRotate(w *worker, lo, hi int) {
	f.rotateKeys(lo, hi)
	if f.rows != nil { // then one worker has all
		hi = f.outputs
	}
	f.rotateQueries(lo, hi)
	w.lap(lapRotary)
}

func (f *forward) someMiddle(w *worker, lo, hi int) {
	d := f.l.s.Hidden
	f.middle(w, f.x.from(lo*d), f.sum[lo*d:hi*d], lo, hi)
}

func (f *forward) someGate(w *worker, lo, hi int) { f.gateColumns(w, f.x, lo, hi) }

// gateColumns computes columns [lo, hi) of what goes into the feed-forward's last map, of
// normed rows x.
func (f *forward) gateColumns(w *worker, x operand, lo, hi int) {
	f.columns(w, f.l.gate, f.outputs, x, lo, hi, f.gate)
	if f.l.up != nil {
		f.columns(w, f.l.up, f.outputs, x, lo, hi, f.up)
	}
	w.lap(lapProducts)
	for i, ff := 0, f.l.s.FF; i < f.outputs; i++ {
		f.l.activate(f.act.from(i*ff+lo), f.gate[i*ff+lo:i*ff+hi], f.l.factors(f.up[i*ff+lo:i*ff+hi], lo), lo)
	}
	w.lap(lapActivation)
}

func (f *forward) someDown(w *worker, lo, hi int) {
	f.columns(w, f.l.down, f.outputs, f.act, lo, hi, f.sum)
	w.lap(lapProducts)
}

func (f *forward) someFinish(w *worker, lo, hi int) {
	d := f.l.s.Hidden
	f.addTo(f.out, lo, f.sum[lo*d:hi*d], f.l.downBias, f.l.mlpPostNorm, f.mlp)
	w.lap(lapResidual)
}

// prepareSome sizes buffers and phases.
func (f *forward) prepareSome() {
	s, n, e := f.l.s, f.b.Len(), f.e
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	f.job.phases, f.job.workers = f.some, e.crew.workers()
	f.x, f.act = f.x.grow(e.room(n)*s.Hidden, e.half), f.act.grow(e.room(n)*s.FF, e.half)
	f.gate, f.up, f.sum = grow(f.gate, n*s.FF), grow(f.up, n*s.FF), grow(f.sum, n*s.Hidden)
	step := n // rows at a time between products
	if n > fewRows {
		step = (n + e.info.Threads - 1) / e.info.Threads
	}
	if f.rows != nil {
		f.xq = f.xq.grow(n*s.Hidden, e.half)
	}
	segments := 0
	if f.cache != nil {
		segments = len(f.b.Segments)
	}
	for i, p := range [...][2]int{
		{n, step}, {q + 2*kv, e.columnStep(q + 2*kv)}, {n, step}, {segments, max(segments, 1)}, {len(f.tiles), 1},
		{s.Hidden, e.columnStep(s.Hidden)}, {f.outputs, step}, {s.FF, e.columnStep(s.FF)}, {s.Hidden, e.columnStep(s.Hidden)}, {f.outputs, step},
	} {
		f.some[i].n, f.some[i].step = p[0], p[1]
		if i > 4 && f.outputs == 0 {
			f.some[i].n = 0
		}
	}
}

// wideRows is how many rows a worker should have at least for products to be cut
// by rows: below, reading and rearranging all weights takes each of them too long.
func (e *Engine) wideRows() int {
	if e.tiled() {
		return tileRows
	}
	return libraryRows
}

const (
	libraryRows = 64
	tileRows    = 256 // what is laid out of rows serves all workers (see wide.go)
)

// byColumns reports whether a call's products are better cut by columns, and may be.
func (f *forward) byColumns() bool {
	n := f.b.Len()
	if f.tape != nil || f.l.adapted || f.l.turned {
		return false
	}
	switch {
	case n <= fewRows:
		return true
	case f.rows != nil:
		return false
	case n <= f.e.several() && f.l.ordered():
		return true
	}
	return n < f.e.wideRows()*f.e.info.Threads && f.e.info.Threads > 1 && f.l.separable()
}

// several is up to how many rows kernels of our own are the fastest where they may be
// used.
func (e *Engine) several() int {
	if e.half {
		return fewRows
	}
	return max(fewRows, e.k.several)
}

// ordered finds out, once, whether kernels of our own have the bits of all products.
func (l *layer) ordered() bool {
	return once(&l.orders, func() (all bool) {
		law, ok := l.e.mul.(*rowLaw)
		if !ok {
			return true
		}
		all = true
		_ = l.e.pool.each(1, func(w *worker, _ int) {
			for _, x := range l.maps() {
				all = all && law.order(w, x.shape(), x.operand, x.operand).length > 0
			}
		})
		return all
	})
}

// once keeps the answer to a question in known: 0 of one not asked yet, 1 for yes, 2
// for no.
func once(known *atomic.Int32, ask func() bool) bool {
	if known.Load() == 0 {
		answer := int32(2)
		if ask() {
			answer = 1
		}
		known.Store(answer)
	}
	return known.Load() == 1
}

// maps are the linear maps of products.
func (l *layer) maps() (xs []*matrix) {
	for _, x := range []*matrix{l.query, l.key, l.value, l.out, l.gate, l.up, l.down} {
		if x != nil {
			xs = append(xs, x)
		}
	}
	return xs
}

// separable finds out, once, whether blocks of columns have the bits of the whole
// products, as the layer's phases cut them.
func (l *layer) separable() bool {
	return once(&l.columns, func() (all bool) {
		law, ok := l.e.mul.(*rowLaw)
		if !ok {
			return true
		}
		all = true
		_ = l.e.pool.each(1, func(w *worker, _ int) {
			at, step := 0, l.e.columnStep(l.query.out+l.key.out+l.value.out)
			for _, x := range []*matrix{l.query, l.key, l.value} {
				all = all && law.blocksAgree(w, x, at, step)
				at += x.out
			}
			for _, x := range []*matrix{l.out, l.gate, l.up, l.down} {
				all = all && (x == nil || law.blocksAgree(w, x, 0, l.e.columnStep(x.out)))
			}
		})
		return all
	})
}
