package cpu

import (
	"context"
	"errors"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

var _ engine.TrainLayer = (*layer)(nil)

// backward is one call of Backward: its arguments, what is between its phases,
// and the phases. W are the call's wanted rows; the forward pass has computed
// the rest, or does so first.
type backward struct {
	e      *Engine
	l      *layer
	f      *forward // the call's batch, rows and tape
	t      *tape
	dy, dx []float32 // [N, D]; dx nil where it is not wanted
	tile   int       // rows that go through products together

	dz, ds, normed operand   // [W, D] gradients of both halves' outputs, the feed-forward's input
	act, dg, du    operand   // [W, F]
	dmid           []float32 // [W, D]
	dnormed        []float32 // [W, D] of the norm, from the feed-forward of a parallel block
	datt           []float32 // [W, H*HeadDim]
	dq             []float32 // [W, H*HeadDim] of rotated queries, overwritten by raw ones'
	dk, dv         []float32 // [N, K*HeadDim]
	pq, pk, pv     operand   // those as matrix inputs
	x, xq          operand   // [N, D], [W, D] the projections' input
	daq            []float32 // [W, D] what queries alone give it, where only some rows are wanted
	heirs          heirs
	columns        byColumns

	weights reductions
	sums    vectorSums
	at      sumPlaces

	job    job
	phases []phase
}

// sumPlaces say where in a tile's part the gradients of vectors and adapters
// are; -1 for none.
type sumPlaces struct {
	attnNorm, queryNorm, keyNorm, attnPostNorm, mlpNorm, mlpPostNorm   int
	attnNormBias, mlpNormBias                                          int
	queryBias, keyBias, valueBias, outBias, gateBias, upBias, downBias int
	queryLow, keyLow, valueLow, outLow, gateLow, upLow, downLow        [2]int // A, B
}

func (e *Engine) newBackward() *backward {
	b := &backward{e: e, f: e.newForward(), weights: reductions{e: e}, sums: vectorSums{e: e}}
	b.columns.b = b
	runs := b.runs()
	b.phases = make([]phase, len(runs))
	for i, run := range runs {
		b.phases[i].run = run
	}
	b.job.phases = b.phases
	return b
}

// Backward implements engine.TrainLayer.
func (l *layer) Backward(ctx context.Context, c *engine.Call, x, dy, dx engine.Hidden) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if l.turned {
		return errors.New("a layer laid out for calls of many rows has no backward pass")
	}
	b := l.e.backwards.take()
	defer l.e.backwards.put(b)
	if err := b.remember(l, c, x); err != nil {
		return err
	}
	n, d := c.Batch.Len(), l.s.Hidden
	b.dy, b.dx = floats(dy, n, d), nil
	if dx != nil {
		b.dx = floats(dx, n, d)
	}
	b.prepare()
	err := l.e.pool.run(&b.job)
	b.f.forget()
	b.l, b.t, b.dy, b.dx = nil, nil, nil, nil
	b.columns.forget()
	b.weights.list, b.sums.targets = b.weights.list[:0], b.sums.targets[:0]
	return err
}

// remember takes what the forward pass kept, or computes it anew.
func (b *backward) remember(l *layer, c *engine.Call, x engine.Hidden) error {
	f := b.f
	if err := f.arguments(l, c, x); err != nil {
		return err
	}
	b.l = l
	if kept, ok := c.Tape.(*tape); ok && kept.full {
		b.t, f.tape, f.k, f.v = kept, kept, kept.k, kept.v
		return nil
	}
	f.again.e = l.e
	b.t, f.tape, f.remake = &f.again, &f.again, true
	f.prepare()
	return l.e.pool.run(&f.job)
}

// prepare sizes buffers and phases. Tiles lie at the same rows whatever the
// number of workers, for each makes a part of sums.
func (b *backward) prepare() {
	s, e := b.l.s, b.e
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	n, m := b.f.b.Len(), b.f.outputs
	b.tile = roundUp(rowTile, e.quantum())
	for _, o := range []struct {
		into *operand
		n    int
	}{
		{&b.dz, m * s.Hidden}, {&b.ds, m * s.Hidden}, {&b.normed, m * s.Hidden}, {&b.act, m * s.FF}, {&b.dg, m * s.FF}, {&b.du, m * s.FF},
		{&b.pq, m * q}, {&b.pk, n * kv}, {&b.pv, n * kv}, {&b.x, n * s.Hidden}, {&b.xq, m * s.Hidden},
	} {
		*o.into = o.into.grow(o.n, e.half)
	}
	b.dmid, b.datt, b.dq = grow(b.dmid, m*s.Hidden), grow(b.datt, m*q), grow(b.dq, m*q)
	if s.Parallel {
		b.dnormed = grow(b.dnormed, m*s.Hidden)
	}
	b.dk, b.dv = grow(b.dk, n*kv), grow(b.dv, n*kv)
	b.places()
	b.sums.begin(max(b.tiles(n), b.tiles(m), 1))
	b.heirs.list(b.f.b, kv)

	b.weights.add(b.l.down, b.dz, b.act, m)
	b.weights.add(b.l.gate, b.dg, b.normed, m)
	if b.l.up != nil {
		b.weights.add(b.l.up, b.du, b.normed, m)
	}
	b.weights.add(b.l.out, b.ds, b.t.att, m)
	xq := b.x
	if b.f.rows != nil {
		xq = b.xq
		b.daq = grow(b.daq, m*s.Hidden)
	}
	b.weights.add(b.l.query, b.pq, xq, m)
	b.weights.add(b.l.key, b.pk, b.x, n)
	b.weights.add(b.l.value, b.pv, b.x, n)
	b.weights.begin()
	for i, p := range b.loops(n, m) {
		b.phases[i].n, b.phases[i].step = p.n, p.step
	}
}

func (b *backward) tiles(rows int) int { return (rows + b.tile - 1) / b.tile }

// places reserves room in the parts for what trains.
func (b *backward) places() {
	g, v := &b.l.grads, &b.sums
	v.width = 0
	low := func(x *matrix) [2]int {
		if x == nil || x.adapter == nil {
			return [2]int{-1, -1}
		}
		a := x.adapter
		a.a.fill()
		a.b.fill()
		return [2]int{v.want(a.a.grad), v.want(a.b.grad[a.row*a.rank():][:x.out*a.rank()])}
	}
	l := b.l
	b.at = sumPlaces{
		attnNorm: v.want(g.attnNorm), queryNorm: v.want(g.queryNorm), keyNorm: v.want(g.keyNorm), attnPostNorm: v.want(g.attnPostNorm),
		attnNormBias: v.want(g.attnNormBias), mlpNormBias: v.want(g.mlpNormBias),
		mlpNorm: v.want(g.mlpNorm), mlpPostNorm: v.want(g.mlpPostNorm),
		queryBias: v.want(g.queryBias), keyBias: v.want(g.keyBias), valueBias: v.want(g.valueBias), outBias: v.want(g.outBias),
		gateBias: v.want(g.gateBias), upBias: v.want(g.upBias), downBias: v.want(g.downBias),
		queryLow: low(l.query), keyLow: low(l.key), valueLow: low(l.value), outLow: low(l.out), gateLow: low(l.gate), upLow: low(l.up), downLow: low(l.down),
	}
}

// rowsOf is rows [lo, hi) of the wanted ones of x [N, D].
func (b *backward) rowsOf(room *buffer, x []float32, lo, hi int) []float32 {
	d := b.l.s.Hidden
	if b.f.rows == nil {
		return x[lo*d : hi*d]
	}
	out := room.floats((hi - lo) * d)
	for i := lo; i < hi; i++ {
		copy(out[(i-lo)*d:][:d], x[b.f.rows[i]*d:])
	}
	return out
}

// feedForward goes back through the feed-forward and the attention's output
// projection of wanted rows [lo, hi).
func (b *backward) feedForward(w *worker, lo, hi int) {
	l, d, ff, n := b.l, b.l.s.Hidden, b.l.s.FF, hi-lo
	tile := lo / b.tile
	b.outputs(w, lo, hi)
	dact := w.feedBack.dact.floats(n * ff)
	low := b.f.linearBack(w, l.down, n, b.dz.from(lo*d), b.f.span(lo), dact, true)
	w.lap(lapProducts)
	b.gates(w, dact, low, lo, hi)
	dm, normed := w.feedBack.dinput.floats(n*d), b.normed.from(lo*d)
	if l.s.Parallel {
		dm = b.dnormed[lo*d : hi*d]
	}
	b.mapBack(w, l.gate, n, normed, b.dg.from(lo*ff), b.f.span(lo), dm, true, tile, b.at.gateLow)
	if l.up != nil {
		b.mapBack(w, l.up, n, normed, b.du.from(lo*ff), b.f.span(lo), dm, false, tile, b.at.upLow)
	}
	b.between(w, dm, lo, hi)
	att := lo * l.out.in
	b.mapBack(w, l.out, n, b.t.att.from(att), b.ds.from(lo*d), b.f.span(lo), b.datt[att:], true, tile, b.at.outLow)
}

// outputs makes the gradients of the feed-forward's output.
func (b *backward) outputs(w *worker, lo, hi int) {
	dy := b.rowsOf(w.feedBack.dy, b.dy, lo, hi)
	b.outputBack(w, lo/b.tile, b.dz.from(lo*b.l.s.Hidden), dy, b.t.mlpOut, lo, b.l.mlpPostNorm, b.at.mlpPostNorm, b.at.downBias)
	w.lap(lapNorms)
}

// gates goes back through the activation, dact being the gradient of its output, and makes
// the input of the feed-forward anew.
func (b *backward) gates(w *worker, dact []float32, low lowBack, lo, hi int) {
	l, d, ff := b.l, b.l.s.Hidden, b.l.s.FF
	b.gateBack(w, lo/b.tile, dact, lo, hi)
	w.lap(lapActivation)
	b.low(w, l.down, hi-lo, b.act.from(lo*ff), b.dz.from(lo*d), low, lo/b.tile, b.at.downLow)
	if l.s.Parallel {
		b.f.normOutputs(w, b.normed.from(lo*d), b.f.in, l.first(), lo, hi)
	} else {
		b.e.normRows(w, b.normed.from(lo*d), b.t.mid[lo*d:hi*d], d, l.second())
	}
	w.lap(lapNorms)
}

// between goes back from the feed-forward's input, whose gradient is dm, to the
// attention's output.
func (b *backward) between(w *worker, dm []float32, lo, hi int) {
	d, dy := b.l.s.Hidden, b.rowsOf(w.feedBack.dy, b.dy, lo, hi)
	b.middle(w, lo/b.tile, dm, dy, lo, hi)
	b.outputBack(w, lo/b.tile, b.ds.from(lo*d), b.dmid[lo*d:hi*d], b.t.attnOut, lo, b.l.attnPostNorm, b.at.attnPostNorm, b.at.outBias)
	w.lap(lapNorms)
}

// middle goes back from what the feed-forward takes, whose gradient is dm, to the
// residual stream before it; that of parallel blocks waits in dnormed.
func (b *backward) middle(w *worker, tile int, dm, dy []float32, lo, hi int) {
	l, k, d := b.l, b.e.k, b.l.s.Hidden
	if l.s.Parallel {
		copy(b.dmid[lo*d:hi*d], dy)
		return
	}
	dnorm, dbias, tmp := b.sums.part(tile, b.at.mlpNorm, d), b.sums.part(tile, b.at.mlpNormBias, d), w.row.floats(d)
	for i := range hi - lo {
		row := dm[i*d:][:d]
		k.normaliseBack(row, row, b.t.mid[(lo+i)*d:][:d], l.second(), dnorm, dbias, tmp)
		k.add(b.dmid[(lo+i)*d:][:d], dy[i*d:][:d], row)
	}
}

// outputBack goes back from what is added to the residual stream, whose gradient
// is dy [n, D], through a post-norm and a bias, and writes matrix input.
func (b *backward) outputBack(w *worker, tile int, dst operand, dy, before []float32, lo int, norm []float32, normAt, biasAt int) {
	d := b.l.s.Hidden
	dnorm, dbias := b.sums.part(tile, normAt, d), b.sums.part(tile, biasAt, d)
	row := w.row.floats(d)
	for i := 0; i*d < len(dy); i++ {
		dz := dy[i*d:][:d]
		if s := b.l.s.Residual(); s != 1 {
			copy(row, dz)
			b.e.k.scale(row, float32(s))
			dz = row
		}
		if norm != nil {
			b.e.k.rmsNormBack(row, dz, before[(lo+i)*d:][:d], norm, dnorm, b.l.s.NormEps)
			dz = row
		}
		if dbias != nil {
			b.e.k.add(dbias, dbias, dz)
		}
		b.e.pack(dst.from(i*d), dz)
	}
}

// gateBack goes back through the gated activation of wanted rows [lo, hi), whose
// output's gradient is dact.
func (b *backward) gateBack(w *worker, tile int, dact []float32, lo, hi int) {
	ff, k := b.l.s.FF, b.e.k
	dgate, dup := b.sums.part(tile, b.at.gateBias, ff), b.sums.part(tile, b.at.upBias, ff)
	rows := w.feedBack.gates.floats(5 * ff)
	out, dg, du, g, u := rows[:ff], rows[ff:2*ff], rows[2*ff:3*ff], rows[3*ff:4*ff], rows[4*ff:]
	for i := lo; i < hi; i++ {
		b.e.unpack(g, b.t.gate.from(i*ff))
		if b.l.up != nil {
			b.e.unpack(u, b.t.up.from(i*ff))
		} else {
			copy(u, b.l.ones)
		}
		d := dact[(i-lo)*ff:][:ff]
		switch b.l.s.Activation {
		case model.GELU:
			gateErfBack(out, dg, du, d, g, u)
		case model.GELUTanh:
			linear, cubic := geluCoefficients()
			k.gateBack(out, dg, du, d, g, u, linear, cubic)
		case model.ReLU, model.ReLU2:
			k.gateReLUBack(out, dg, du, d, g, u, b.l.s.Activation == model.ReLU2)
		default:
			k.gateBack(out, dg, du, d, g, u, 1, 0)
		}
		if dgate != nil {
			k.add(dgate, dgate, dg)
		}
		if dup != nil {
			k.add(dup, dup, du)
		}
		b.e.pack(b.act.from(i*ff), out)
		b.e.pack(b.dg.from(i*ff), dg)
		b.e.pack(b.du.from(i*ff), du)
	}
}

// low makes a tile's part of the gradients of a map's adapter.
func (b *backward) low(w *worker, x *matrix, n int, in, dy operand, low lowBack, tile int, place [2]int) {
	if x.adapter == nil {
		return
	}
	r := x.adapter.rank()
	b.f.adapterGrads(w, x, n, in, dy, low, b.sums.part(tile, place[0], r*x.in), b.sums.part(tile, place[1], r*x.out))
	w.lap(lapGradients)
}

// mapBack goes back through a map and its adapter: see linearBack and low.
func (b *backward) mapBack(w *worker, x *matrix, n int, in, dy operand, at span, dx []float32, first bool, tile int, place [2]int) {
	low := b.f.linearBack(w, x, n, dy, at, dx, first)
	w.lap(lapProducts)
	b.low(w, x, n, in, dy, low, tile, place)
}

// queries goes back to the input of the query projection for wanted rows
// [lo, hi), where only some are.
func (b *backward) queries(w *worker, lo, hi int) {
	l, d, n := b.l, b.l.s.Hidden, hi-lo
	b.headsBack(w, lo/b.tile, lo, hi, true)
	w.lap(lapRotary)
	b.f.normOutputs(w, b.xq.from(lo*d), b.f.in, l.first(), lo, hi)
	b.mapBack(w, l.query, n, b.xq.from(lo*d), b.pq.from(lo*l.query.out), b.f.span(lo), b.daq[lo*d:], true, lo/b.tile, b.at.queryLow)
}

// inputs goes back to the layer's input, rows [lo, hi).
func (b *backward) inputs(w *worker, lo, hi int) {
	l, d, n, at := b.l, b.l.s.Hidden, hi-lo, span{lo: lo}
	tile, x := lo/b.tile, b.x.from(lo*d)
	b.heads(w, lo, hi)
	var da []float32
	if b.wantsInputs() {
		da = w.feedBack.dinput.floats(n * d)
	}
	b.mapBack(w, l.key, n, x, b.pk.from(lo*l.key.out), at, da, true, tile, b.at.keyLow)
	b.mapBack(w, l.value, n, x, b.pv.from(lo*l.value.out), at, da, false, tile, b.at.valueLow)
	if b.f.rows == nil {
		b.mapBack(w, l.query, n, x, b.pq.from(lo*l.query.out), at, da, false, tile, b.at.queryLow)
	}
	if da != nil {
		b.residual(w, tile, da, lo, hi)
		w.lap(lapNorms)
	}
}

// wantsInputs says whether something below the projections wants a gradient.
func (b *backward) wantsInputs() bool {
	return b.dx != nil || b.at.attnNorm >= 0 || b.at.attnNormBias >= 0
}

// heads makes the gradients of what the projections gave, and their input anew.
func (b *backward) heads(w *worker, lo, hi int) {
	b.headsBack(w, lo/b.tile, lo, hi, false)
	if b.f.rows == nil {
		b.headsBack(w, lo/b.tile, lo, hi, true)
	}
	w.lap(lapRotary)
	d := b.l.s.Hidden
	b.e.normRows(w, b.x.from(lo*d), b.f.in[lo*d:hi*d], d, b.l.first())
	w.lap(lapNorms)
}

// residual goes back through the first norm, da being the gradient of its output
// of rows [lo, hi), and adds what came along the residual stream.
func (b *backward) residual(w *worker, tile int, da []float32, lo, hi int) {
	l, k, d := b.l, b.e.k, b.l.s.Hidden
	dnorm, dbias, tmp := b.sums.part(tile, b.at.attnNorm, d), b.sums.part(tile, b.at.attnNormBias, d), w.row.floats(d)
	next, _ := slices.BinarySearch(b.f.rows, lo)
	for i := lo; i < hi; i++ {
		row, wanted := da[(i-lo)*d:][:d], i
		if b.f.rows != nil {
			wanted = -1
			if next < len(b.f.rows) && b.f.rows[next] == i {
				wanted = next
				next++
				k.add(row, row, b.daq[wanted*d:][:d])
			}
		}
		if l.s.Parallel && wanted >= 0 {
			k.add(row, row, b.dnormed[wanted*d:][:d])
		}
		k.normaliseBack(row, row, b.f.in[i*d:][:d], l.first(), dnorm, dbias, tmp)
		if b.dx == nil {
			continue
		}
		if wanted >= 0 {
			k.add(row, row, b.dmid[wanted*d:][:d])
		}
		copy(b.dx[i*d:][:d], row)
	}
}

// headsBack undoes rotary embeddings and head norms of the gradients of queries
// of wanted rows [lo, hi), or of keys (and values' biases) of rows [lo, hi), and
// writes matrix inputs.
func (b *backward) headsBack(w *worker, tile, lo, hi int, queries bool) {
	l, t := b.l, b.t
	if queries {
		b.rotateBack(tile, lo, hi, b.dq, t.rawQ, l.queryNorm, b.at.queryNorm, b.at.queryBias, l.query.out, b.f.row, b.pq)
		return
	}
	same := func(i int) int { return i }
	b.rotateBack(tile, lo, hi, b.dk, t.rawK, l.keyNorm, b.at.keyNorm, b.at.keyBias, l.key.out, same, b.pk)
	width := l.value.out
	bias := b.sums.part(tile, b.at.valueBias, width)
	for i := lo; i < hi; i++ {
		row := b.dv[i*width:][:width]
		if bias != nil {
			b.e.k.add(bias, bias, row)
		}
		b.e.pack(b.pv.from(i*width), row)
	}
}

// rotateBack goes back from rotated heads d [.., width] to what the projection gave.
func (b *backward) rotateBack(tile, lo, hi int, d, raw, norm []float32, normAt, biasAt, width int, token func(int) int, dst operand) {
	size := b.l.s.HeadDim
	dnorm, dbias := b.sums.part(tile, normAt, len(norm)), b.sums.part(tile, biasAt, width)
	for i := lo; i < hi; i++ {
		row := d[i*width:][:width]
		table, position := b.f.table(token(i)), b.f.b.Positions[token(i)]
		for at := 0; at < width; at += size {
			head := row[at : at+size]
			if table != nil {
				b.e.k.rotaryBack(table, head, position)
			}
			if norm != nil && !b.l.s.WholeNorm {
				b.e.k.rmsNormBack(head, head, raw[i*width+at:][:size], norm, dnorm, b.l.s.NormEps)
			}
		}
		if norm != nil && b.l.s.WholeNorm {
			b.e.k.rmsNormBack(row, row, raw[i*width:][:width], norm, dnorm, b.l.s.NormEps)
		}
		if dbias != nil {
			b.e.k.add(dbias, dbias, row)
		}
		b.e.pack(dst.from(i*width), row)
	}
}
