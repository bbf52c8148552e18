package cpu

import (
	"context"
	"math"

	"github.com/coppice-ml/coppice/engine"
)

var _ engine.TrainHead = (*head)(nil)

// headGrad is one call of Loss or Distil. It goes through the rows in chunks of
// reduceRows, of which the logits are held, block by block of the vocabulary, each
// block [rows, width] dense; gradients take their place.
type headGrad struct {
	e       *Engine
	h       *head
	in, dx  []float32
	targets scoring // which rows, and which targets in which block
	weights []float32
	distil  *distillation // or nil

	lo, n   int         // the chunk's rows in targets.rows
	x       operand     // [n, D] their norms
	logits  [][]float32 // by block [n, width]: logits, then their gradients
	half    [][]uint16  // the gradients as matrix inputs, where those are bfloat16
	room    []float32
	room16  []uint16
	dn      []float32 // [n, D] the norms' gradients
	sums    []float32 // [n] of the weights of each row's targets
	roots   []float32 // [n] by which the norm multiplies a row
	means   []float32 // [n] which it takes off before, 0 where it does not
	losses  []float64 // [n]
	columns bool      // workers share columns of dn, not rows
	empty   bool      // the projection's gradient is, and the chunk's is the first to be written

	job job
}

func (e *Engine) newHeadGrad() *headGrad {
	g := &headGrad{e: e}
	g.job.phases = make([]phase, 7)
	for i, run := range []func(*worker, int, int){g.gather, g.project, g.combine, g.gradients, g.inputs, g.normWeights, g.residual} {
		g.job.phases[i].run = run
	}
	return g
}

// Loss implements engine.TrainHead.
func (h *head) Loss(ctx context.Context, x engine.Hidden, targets []engine.Target, weights []float32, dx engine.Hidden) (float64, error) {
	if err := ctx.Err(); err != nil {
		return 0, context.Cause(ctx)
	}
	g := h.e.headGrads.take()
	defer h.e.headGrads.put(g)
	g.weights, g.targets.targets = weights, targets
	g.targets.sortTargets(targets, x.Rows(), blocksOf(h.s.Vocab))
	return g.run(h, x, dx)
}

// run goes through the chunks and empties the rows of dx that have no target.
func (g *headGrad) run(h *head, x, dx engine.Hidden) (loss float64, err error) {
	if err := h.refresh(); err != nil {
		return 0, err
	}
	d := h.s.Hidden
	g.h, g.in, g.dx = h, floats(x, x.Rows(), d), nil
	if dx != nil {
		g.dx = floats(dx, x.Rows(), d)
	}
	if t := h.projection; t != nil && len(g.targets.rows) > 0 {
		if h.perRow != nil {
			t.fill() // see projectionGrad
		}
		g.empty, t.empty = t.empty, false
	}
	for g.lo = 0; g.lo < len(g.targets.rows) && err == nil; g.lo += g.n {
		g.n = min(reduceRows, len(g.targets.rows)-g.lo)
		g.prepare()
		err = g.e.pool.run(&g.job)
		g.empty = false
		for _, l := range g.losses {
			loss += l
		}
	}
	for row, place := range g.targets.place {
		if place == 0 && g.dx != nil {
			clear(g.dx[row*d:][:d])
		}
	}
	g.h, g.in, g.dx, g.weights, g.targets.targets, g.distil = nil, nil, nil, nil, nil, nil
	return loss, err
}

func (g *headGrad) prepare() {
	h, d := g.h, g.h.s.Hidden
	g.x = g.x.grow(g.n*d, g.e.half)
	g.room = grow(g.room, g.n*h.s.Vocab)
	g.logits, g.half = g.logits[:0], g.half[:0]
	if g.e.half {
		g.room16 = grow(g.room16, g.n*h.s.Vocab)
	}
	for at := 0; at < h.s.Vocab; at += headBlock {
		end := min(at+headBlock, h.s.Vocab)
		g.logits = append(g.logits, g.room[g.n*at:g.n*end])
		if g.e.half {
			g.half = append(g.half, g.room16[g.n*at:g.n*end])
		}
	}
	g.dn = grow(g.dn, g.n*d)
	g.sums, g.roots, g.losses = grow(g.sums, g.n), grow(g.roots, g.n), resize(g.losses, g.n)
	g.means = grow(g.means, g.n)
	if g.distil != nil {
		g.distil.prepare(g)
	}
	blocks, backs := len(g.logits), g.n
	if g.dx == nil && h.normGrad == nil && h.biasGrad == nil {
		backs = 0
	}
	ph, q := g.job.phases, g.e.quantum()
	g.e.pool.evenly(&ph[0], g.n, rowTile, 1)
	ph[1].n, ph[1].step = blocks, 1
	g.e.pool.evenly(&ph[2], g.n, rowTile, 1)
	ph[3].n, ph[3].step = blocks, 1
	g.e.pool.evenly(&ph[4], backs, rowTile, q)
	if g.columns = backs > 0 && g.e.adder() != nil && h.whole.bf16 != nil; g.columns {
		g.e.pool.evenly(&ph[4], d, rowTile, q)
	}
	ph[5].n, ph[5].step = 0, normColumns
	if h.normGrad != nil || h.biasGrad != nil {
		ph[5].n = d
	}
	g.e.pool.evenly(&ph[6], backs, rowTile, 1)
	if g.dx == nil {
		ph[6].n = 0
	}
}

func (g *headGrad) rows() []int { return g.targets.rows[g.lo : g.lo+g.n] }

// gather normalises rows [lo, hi) of the chunk.
func (g *headGrad) gather(w *worker, lo, hi int) {
	g.h.gather(w, g.x, g.in, g.rows(), lo, hi)
	if g.distil != nil {
		g.distil.gather(w, g, lo, hi)
	}
	w.lap(lapNorms)
}

// project computes the logits of blocks [from, to) of the vocabulary.
func (g *headGrad) project(w *worker, from, to int) {
	h, s := g.h, &g.targets
	for b := from; b < to; b++ {
		column := b * headBlock
		width := len(g.logits[b]) / g.n
		g.blockLogits(w, h, g.x, b, g.logits[b])
		if g.distil != nil {
			g.distil.project(w, g, b)
		}
		for _, t := range s.byBlock[s.starts[b]:s.starts[b+1]] {
			if i := s.of[t] - g.lo; i >= 0 && i < g.n && g.distil == nil {
				s.named[t] = g.logits[b][i*width+int(s.targets[t].Token)-column]
			}
		}
		exps := w.headBack.row.floats(width)
		for i := range g.n {
			row := g.logits[b][i*width:][:width]
			top, _ := h.e.k.argmax(row)
			s.partials[b*len(s.rows)+g.lo+i] = partial{top: top, sum: h.e.k.expSum(exps, row, top)}
		}
		w.lap(lapHead)
	}
}

// blockLogits sets dst [n, width] to a block of a head's logits of x.
func (g *headGrad) blockLogits(w *worker, h *head, x operand, b int, dst []float32) {
	column, width := b*headBlock, len(dst)/g.n
	weights := h.block(w, column, column+width)
	for tile, lo := roundUp(rowTile, g.e.quantum()), 0; lo < g.n; lo += tile {
		hi := min(lo+tile, g.n)
		g.e.mul.product(w, shape{n: width, k: h.s.Hidden}, hi-lo, x.from(lo*h.s.Hidden), weights, dst[lo*width:])
	}
	w.lap(lapProducts)
	h.finish(dst[:g.n*width], column, width)
	h.leave(column, width)
	if g.distil != nil {
		g.e.k.scale(dst[:g.n*width], g.distil.cool)
	}
}

// combine merges what blocks come to for rows [lo, hi), and adds up losses.
func (g *headGrad) combine(w *worker, lo, hi int) {
	s, d := &g.targets, g.h.s.Hidden
	for i := lo; i < hi; i++ {
		s.norms[g.lo+i], _ = combine(s.partials[g.lo+i:], len(s.rows))
		g.sums[i], g.losses[i] = 0, 0
		x := g.in[g.rows()[i]*d:][:d]
		if g.means[i] = 0; g.h.s.LayerNorm {
			tmp := w.row.floats(d)
			g.means[i] = g.e.k.mean(x)
			g.e.k.minus(tmp, x, g.means[i])
			x = tmp
		}
		g.roots[i] = float32(1 / math.Sqrt(g.e.k.sumSquares(x)/float64(d)+g.h.s.NormEps))
		if g.distil != nil {
			g.distil.combine(g, i)
		}
	}
	if g.distil == nil {
		for t, weight := range g.weights {
			if i := s.of[t] - g.lo; i >= lo && i < hi {
				g.sums[i] += weight
				g.losses[i] += float64(weight) * (s.norms[s.of[t]] - float64(s.named[t]))
			}
		}
	}
	w.lap(lapHead)
}

// gradients makes of the logits of blocks [from, to) their gradients, and of
// those the gradient of the projection's rows, where it trains.
func (g *headGrad) gradients(w *worker, from, to int) {
	for b := from; b < to; b++ {
		width := len(g.logits[b]) / g.n
		scratch := w.headBack.row.floats(2 * width)
		for i := range g.n {
			g.rowGradient(b, i, scratch[:width], scratch[width:])
		}
		g.subtractTargets(b, width)
		for i := range g.n {
			row := g.logits[b][i*width:][:width]
			if g.h.perRow != nil {
				g.e.k.norm(row, row, g.h.perRow[b*headBlock:], 1)
			}
			g.e.k.scaleBy(row, g.h.s.Logit())
			if g.e.half {
				g.e.k.pack(g.half[b][i*width:], row)
			} else if g.e.round {
				g.e.pack(operand{f32: row}, row)
			}
		}
		w.lap(lapHead)
		if g.h.projection != nil {
			g.projectionGrad(w, b, width)
			w.lap(lapGradients)
		}
	}
}

// rowGradient overwrites a row of logits y of a block with sums · p · c'(y), c
// being the soft cap; of a distillation p is less the teacher's.
func (g *headGrad) rowGradient(b, i int, p, teacher []float32) {
	k, row := g.e.k, g.logits[b][i*len(p):][:len(p)]
	k.expSum(p, row, float32(g.targets.norms[g.lo+i]))
	limit := float32(g.h.s.LogitSoftCap)
	if g.distil != nil {
		g.distil.subtract(g, b, i, p, teacher)
		limit *= g.distil.cool
	}
	k.scale(p, g.sums[i])
	if limit != 0 {
		k.softCapBack(p, row, limit)
	}
	copy(row, p)
}

// subtractTargets takes the targets' weights from the gradients of their logits.
func (g *headGrad) subtractTargets(b, width int) {
	s, limit := &g.targets, float32(g.h.s.LogitSoftCap)
	if g.distil != nil {
		return
	}
	for _, t := range s.byBlock[s.starts[b]:s.starts[b+1]] {
		i := s.of[t] - g.lo
		if i < 0 || i >= g.n {
			continue
		}
		d := []float32{g.weights[t]}
		if limit != 0 {
			softCapBack(d, s.named[t:t+1], limit)
		}
		g.logits[b][i*width+int(s.targets[t].Token)-b*headBlock] -= d[0]
	}
}

// block is a block of the logits' gradients as matrix input.
func (g *headGrad) block(b int) operand {
	if g.e.half {
		return operand{bf16: g.half[b]}
	}
	return operand{f32: g.logits[b]}
}

// projectionGrad adds to the gradients of a block of the projection's rows. Of a
// row w that is used divided by its norm, u = w / |w|, what the division lets
// through is dw - u (u dw): the products hold the 1 / |w| already.
func (g *headGrad) projectionGrad(w *worker, b, width int) {
	d := g.h.s.Hidden
	block, add := reduceBlock, g.e.adder()
	if g.h.perRow != nil {
		add = nil
	}
	if add != nil {
		block = addBlock
	}
	for lo := 0; lo < width; lo += block {
		m, first := min(block, width-lo), (b*headBlock+lo)*d
		s, dy, grad := shape{n: d, k: g.n, stride: width}, g.block(b).from(lo), g.h.projection.grad[first:][:m*d]
		if add != nil {
			how := writeAdd
			if g.empty {
				how = writePast
			}
			add.reduceInto(w, s, m, dy, g.x, how, grad)
			continue
		}
		part := w.headBack.part.floats(m * d)
		g.e.mul.reduce(w, s, m, dy, g.x, part)
		if g.h.perRow != nil {
			row := w.row.floats(d)
			for i := range m {
				unit, dw := g.h.perRow[b*headBlock+lo+i], part[i*d:][:d]
				g.e.unpack(row, g.h.whole.from(first+i*d))
				g.e.k.scale(row, unit)
				g.e.k.scale(row, -float32(g.e.k.dot(row, dw)))
				g.e.k.add(dw, dw, row)
			}
		}
		g.e.k.add(grad, grad, part)
	}
}

// inputs computes the gradients of the norms of rows [lo, hi) of the chunk.
func (g *headGrad) inputs(w *worker, lo, hi int) {
	d, n := g.h.s.Hidden, hi-lo
	if g.columns {
		g.inputColumns(w, lo, hi)
		return
	}
	into := g.dn[lo*d:]
	for b := range g.logits {
		column, width := b*headBlock, len(g.logits[b])/g.n
		g.e.mul.product(w, shape{n: d, k: width, plain: true}, n, g.block(b).from(lo*width), g.h.block(w, column, column+width), into)
		if b > 0 {
			g.e.k.add(g.dn[lo*d:hi*d], g.dn[lo*d:hi*d], into[:n*d])
		}
		into = w.headBack.part.floats(n * d)
	}
	w.lap(lapProducts)
}

// inputColumns computes columns [lo, hi) of those gradients: what is laid out of the
// weights serves all rows, and what sums are added to stays in the second cache.
func (g *headGrad) inputColumns(w *worker, lo, hi int) {
	how := writeOver
	for b := range g.logits {
		column, width := b*headBlock, len(g.logits[b])/g.n
		s := shape{n: g.h.s.Hidden, k: width, plain: true}
		g.e.adder().productInto(w, s, g.n, lo, hi, g.block(b), g.h.block(w, column, column+width), how, g.dn)
		how = writeAdd
	}
	w.lap(lapProducts)
}

// normColumns is how many of the norm's gradients a worker takes at a time.
const normColumns = 128

// normWeights adds to the gradients [lo, hi) of the norm's weights.
func (g *headGrad) normWeights(w *worker, lo, hi int) {
	d, n := g.h.s.Hidden, hi-lo
	all := w.headBack.row.floats(3 * n)
	sum, bias, x := all[:n], all[n:2*n], all[2*n:]
	clear(all)
	for i, row := range g.rows() {
		g.e.k.minus(x, g.in[row*d+lo:row*d+hi], g.means[i])
		g.e.k.addProduct(sum, g.dn[i*d+lo:i*d+hi], x, g.roots[i])
		if g.h.biasGrad != nil {
			g.e.k.add(bias, bias, g.dn[i*d+lo:i*d+hi])
		}
	}
	if g.h.normGrad != nil {
		g.e.k.add(g.h.normGrad[lo:hi], g.h.normGrad[lo:hi], sum)
	}
	if g.h.biasGrad != nil {
		g.e.k.add(g.h.biasGrad[lo:hi], g.h.biasGrad[lo:hi], bias)
	}
	w.lap(lapGradients)
}

// residual goes back through the norm of rows [lo, hi) of the chunk.
func (g *headGrad) residual(w *worker, lo, hi int) {
	d := g.h.s.Hidden
	tmp := w.row.floats(d)
	for i, row := range g.rows()[lo:hi] {
		g.e.k.normaliseBack(g.dx[row*d:][:d], g.dn[(lo+i)*d:][:d], g.in[row*d:][:d], g.h.last(), nil, nil, tmp)
	}
	w.lap(lapNorms)
}
