package cpu

import (
	"context"
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
)

// Scratch slots of a worker; those of phases that never overlap share numbers.
const (
	slotConvert = iota
	slotRow
	slotInput
	slotGate
	slotUp
	slotAct
)

const (
	slotQuery = iota
	slotScores
	slotPart
	slotAcc
	slotState
	slotKeys
	slotValues
)

// rowTile is how many rows go through a chain of products together. More use
// the weights better while they are in cache, fewer keep what is between the
// products there: on Zen 4, 256 was 8 to 10 % faster than 128.
const rowTile = 256

// layer is one resident decoder block.
type layer struct {
	e      *Engine
	s      *model.Spec
	window int // keys a query sees; 0 for all

	attnNorm, queryNorm, keyNorm, attnPostNorm []float32 // nil where the family has none, as biases are
	mlpNorm, mlpPostNorm                       []float32
	query, key, value, out, gate, up, down     *matrix
	queryBias, keyBias, valueBias, outBias     []float32
	gateBias, upBias, downBias                 []float32
	owned                                      []*matrix
	leave                                      func() // lets its pages go
}

// layer makes layer i resident. Its weights are read once, here; pages of which
// there is a copy go at once.
func (e *Engine) layer(m *model.Model, i int) (*layer, error) {
	b, err := block.Of(m.Spec, i)
	if err != nil {
		return nil, err
	}
	ws := m.Spec.LayerWeights(i)
	l := &layer{e: e, s: m.Spec, window: b.Window, leave: func() { m.Source.Release(names(ws)...) }}
	if err := l.load(m, b); err != nil {
		l.Release()
		return nil, err
	}
	if !slices.ContainsFunc(l.owned, func(x *matrix) bool { return !x.copied }) {
		l.leave()
	}
	return l, nil
}

// load brings the block's tensors in.
func (l *layer) load(m *model.Model, b *block.Layer) (err error) {
	whole := map[string]*matrix{}
	maps := []**matrix{&l.query, &l.key, &l.value, &l.out, &l.gate, &l.up, &l.down}
	biases := []*[]float32{&l.queryBias, &l.keyBias, &l.valueBias, &l.outBias, &l.gateBias, &l.upBias, &l.downBias}
	for i, from := range b.Linears() {
		x := whole[from.Weight.Name]
		if x == nil {
			if x, err = l.matrix(m, from.Weight); err != nil {
				return err
			}
			whole[from.Weight.Name] = x
		}
		*maps[i] = x.rows(from.Row, from.Row+from.Out)
		if *biases[i], err = l.e.vector(m, from.Bias); err != nil {
			return err
		}
	}
	norms := []*[]float32{&l.attnNorm, &l.queryNorm, &l.keyNorm, &l.attnPostNorm, &l.mlpNorm, &l.mlpPostNorm}
	for i, from := range []block.Vector{b.AttnNorm, b.QueryNorm, b.KeyNorm, b.AttnPostNorm, b.MLPNorm, b.MLPPostNorm} {
		if *norms[i], err = l.e.vector(m, from); err != nil {
			return err
		}
	}
	return nil
}

// matrix brings one tensor in.
func (l *layer) matrix(m *model.Model, w model.Weight) (*matrix, error) {
	x, err := l.e.matrix(m, w)
	if err != nil {
		return nil, err
	}
	l.owned = append(l.owned, x)
	if x.copied {
		m.Source.Release(w.Name)
	}
	return x, nil
}

// Release implements engine.Layer.
func (l *layer) Release() {
	for _, x := range l.owned {
		x.release()
	}
	l.owned = nil
	l.leave()
}

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
	f.l, f.b, f.in, f.out, f.mlp, f.rows, f.cache = nil, nil, nil, nil, nil, nil, nil
	return err
}

// take makes the call's arguments the forward's.
func (f *forward) take(l *layer, c *engine.Call, x, y engine.Hidden) error {
	b, n, d := c.Batch, c.Batch.Len(), l.s.Hidden
	f.l, f.b, f.in, f.out = l, b, floats(x, n, d), floats(y, n, d)
	f.mlp, f.cache = nil, nil
	if c.MLP != nil {
		f.mlp = floats(c.MLP, n, d)
	}
	if c.KV != nil {
		f.cache = c.KV.(*kvCache)
		if err := f.cache.check(b); err != nil {
			return err
		}
	}
	f.rows, f.outputs = c.Rows, n
	if c.Rows != nil {
		f.outputs = len(c.Rows)
		checkRows(c.Rows, n)
	}
	f.rope = l.e.rotaries.Reach(l.s.Rope, maxPosition(b))
	f.prepare()
	return nil
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
	rope    *block.Rotary

	q, k, v []float32 // [W, H*HeadDim], [N, K*HeadDim] twice
	att     operand   // [W, H*HeadDim]
	tiles   []tile

	// of few rows only
	x, xq, act operand   // [N, D] normed, the wanted ones among them, [W, F]
	gate, up   []float32 // [W, F]
	sum        []float32 // [W, D]

	job        job
	many, some []phase
}

// fewRows is how many rows are few: weights pass by faster than one worker
// multiplies, so that the workers share columns, not rows.
const fewRows = 4

func (e *Engine) newForward() *forward {
	f := &forward{e: e}
	f.job.init()
	phases := func(runs ...func(*worker, int, int)) []phase {
		ps := make([]phase, len(runs))
		for i, run := range runs {
			ps[i].run = run
		}
		return ps
	}
	f.many = phases(f.project, f.query, f.remember, f.attend, f.finish)
	f.some = phases(f.fewNorm, f.fewProject, f.fewRotate, f.attend, f.fewOut, f.fewMiddle, f.fewGate, f.fewDown, f.fewFinish)
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
	f.q, f.k, f.v = grow(f.q, n*q), grow(f.k, n*kv), grow(f.v, n*kv)
	f.att = f.att.grow(n*q, f.e.half)
	f.tiles = f.cut(f.tiles[:0])
	if n > fewRows {
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
		return
	}
	f.job.phases = f.some
	f.x, f.act = f.x.grow(n*s.Hidden, f.e.half), f.act.grow(n*s.FF, f.e.half)
	f.gate, f.up, f.sum = grow(f.gate, n*s.FF), grow(f.up, n*s.FF), grow(f.sum, n*s.Hidden)
	if f.rows != nil {
		f.xq = f.xq.grow(n*s.Hidden, f.e.half)
	}
	for i, columns := range [...]int{1, q + 2*kv, 1, len(f.tiles), s.Hidden, 1, s.FF, s.Hidden, 1} {
		f.some[i].n, f.some[i].step = columns, 1
		if columns > 1 && i != 3 {
			f.some[i].step = f.e.columnStep(columns)
		}
		if i > 3 && f.outputs == 0 {
			f.some[i].n = 0
		}
	}
}

// columnStep cuts columns into three parts for each worker: one that is late
// holds nobody up for long, and parts are long enough to read ahead in.
func (e *Engine) columnStep(columns int) int {
	const unit = 32 // columns that kernels take at a time
	return roundUp((columns+3*e.info.Threads-1)/(3*e.info.Threads), unit)
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
	x := f.e.input(w, slotInput, rows*d)
	f.e.normRows(w, x, f.in[lo*d:hi*d], l.attnNorm, l.s.NormEps)
	w.lap(lapNorms)
	if f.rows == nil {
		f.e.mul.product(w, l.query.shape(), rows, x, l.query.operand, f.q[lo*l.query.out:])
	}
	f.e.mul.product(w, l.key.shape(), rows, x, l.key.operand, f.k[lo*l.key.out:])
	f.e.mul.product(w, l.value.shape(), rows, x, l.value.operand, f.v[lo*l.value.out:])
	w.lap(lapProducts)
	if f.rows == nil {
		f.rotateQueries(lo, hi)
	}
	f.rotateKeys(lo, hi)
	w.lap(lapRotary)
}

// query computes rotated queries of outputs [lo, hi), where only some are wanted.
func (f *forward) query(w *worker, lo, hi int) {
	l := f.l
	x := f.e.input(w, slotInput, (hi-lo)*l.s.Hidden)
	f.normOutputs(w, x, f.in, l.attnNorm, lo, hi)
	w.lap(lapNorms)
	f.e.mul.product(w, l.query.shape(), hi-lo, x, l.query.operand, f.q[lo*l.query.out:])
	w.lap(lapProducts)
	f.rotateQueries(lo, hi)
	w.lap(lapRotary)
}

// rotateQueries adds biases to the queries of outputs [lo, hi), normalises heads
// where the family does, and applies rotary embeddings.
func (f *forward) rotateQueries(lo, hi int) {
	n := f.l.query.out
	for i := lo; i < hi; i++ {
		q := f.q[i*n:][:n]
		f.e.k.addBias(q, f.l.queryBias)
		f.rotateHeads(q, f.l.queryNorm, f.b.Positions[f.row(i)])
	}
}

// rotateKeys does so with the keys of rows [lo, hi), and adds values' biases.
func (f *forward) rotateKeys(lo, hi int) {
	n := f.l.key.out
	for i := lo; i < hi; i++ {
		k := f.k[i*n:][:n]
		f.e.k.addBias(k, f.l.keyBias)
		f.e.k.addBias(f.v[i*n:][:n], f.l.valueBias)
		f.rotateHeads(k, f.l.keyNorm, f.b.Positions[i])
	}
}

func (f *forward) rotateHeads(row, norm []float32, position int32) {
	s := f.l.s
	for ; len(row) > 0; row = row[s.HeadDim:] {
		head := row[:s.HeadDim]
		if norm != nil {
			f.e.k.rmsNorm(head, head, norm, s.NormEps)
		}
		f.e.k.rotary(f.rope, head, position)
	}
}

// remember puts keys and values of segments [lo, hi) into the cache.
func (f *forward) remember(w *worker, lo, hi int) {
	for _, s := range f.b.Segments[lo:hi] {
		f.cache.append(s, f.k, f.v)
	}
	w.lap(lapGather)
}

// normRows writes the norm of every row of x [rows, D] as matrix input.
func (e *Engine) normRows(w *worker, dst operand, x, weight []float32, eps float64) {
	d := len(weight)
	row := w.floats(slotRow, d)
	for i := 0; i*d < len(x); i++ {
		e.k.rmsNorm(row, x[i*d:][:d], weight, eps)
		e.pack(dst.from(i*d), row)
	}
}

// normOutputs writes the norm of the rows of x [N, D] that outputs [lo, hi) are
// in, as matrix input.
func (f *forward) normOutputs(w *worker, dst operand, x, weight []float32, lo, hi int) {
	d := len(weight)
	if f.rows == nil {
		f.e.normRows(w, dst, x[lo*d:hi*d], weight, f.l.s.NormEps)
		return
	}
	for i := lo; i < hi; i++ {
		f.e.normRows(w, dst.from((i-lo)*d), x[f.rows[i]*d:][:d], weight, f.l.s.NormEps)
	}
}

// finish adds attention and feed-forward of outputs [lo, hi) to the residual stream.
func (f *forward) finish(w *worker, lo, hi int) {
	l := f.l
	rows, d, ff := hi-lo, l.s.Hidden, l.s.FF

	// gate's scratch is free until the feed-forward products
	gate := w.floats(slotGate, rows*max(ff, d))
	f.e.mul.product(w, l.out.shape(), rows, f.att.from(lo*l.out.in), l.out.operand, gate)
	w.lap(lapProducts)
	f.addTo(f.in, lo, gate[:rows*d], l.outBias, l.attnPostNorm, nil)
	w.lap(lapResidual)

	x := f.e.input(w, slotInput, rows*d)
	f.normOutputs(w, x, f.out, l.mlpNorm, lo, hi)
	w.lap(lapNorms)
	up := w.floats(slotUp, rows*max(ff, d))
	f.e.mul.product(w, l.gate.shape(), rows, x, l.gate.operand, gate)
	f.e.mul.product(w, l.up.shape(), rows, x, l.up.operand, up)
	w.lap(lapProducts)
	act := f.e.input(w, slotAct, rows*ff)
	for i := 0; i < rows*ff; i += ff {
		l.activate(act.from(i), gate[i:i+ff], up[i:i+ff], 0)
	}
	w.lap(lapActivation)
	f.e.mul.product(w, l.down.shape(), rows, act, l.down.operand, up)
	w.lap(lapProducts)
	f.addTo(f.out, lo, up[:rows*d], l.downBias, l.mlpPostNorm, f.mlp)
	w.lap(lapResidual)
}

// addTo: out = in + norm(x + bias), x [.., D] being of outputs from first on, and
// in the call's x or y; x is overwritten. show, if not nil, gets what is added.
func (f *forward) addTo(in []float32, first int, x, bias, norm, show []float32) {
	d := f.l.s.Hidden
	for i := 0; i*d < len(x); i++ {
		row, at := x[i*d:][:d], f.row(first+i)*d
		f.e.k.addBias(row, bias)
		if norm != nil {
			f.e.k.rmsNorm(row, row, norm, f.l.s.NormEps)
		}
		if show != nil {
			copy(show[at:at+d], row)
		}
		f.e.k.add(f.out[at:at+d], in[at:at+d], row)
	}
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
	switch l.s.Activation {
	case model.GELU:
		gateErf(gate, gate, up)
	case model.GELUTanh:
		linear, cubic := geluCoefficients()
		k.gate(gate, gate, up, linear, cubic)
	default:
		k.gate(gate, gate, up, 1, 0)
	}
	l.e.pack(dst, gate)
}
