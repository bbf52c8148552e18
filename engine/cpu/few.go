package cpu

// The phases of a forward call of few rows, as decoding makes them: every
// product is cut by columns, what lies between is little enough for one worker.
// Each computes what its counterpart for many rows does, bit for bit.

func (f *forward) fewNorm(w *worker, _, _ int) {
	f.e.normRows(w, f.x, f.in, f.l.attnNorm, f.l.s.NormEps)
	w.lap(lapNorms)
}

// fewProject computes columns [lo, hi) of queries, keys and values side by side.
func (f *forward) fewProject(w *worker, lo, hi int) {
	f.columns(w, f.l.query, f.x, lo, hi, f.q)
	lo, hi = lo-f.l.query.out, hi-f.l.query.out
	f.columns(w, f.l.key, f.x, lo, hi, f.k)
	lo, hi = lo-f.l.key.out, hi-f.l.key.out
	f.columns(w, f.l.value, f.x, lo, hi, f.v)
	w.lap(lapProducts)
}

// columns computes those of [lo, hi) that x has.
func (f *forward) columns(w *worker, x *matrix, in operand, lo, hi int, dst []float32) {
	if lo, hi = max(lo, 0), min(hi, x.out); lo < hi {
		f.e.mul.narrow(w, x.shape(), f.b.Len(), lo, hi, in, x.operand, dst)
	}
}

func (f *forward) fewRotate(w *worker, _, _ int) {
	f.rotate(0, f.b.Len())
	w.lap(lapRotary)
	if f.cache != nil {
		f.remember(w, 0, len(f.b.Segments))
	}
}

func (f *forward) fewOut(w *worker, lo, hi int) {
	f.columns(w, f.l.out, f.att, lo, hi, f.sum)
	w.lap(lapProducts)
}

func (f *forward) fewMiddle(w *worker, _, _ int) {
	f.l.addTo(f.out, f.in, f.sum, f.l.outBias, f.l.attnPostNorm)
	w.lap(lapResidual)
	f.e.normRows(w, f.x, f.out, f.l.mlpNorm, f.l.s.NormEps)
	w.lap(lapNorms)
}

func (f *forward) fewGate(w *worker, lo, hi int) {
	f.columns(w, f.l.gate, f.x, lo, hi, f.gate)
	f.columns(w, f.l.up, f.x, lo, hi, f.up)
	w.lap(lapProducts)
	for i, ff := 0, f.l.s.FF; i < f.b.Len(); i++ {
		f.l.activate(f.act.from(i*ff+lo), f.gate[i*ff+lo:i*ff+hi], f.up[i*ff+lo:i*ff+hi], lo)
	}
	w.lap(lapActivation)
}

func (f *forward) fewDown(w *worker, lo, hi int) {
	f.columns(w, f.l.down, f.act, lo, hi, f.sum)
	w.lap(lapProducts)
}

func (f *forward) fewFinish(w *worker, _, _ int) {
	f.l.addTo(f.out, f.out, f.sum, f.l.downBias, f.l.mlpPostNorm)
	w.lap(lapResidual)
}
