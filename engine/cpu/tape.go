package cpu

import (
	"math"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// tape is what a layer's forward pass keeps for its backward pass: of N rows
// keys and values, of the M wanted ones the rest.
type tape struct {
	e     *Engine
	limit int // rows there may be
	full  bool

	q, k, v    []float32 // [M, H*HeadDim], [N, K*HeadDim] twice, rotated
	rawQ, rawK []float32 // before their norms, where heads have them
	lse        []float32 // [M, H] log of the sum of exponentials
	att        operand   // [M, H*HeadDim]
	attnOut    []float32 // [M, D] attention's output before its post-norm, where it has one
	mid        []float32 // [M, D] the residual stream between attention and feed-forward
	gate, up   operand   // [M, F] biases included, rounded as matrix inputs
	mlpOut     []float32 // [M, D] the feed-forward's output before its post-norm, where it has one
}

// NewTape implements engine.Trainer. Memory is taken as rows come.
func (e *Engine) NewTape(_ *model.Model, rows int, _ engine.LayerOptions) (engine.Tape, error) {
	t := e.tapes.take()
	t.e, t.limit, t.full = e, rows, false
	return t, nil
}

// Release leaves the memory to later tapes.
func (t *tape) Release() {
	if t.limit < 0 {
		return
	}
	t.limit = -1
	t.e.tapes.put(t)
}

// open is the tape for a call of n rows, or nil where it has no room for them.
func (t *tape) open(n int) *tape {
	t.full = false
	if n > t.limit {
		return nil
	}
	return t
}

// size makes room for n rows of which m are wanted.
func (t *tape) size(l *layer, n, m int) {
	s := l.s
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	t.sizeAttention(t.e, t.e.room(m)*q, t.e.room(n)*kv)
	t.lse, t.mid = grow(t.lse, m*s.Heads), grow(t.mid, m*s.Hidden)
	t.gate, t.up = t.gate.grow(m*s.FF, t.e.half), t.up.grow(m*s.FF, t.e.half)
	if l.queryNorm != nil {
		t.rawQ = grow(t.rawQ, m*q)
	}
	if l.keyNorm != nil {
		t.rawK = grow(t.rawK, n*kv)
	}
	if l.attnPostNorm != nil {
		t.attnOut = grow(t.attnOut, m*s.Hidden)
	}
	if l.mlpPostNorm != nil {
		t.mlpOut = grow(t.mlpOut, m*s.Hidden)
	}
}

// sizeAttention makes room for queries, keys and values.
func (t *tape) sizeAttention(e *Engine, q, kv int) {
	t.q, t.k, t.v = grow(t.q, q), grow(t.k, kv), grow(t.v, kv)
	t.att = t.att.grow(q, e.half)
}

// keepSums keeps what a tile's exponentials add up to.
func (f *forward) keepSums(t tile, maxima, sums []float32) {
	heads, group, queries := f.l.s.Heads, f.l.s.Heads/f.l.s.KVHeads, t.queries()
	for g := range group {
		for i := range queries {
			r := g*queries + i
			f.tape.lse[(t.lo+i)*heads+t.head*group+g] = maxima[r] + float32(math.Log(float64(sums[r])))
		}
	}
}

// finishTape is finish, keeping what the backward pass needs. Where only that is
// wanted it ends there.
func (f *forward) finishTape(w *worker, lo, hi int) {
	l, t := f.l, f.tape
	rows, d, ff := hi-lo, l.s.Hidden, l.s.FF
	gate, up := w.feed.gate.floats(rows*max(ff, d)), w.feed.up.floats(rows*max(ff, d))
	f.linear(w, l.out, rows, f.att.from(lo*l.out.in), f.span(lo), gate)
	w.lap(lapProducts)
	for i := range rows {
		row, at := gate[i*d:][:d], (lo+i)*d
		f.e.k.addBias(row, l.outBias)
		f.postNorm(row, l.attnPostNorm, t.attnOut, at)
		f.e.k.add(t.mid[at:at+d], f.in[f.row(lo+i)*d:][:d], row)
	}
	w.lap(lapResidual)
	x := f.e.input(w.feed.input, rows*d)
	if l.s.Parallel {
		f.normOutputs(w, x, f.in, l.first(), lo, hi)
	} else {
		f.e.normRows(w, x, t.mid[lo*d:hi*d], d, l.second())
	}
	w.lap(lapNorms)
	f.linear(w, l.gate, rows, x, f.span(lo), gate)
	if l.up != nil {
		f.linear(w, l.up, rows, x, f.span(lo), up)
	}
	w.lap(lapProducts)
	act := f.e.input(w.feed.act, rows*ff)
	for i := range rows {
		g, u, at := gate[i*ff:][:ff], l.factors(up[i*ff:][:ff], 0), (lo+i)*ff
		f.e.k.addBias(g, l.gateBias)
		f.e.k.addBias(u, l.upBias)
		f.e.pack(t.gate.from(at), g)
		if l.up != nil {
			f.e.pack(t.up.from(at), u)
		}
		if !f.remake || l.mlpPostNorm != nil {
			l.gated(act.from(i*ff), g, u)
		}
	}
	w.lap(lapActivation)
	if !f.remake || l.mlpPostNorm != nil {
		f.linear(w, l.down, rows, act, f.span(lo), up)
		w.lap(lapProducts)
		f.endTape(lo, up[:rows*d])
		w.lap(lapResidual)
	}
}

// endTape adds the feed-forward's output x [rows, D] to the residual stream.
func (f *forward) endTape(lo int, x []float32) {
	d := f.l.s.Hidden
	for i := 0; i*d < len(x); i++ {
		row, at, to := x[i*d:][:d], (lo+i)*d, f.row(lo+i)*d
		f.e.k.addBias(row, f.l.downBias)
		f.postNorm(row, f.l.mlpPostNorm, f.tape.mlpOut, at)
		if f.remake {
			continue
		}
		if f.mlp != nil {
			copy(f.mlp[to:to+d], row)
		}
		f.e.k.add(f.out[to:to+d], f.tape.mid[at:at+d], row)
	}
}

// postNorm normalises a row and scales it, where the family does, and keeps what it was.
func (f *forward) postNorm(row, weight, keep []float32, at int) {
	if weight != nil {
		copy(keep[at:at+len(row)], row)
		f.e.k.rmsNorm(row, row, weight, f.l.s.NormEps)
	}
	f.e.k.scaleBy(row, f.l.s.Residual())
}

// span names the tokens of outputs from lo on.
func (f *forward) span(lo int) span { return span{list: f.rows, lo: lo} }

// segmentsOf lists which segment each row of a batch belongs to.
func segmentsOf(b *engine.Batch, list []int32) []int32 {
	list = resize(list, b.Len())
	for i, s := range b.Segments {
		for j := range s.Len {
			list[s.Start+j] = int32(i)
		}
	}
	return list
}
