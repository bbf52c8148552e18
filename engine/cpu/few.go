package cpu

import "github.com/coppice-ml/coppice/engine"

// The phases of a forward call of few rows, as decoding makes them: the workers share the
// columns of every product, and what little lies between is done by each of them for
// itself, or by whoever ends a phase, since waiting for each other takes longer. Each
// computes what its counterpart for many rows does, bit for bit.

// fewRows is how many rows are few: weights pass by faster than one worker
// multiplies, so that the workers share columns, not rows.
const fewRows = 4

// own says whose rows a worker has made for itself.
type own struct {
	f      *forward
	calls  int
	middle bool
}

// makes reports whether a worker has not made rows yet.
func (w *worker) makes(x own) bool {
	has := w.own == x
	w.own = x
	return !has
}

// fewProject computes columns [lo, hi) of queries, keys and values side by side.
func (f *forward) fewProject(w *worker, lo, hi int) {
	l, n, d := f.l, f.b.Len(), f.l.s.Hidden
	x := f.e.input(w.feed.input, f.e.room(n)*d)
	if w.makes(own{f, f.calls, false}) {
		f.e.normRows(w, x, f.in, d, l.first())
		w.lap(lapNorms)
	}
	for _, m := range [...]struct {
		x   *matrix
		dst []float32
	}{{l.query, f.q}, {l.key, f.k}, {l.value, f.v}} {
		f.columns(w, m.x, n, x, lo, hi, m.dst)
		lo, hi = lo-m.x.out, hi-m.x.out
	}
	w.lap(lapProducts)
}

// fewHeads rotates, remembers and attends, for key/value heads [lo, hi) of all segments
// one after the other.
func (f *forward) fewHeads(w *worker, lo, hi int) {
	heads := f.l.s.KVHeads
	for i := lo; i < hi; i++ {
		f.fewHead(w, i/heads, i%heads)
	}
}

func (f *forward) fewHead(w *worker, segment, head int) {
	s, d := f.b.Segments[segment], f.l.s.HeadDim
	group := f.l.s.Heads / f.l.s.KVHeads * d
	for i := s.Start; i < s.Start+s.Len; i++ {
		f.rotateKey(i, head*d, head*d+d)
		f.rotateQuery(i, head*group, head*group+group)
	}
	w.lap(lapRotary)
	f.cache.appendHead(w, s, head, f.k, f.v)
	if head == 0 {
		f.cache.advance(s)
	}
	w.lap(lapGather)
	for _, t := range f.tiles {
		if t.segment == segment && t.head == head {
			f.attendTile(w, t)
		}
	}
}

// apart reports whether heads can be rotated, remembered and attended to one by one.
func (f *forward) apart() bool {
	normed := f.l.queryNorm != nil || f.l.keyNorm != nil
	if f.cache == nil || normed && f.l.s.WholeNorm {
		return false
	}
	for _, s := range f.b.Segments {
		if s.Parent != engine.NoParent {
			return false
		}
	}
	return true
}

func (f *forward) fewOut(w *worker, lo, hi int) {
	f.columns(w, f.l.out, f.outputs, f.att, lo, hi, f.sum)
	w.lap(lapProducts)
}

// fewGate computes columns [lo, hi) of what goes into the feed-forward's last map.
func (f *forward) fewGate(w *worker, lo, hi int) {
	d := f.l.s.Hidden
	x := f.e.input(w.feed.input, f.e.room(f.outputs)*d)
	if w.makes(own{f, f.calls, true}) {
		f.fewMiddle(w, x)
	}
	f.gateColumns(w, x, lo, hi)
}

// fewMiddle writes what the feed-forward takes.
func (f *forward) fewMiddle(w *worker, x operand) {
	l, d := f.l, f.l.s.Hidden
	if l.s.Parallel {
		f.e.normRows(w, x, f.in, d, l.first())
		w.lap(lapNorms)
		return
	}
	rows := w.feed.gate.floats(f.outputs * d)
	copy(rows, f.sum)
	for i := range f.outputs {
		row := rows[i*d:][:d]
		l.residual(row, l.outBias, l.attnPostNorm)
		f.e.k.add(row, f.in[i*d:][:d], row)
	}
	w.lap(lapResidual)
	f.e.normRows(w, x, rows, d, l.second())
	w.lap(lapNorms)
}

func (f *forward) fewDown(w *worker, lo, hi int) {
	f.columns(w, f.l.down, f.outputs, f.act, lo, hi, f.mlpSum)
	w.lap(lapProducts)
}

// fewFinish adds attention and feed-forward to the residual stream.
func (f *forward) fewFinish(w *worker, _, _ int) {
	f.addTo(f.in, 0, f.sum, f.l.outBias, f.l.attnPostNorm, nil)
	f.addTo(f.out, 0, f.mlpSum, f.l.downBias, f.l.mlpPostNorm, f.mlp)
	w.lap(lapResidual)
}

// prepareFew sizes buffers and phases.
func (f *forward) prepareFew() {
	s, l, n, e := f.l.s, f.l, f.b.Len(), f.e
	f.act = f.act.grow(e.room(n)*s.FF, e.half)
	f.gate, f.up, f.sum, f.mlpSum = grow(f.gate, n*s.FF), grow(f.up, n*s.FF), grow(f.sum, n*s.Hidden), grow(f.mlpSum, n*s.Hidden)
	f.job.phases, f.job.workers = f.few, e.crew.workers()
	f.job.spread(&f.few[0], l.query.out+l.key.out+l.value.out, s.Hidden)
	heads, rows, segments, tiles := len(f.b.Segments)*s.KVHeads, 0, 0, 0
	if !f.apart() {
		heads, rows, tiles = 0, n, len(f.tiles)
		if f.cache != nil {
			segments = len(f.b.Segments)
		}
	}
	f.few[1].n, f.few[1].step = heads, 1
	f.few[2].n, f.few[2].step = rows, max(rows, 1)
	f.few[3].n, f.few[3].step = segments, max(segments, 1)
	f.few[4].n, f.few[4].step = tiles, 1
	f.job.spread(&f.few[5], s.Hidden, l.out.in)
	f.job.spread(&f.few[6], s.FF, 2*s.Hidden)
	f.job.spread(&f.few[7], s.Hidden, s.FF)
}

// spread cuts columns of so many weights each into parts for the workers: as many as
// they come for without one waiting for another that has more.
func (j *job) spread(ph *phase, columns, weights int) {
	const unit, most = 16, 3 // columns that kernels take at a time; parts for a worker
	const least = 64 << 10   // weights of a part that is worth coming for
	longest := 0
	for parts := 1; parts <= most; parts++ {
		step := roundUp((columns+parts*j.workers-1)/(parts*j.workers), unit)
		if parts > 1 && step*weights < least {
			break
		}
		chunks := (columns + step - 1) / step
		takes := (chunks + j.workers - 1) / j.workers * step
		if longest == 0 || takes <= longest {
			ph.n, ph.step, longest = columns, step, takes
		}
	}
}
