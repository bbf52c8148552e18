package cpu

import (
	"context"
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
)

// rowTile is how many rows go through a chain of products together. More use
// the weights better while they are in cache, fewer keep what is between the
// products there: on Zen 4, 256 was 8 to 10 % faster than 128.
const rowTile = 256

// Forward implements engine.Layer.
func (l *layer) Forward(ctx context.Context, c *engine.Call, x, y engine.Hidden) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	f := l.e.forwards.take()
	defer l.e.forwards.put(f)
	if err := f.take(l, c, x, y); err != nil {
		return err
	}
	err := l.e.pool.run(&f.job)
	if f.job.workers > 0 {
		l.e.crew.note(f.b.Len(), f.job.took)
	}
	if f.tape != nil {
		f.tape.full = err == nil
	}
	f.forget()
	return err
}

// forget lets go of a call's arguments.
func (f *forward) forget() {
	f.l, f.b, f.in, f.out, f.mlp, f.rows, f.cache, f.tape, f.dropout = nil, nil, nil, nil, nil, nil, nil, nil, nil
}

// take makes the call's arguments the forward's.
func (f *forward) take(l *layer, c *engine.Call, x, y engine.Hidden) error {
	n, d := c.Batch.Len(), l.s.Hidden
	if err := f.arguments(l, c, x); err != nil {
		return err
	}
	f.out, f.remake = floats(y, n, d), false
	if c.MLP != nil {
		f.mlp = floats(c.MLP, n, d)
	}
	if c.KV != nil {
		f.cache = c.KV.(*kvCache)
		if err := c.Batch.Continues(f.cache.used, f.cache.rows); err != nil {
			return err
		}
	}
	if c.Tape != nil {
		f.tape = c.Tape.(*tape).open(n)
	}
	f.prepare()
	return nil
}

// arguments takes what a backward pass needs too.
func (f *forward) arguments(l *layer, c *engine.Call, x engine.Hidden) error {
	f.forget()
	n := c.Batch.Len()
	f.l, f.b, f.in = l, c.Batch, floats(x, n, l.s.Hidden)
	f.rows, f.outputs = c.Rows, n
	if c.Rows != nil {
		f.outputs = len(c.Rows)
		checkRows(c.Rows, n)
	}
	if c.Dropout != nil && l.adapted {
		f.dropout, f.segments = c.Dropout, segmentsOf(c.Batch, f.segments)
	}
	return f.rotaries()
}

// rotaries finds the tables: one for all segments, or where they differ one each.
func (f *forward) rotaries() (err error) {
	f.rope, f.ropes = nil, f.ropes[:0]
	if f.l.rope.Dim == 0 {
		return nil
	}
	if f.choices, err = f.b.Choices(f.l.rope, f.choices[:0]); err != nil {
		return err
	}
	top := maxPosition(f.b)
	f.rope = f.e.rotaries.Reach(f.l.rope, f.choices[0], top)
	if !slices.ContainsFunc(f.choices, func(c int) bool { return c != f.choices[0] }) {
		return nil
	}
	for _, c := range f.choices {
		f.ropes = append(f.ropes, f.e.rotaries.Reach(f.l.rope, c, top))
	}
	f.segments = segmentsOf(f.b, f.segments)
	return nil
}

// table is the one of a row of the batch; nil where nothing is rotated.
func (f *forward) table(row int) *block.Rotary {
	if len(f.ropes) == 0 {
		return f.rope
	}
	return f.ropes[f.segments[row]]
}

// checkRows panics unless rows ascend below n.
func checkRows(rows []int, n int) {
	last := -1
	for _, r := range rows {
		if r <= last || r >= n {
			panic(fmt.Sprintf("cpu: row %d after row %d of %d: want ascending rows", r, last, n))
		}
		last = r
	}
}

func maxPosition(b *engine.Batch) int32 {
	var top int32
	for _, p := range b.Positions {
		top = max(top, p)
	}
	return top
}

// forward is one call of Forward: its arguments, what is between its phases,
// and the phases. Calls reuse them, so that none allocates once sizes settle.
type forward struct {
	e       *Engine
	l       *layer
	b       *engine.Batch
	in, out []float32
	mlp     []float32 // or nil: gets what the feed-forward adds
	rows    []int     // wanted, or nil for all
	outputs int       // W, how many are wanted
	cache   *kvCache
	rope    *block.Rotary   // nil where queries and keys are not rotated
	ropes   []*block.Rotary // [segments] where they differ in their tables, else empty
	choices []int           // [segments]

	tape     *tape // or nil: keeps what the backward pass needs
	remake   bool  // only the tape is wanted, no output
	dropout  *engine.Dropout
	segments []int32 // [N] of each row, with dropout or ropes
	again    tape    // what a backward pass computes anew
	own      tape    // queries, keys, values and attention's output where no tape is to keep them

	q, k, v []float32 // [W, H*HeadDim], [N, K*HeadDim] twice
	att     operand   // [W, H*HeadDim]
	tiles   []tile

	// of few rows only
	x, xq, act operand   // [N, D] normed, the wanted ones among them, [W, F]
	gate, up   []float32 // [W, F]
	sum        []float32 // [W, D]
	mlpSum     []float32 // [W, D]

	wide wideProducts // of rows that are few for each worker

	calls                   int // so far
	job                     job
	many, some, few, shared []phase
}

func (e *Engine) newForward() *forward {
	f := &forward{e: e}
	phases := func(runs ...func(*worker, int, int)) []phase {
		ps := make([]phase, len(runs))
		for i, run := range runs {
			ps[i].run = run
		}
		return ps
	}
	f.many = phases(f.project, f.query, f.remember, f.attend, f.finish)
	f.some = phases(f.someNorm, f.someProject, f.someRotate, f.remember, f.attend, f.fewOut, f.someMiddle, f.someGate, f.someDown, f.someFinish)
	f.few = phases(f.fewProject, f.fewHeads, f.someRotate, f.remember, f.attend, f.fewOut, f.fewGate, f.fewDown)
	f.few[len(f.few)-1].last = f.fewFinish
	f.shared = phases(f.wideNorm, f.wideProject, f.someRotate, f.remember, f.attend, f.wideLay, f.wideOut, f.wideMiddle, f.wideFeed, f.wideDown, f.someFinish)
	return f
}

// row is the batch's row of output i.
func (f *forward) row(i int) int {
	if f.rows == nil {
		return i
	}
	return f.rows[i]
}

// prepare sizes buffers and phases.
func (f *forward) prepare() {
	s, n := f.l.s, f.b.Len()
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	t := f.tape
	if t != nil {
		t.size(f.l, n, f.outputs)
	} else {
		t = &f.own
		t.sizeAttention(f.e, f.e.room(n)*q, f.e.room(n)*kv)
	}
	f.calls, f.job.workers = f.calls+1, 0
	f.q, f.k, f.v, f.att = t.q, t.k, t.v, t.att
	f.tiles = f.cut(f.tiles[:0])
	switch columns := f.byColumns(); {
	case columns && n <= fewRows && f.rows == nil:
		f.prepareFew()
		return
	case columns && n > fewRows && f.stripped() != nil:
		f.prepareWide()
		return
	case columns:
		f.prepareSome()
		return
	}
	f.job.phases = f.many
	f.e.pool.evenly(&f.many[0], n, rowTile, f.e.quantum())
	f.many[1].n, f.many[1].step = 0, 1
	if f.rows != nil {
		f.e.pool.evenly(&f.many[1], f.outputs, rowTile, f.e.quantum())
	}
	f.many[2].n, f.many[2].step = 0, 1
	if f.cache != nil {
		f.many[2].n = len(f.b.Segments)
	}
	f.many[3].n, f.many[3].step = len(f.tiles), 1
	f.e.pool.evenly(&f.many[4], f.outputs, rowTile, f.e.quantum())
}

// columnParts is into how many parts columns are cut for each worker: one that is late
// holds nobody up for long, and parts are long enough to read ahead in.
const columnParts = 3

// columnStep cuts columns into such parts.
func (e *Engine) columnStep(columns int) int {
	const unit = 32 // columns that kernels take at a time
	return roundUp((columns+columnParts*e.info.Threads-1)/(columnParts*e.info.Threads), unit)
}

// grow returns memory for n values, xs where it is enough.
func grow[T any](xs []T, n int) []T {
	if cap(xs) < n {
		return make([]T, n)
	}
	return xs[:n]
}

// project computes rotated queries, unless only some are wanted, keys and values
// of rows [lo, hi).
func (f *forward) project(w *worker, lo, hi int) {
	l := f.l
	rows, d := hi-lo, l.s.Hidden
	x := f.e.input(w.feed.input, f.e.room(rows)*d)
	f.e.normRows(w, x, f.in[lo*d:hi*d], d, l.first())
	w.lap(lapNorms)
	var q []float32
	if f.rows == nil {
		q = f.q[lo*l.query.out:]
	}
	f.inner(w, rows, x, span{lo: lo}, q, f.k[lo*l.key.out:], f.v[lo*l.value.out:])
	if f.rows == nil {
		f.rotateQueries(lo, hi)
	}
	f.rotateKeys(lo, hi)
	w.lap(lapRotary)
}

// query computes rotated queries of outputs [lo, hi), where only some are wanted.
func (f *forward) query(w *worker, lo, hi int) {
	l := f.l
	x := f.e.input(w.feed.input, f.e.room(hi-lo)*l.s.Hidden)
	f.normOutputs(w, x, f.in, l.first(), lo, hi)
	w.lap(lapNorms)
	f.filled(w, l.query, hi-lo, x, f.span(lo), f.q[lo*l.query.out:])
	w.lap(lapProducts)
	f.rotateQueries(lo, hi)
	w.lap(lapRotary)
}

// rotateQueries adds biases to the queries of outputs [lo, hi), normalises heads
// where the family does, and applies rotary embeddings.
func (f *forward) rotateQueries(lo, hi int) {
	for i := lo; i < hi; i++ {
		f.rotateQuery(i, 0, f.l.query.out)
	}
}

// rotateQuery does so with the heads in columns [from, to) of one output.
func (f *forward) rotateQuery(i, from, to int) {
	n := f.l.query.out
	q := f.q[i*n+from : i*n+to]
	f.e.k.addBias(q, within(f.l.queryBias, from, to))
	if f.tape != nil && f.l.queryNorm != nil {
		copy(f.tape.rawQ[i*n+from:], q)
	}
	f.rotateHeads(q, f.l.queryNorm, f.row(i))
}

// rotateKeys does so with the keys of rows [lo, hi), and adds values' biases.
func (f *forward) rotateKeys(lo, hi int) {
	for i := lo; i < hi; i++ {
		f.rotateKey(i, 0, f.l.key.out)
	}
}

func (f *forward) rotateKey(i, from, to int) {
	n := f.l.key.out
	k := f.k[i*n+from : i*n+to]
	f.e.k.addBias(k, within(f.l.keyBias, from, to))
	f.e.k.addBias(f.v[i*n+from:i*n+to], within(f.l.valueBias, from, to))
	if f.tape != nil && f.l.keyNorm != nil {
		copy(f.tape.rawK[i*n+from:], k)
	}
	f.rotateHeads(k, f.l.keyNorm, i)
}

// within is part of a bias, nil where there is none.
func within(bias []float32, from, to int) []float32 {
	if bias == nil {
		return nil
	}
	return bias[from:to]
}

// rotateHeads normalises and rotates the heads of one row of the batch, at.
func (f *forward) rotateHeads(row, norm []float32, at int) {
	s, table, position := f.l.s, f.table(at), f.b.Positions[at]
	if norm != nil && s.WholeNorm {
		f.e.k.rmsNorm(row, row, norm, s.NormEps)
		norm = nil
	}
	for ; len(row) > 0; row = row[s.HeadDim:] {
		head := row[:s.HeadDim]
		if norm != nil {
			f.e.k.rmsNorm(head, head, norm, s.NormEps)
		}
		if table != nil {
			f.e.k.rotary(table, head, position)
		}
	}
}

// remember puts keys and values of segments [lo, hi) into the cache.
func (f *forward) remember(w *worker, lo, hi int) {
	for _, s := range f.b.Segments[lo:hi] {
		f.cache.append(w, s, f.k, f.v)
	}
	w.lap(lapGather)
}

// normRows writes the norm of every row of x [rows, D] as matrix input.
func (e *Engine) normRows(w *worker, dst operand, x []float32, d int, n normal) {
	row := w.row.floats(d)
	for i := 0; i*d < len(x); i++ {
		e.k.normalise(row, x[i*d:][:d], n)
		e.pack(dst.from(i*d), row)
	}
}

// normOutputs writes the norm of the rows of x [N, D] that outputs [lo, hi) are
// in, as matrix input.
func (f *forward) normOutputs(w *worker, dst operand, x []float32, n normal, lo, hi int) {
	d := f.l.s.Hidden
	if f.rows == nil {
		f.e.normRows(w, dst, x[lo*d:hi*d], d, n)
		return
	}
	for i := lo; i < hi; i++ {
		f.e.normRows(w, dst.from((i-lo)*d), x[f.rows[i]*d:][:d], d, n)
	}
}

// finish adds attention and feed-forward of outputs [lo, hi) to the residual stream.
func (f *forward) finish(w *worker, lo, hi int) {
	if f.tape != nil {
		f.finishTape(w, lo, hi)
		return
	}
	l := f.l
	rows, d, ff := hi-lo, l.s.Hidden, l.s.FF
	room := f.e.room(rows)

	// gate's scratch is free until the feed-forward products
	gate := w.feed.gate.floats(room * max(ff, d))
	f.filled(w, l.out, rows, f.att.from(lo*l.out.in), f.span(lo), gate)
	w.lap(lapProducts)
	x := f.e.input(w.feed.input, room*d)
	f.middle(w, x, gate[:rows*d], lo, hi)
	up := w.feed.up.floats(room * max(ff, d))
	act := f.e.input(w.feed.act, room*ff)
	f.feed(w, rows, x, f.span(lo), gate, up, act)
	f.filled(w, l.down, rows, act, f.span(lo), up)
	w.lap(lapProducts)
	f.addTo(f.out, lo, up[:rows*d], l.downBias, l.mlpPostNorm, f.mlp)
	w.lap(lapResidual)
}

// middle adds attention's output x of outputs [lo, hi) to the residual stream and
// writes what the feed-forward takes, in parallel blocks the norm of the layer's
// input, which the call's y may be about to replace.
func (f *forward) middle(w *worker, dst operand, x []float32, lo, hi int) {
	l := f.l
	if l.s.Parallel {
		f.normOutputs(w, dst, f.in, l.first(), lo, hi)
		w.lap(lapNorms)
	}
	f.addTo(f.in, lo, x, l.outBias, l.attnPostNorm, nil)
	w.lap(lapResidual)
	if !l.s.Parallel {
		f.normOutputs(w, dst, f.out, l.second(), lo, hi)
		w.lap(lapNorms)
	}
}

// factors are what multiplies the activations of columns from first on: up's
// products, or nothing but ones.
func (l *layer) factors(up []float32, first int) []float32 {
	if l.up == nil {
		return l.ones[first:][:len(up)]
	}
	return up
}

// addTo: out = in + scale norm(x + bias), x [.., D] being of outputs from first on, and
// in the call's x or y; x is overwritten. show, if not nil, gets what is added.
func (f *forward) addTo(in []float32, first int, x, bias, norm, show []float32) {
	d := f.l.s.Hidden
	for i := 0; i*d < len(x); i++ {
		row, at := x[i*d:][:d], f.row(first+i)*d
		f.l.residual(row, bias, norm)
		if show != nil {
			copy(show[at:at+d], row)
		}
		f.e.k.add(f.out[at:at+d], in[at:at+d], row)
	}
}

// residual makes of a row of a map's products what is added to the residual stream.
func (l *layer) residual(row, bias, norm []float32) {
	l.e.k.addBias(row, bias)
	if norm != nil {
		l.e.k.rmsNorm(row, row, norm, l.s.NormEps)
	}
	l.e.k.scaleBy(row, l.s.Residual())
}

// activate writes activation(gate + bias) * (up + bias) of some columns of one
// row, from column first on, as matrix input; gate and up are overwritten.
func (l *layer) activate(dst operand, gate, up []float32, first int) {
	k := l.e.k
	if l.gateBias != nil {
		k.add(gate, gate, l.gateBias[first:])
	}
	if l.upBias != nil {
		k.add(up, up, l.upBias[first:])
	}
	l.gated(dst, gate, up)
}

// gated writes activation(gate) * up as matrix input; gate is overwritten.
func (l *layer) gated(dst operand, gate, up []float32) {
	switch l.s.Activation {
	case model.GELU:
		gateErf(gate, gate, up)
		l.e.pack(dst, gate)
	case model.GELUTanh:
		linear, cubic := geluCoefficients()
		l.smooth(dst, gate, up, linear, cubic)
	case model.ReLU, model.ReLU2:
		l.e.k.gateReLU(gate, gate, up, l.s.Activation == model.ReLU2)
		l.e.pack(dst, gate)
	default:
		l.smooth(dst, gate, up, 1, 0)
	}
}

// smooth is gated with kernels.gate.
func (l *layer) smooth(dst operand, gate, up []float32, linear, cubic float32) {
	k, done := l.e.k, 0
	if k.gateHalf != nil && dst.bf16 != nil {
		done = k.gateHalf(dst.bf16, gate, up, linear, cubic)
	}
	if rest := gate[done:]; len(rest) > 0 {
		k.gate(rest, rest, up[done:], linear, cubic)
		l.e.pack(dst.from(done), rest)
	}
}
