package cpu

// The phases of a forward call of few rows, as decoding makes them: every
// product is cut by columns, what lies between is little enough for one worker.
// Each computes what its counterpart for many rows does, bit for bit.

func (f *forward) fewNorm(w *worker, _, _ int) {
	f.e.normRows(w, f.x, f.in, f.l.attnNorm, f.l.s.NormEps)
	if f.rows != nil {
		f.normOutputs(w, f.xq, f.in, f.l.attnNorm, 0, f.outputs)
	}
	w.lap(lapNorms)
}

// fewProject computes columns [lo, hi) of queries, keys and values side by side.
func (f *forward) fewProject(w *worker, lo, hi int) {
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

func (f *forward) fewRotate(w *worker, _, _ int) {
	f.rotateQueries(0, f.outputs)
	f.rotateKeys(0, f.b.Len())
	w.lap(lapRotary)
	if f.cache != nil {
		f.remember(w, 0, len(f.b.Segments))
	}
}

func (f *forward) fewOut(w *worker, lo, hi int) {
	f.columns(w, f.l.out, f.outputs, f.att, lo, hi, f.sum)
	w.lap(lapProducts)
}

func (f *forward) fewMiddle(w *worker, _, _ int) {
	f.addTo(f.in, 0, f.sum[:f.outputs*f.l.s.Hidden], f.l.outBias, f.l.attnPostNorm, nil)
	w.lap(lapResidual)
	f.normOutputs(w, f.x, f.out, f.l.mlpNorm, 0, f.outputs)
	w.lap(lapNorms)
}

func (f *forward) fewGate(w *worker, lo, hi int) {
	f.columns(w, f.l.gate, f.outputs, f.x, lo, hi, f.gate)
	f.columns(w, f.l.up, f.outputs, f.x, lo, hi, f.up)
	w.lap(lapProducts)
	for i, ff := 0, f.l.s.FF; i < f.outputs; i++ {
		f.l.activate(f.act.from(i*ff+lo), f.gate[i*ff+lo:i*ff+hi], f.up[i*ff+lo:i*ff+hi], lo)
	}
	w.lap(lapActivation)
}

func (f *forward) fewDown(w *worker, lo, hi int) {
	f.columns(w, f.l.down, f.outputs, f.act, lo, hi, f.sum)
	w.lap(lapProducts)
}

func (f *forward) fewFinish(w *worker, _, _ int) {
	f.addTo(f.out, 0, f.sum[:f.outputs*f.l.s.Hidden], f.l.downBias, f.l.mlpPostNorm, f.mlp)
	w.lap(lapResidual)
}
