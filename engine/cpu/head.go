package cpu

import (
	"context"
	"math"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// headBlock is how many vocabulary rows a worker projects to at a time. Blocks
// are always cut at the same places, so sums over the vocabulary have one order.
const headBlock = 512

// head projects to the vocabulary block by block, converting weights on the way
// where they cannot be used as they are mapped; [N, V] is never held.
type head struct {
	e        *Engine
	s        *model.Spec
	norm     []float32
	normBias []float32 // or nil
	raw      []byte
	dtype    safetensors.DType
	whole    operand // set when the weights are used where they lie
	// passed, where pages stream, lets bytes [lo, hi) of the projection go; release
	// does so with all of them.
	passed  func(lo, hi int64)
	release func()
	// perRow [V] multiplies the logits: 1 / the norm of a row of the head where
	// the family divides by it, else nil.
	perRow []float32

	normGrad   []float32  // nil where the norm does not train
	biasGrad   []float32  // nil where its bias does not
	projection *trainable // nil where the projection does not
	version    int        // of the projection that perRow belongs to
}

// Head implements engine.Engine.
func (e *Engine) Head(m *model.Model, o engine.HeadOptions) (engine.Head, error) {
	made := block.HeadOf(m.Spec)
	projection := made.Projection
	h := &head{e: e, s: m.Spec}
	var err error
	if h.norm, h.normGrad, err = e.vector(m, made.Norm, o.Trained); err != nil {
		return nil, err
	}
	if h.normBias, h.biasGrad, err = e.vector(m, made.NormBias, o.Trained); err != nil {
		return nil, err
	}
	err = h.loadProjection(m, projection, o.Trained)
	if err != nil || h.projection != nil {
		return h, err
	}
	h.release = func() { m.Source.Release(projection.Name) }
	if o.Streams {
		h.passed = func(lo, hi int64) { m.Source.ReleasePart(projection.Name, lo, hi) }
	}
	if made.UnitRows {
		h.perRow, err = h.inverseNorms()
	}
	return h, err
}

// loadProjection finds the projection's values: where they train, or in the source.
func (h *head) loadProjection(m *model.Model, w model.Weight, trained *engine.Trained) (err error) {
	if h.projection, _, err = trainedParts(trained, w); err != nil {
		return err
	}
	if h.projection != nil {
		h.whole = h.projection.weight
		h.version = -1
		return nil
	}
	if h.raw, h.dtype, err = m.Stored(w); err == nil {
		h.whole, _ = h.e.view(h.raw, h.dtype)
	}
	return err
}

// refresh computes perRow anew where the projection has changed.
func (h *head) refresh() (err error) {
	if h.projection != nil && h.s.HeadUnitRows && h.version != h.projection.version {
		h.version = h.projection.version
		h.perRow, err = h.inverseNorms()
	}
	return err
}

func (h *head) Release() {
	if h.raw != nil {
		h.raw, h.whole = nil, operand{}
		h.release()
	}
}

// inverseNorms returns 1 / max(|w|, 1e-12) of every row w of the head, as torch's
// normalize divides.
func (h *head) inverseNorms() ([]float32, error) {
	d := h.s.Hidden
	out := make([]float32, h.s.Vocab)
	err := h.e.pool.split(h.s.Vocab, headBlock, 1, func(w *worker, lo, hi int) {
		row := w.row.floats(d)
		for i := lo; i < hi; i++ {
			if h.projection != nil {
				h.e.unpack(row, h.whole.from(i*d))
			} else {
				h.e.widen(row, h.raw[i*d*h.dtype.Size():], h.dtype)
			}
			out[i] = float32(1 / max(math.Sqrt(h.e.k.sumSquares(row)), 1e-12))
		}
		h.leave(lo, hi-lo)
	})
	return out, err
}

// Norm implements engine.Head.
func (h *head) Norm(ctx context.Context, x, y engine.Hidden) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	d := h.s.Hidden
	in := floats(x, x.Rows(), d)
	out := floats(y, x.Rows(), d)
	return h.e.pool.split(x.Rows(), rowTile, 1, func(_ *worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			h.e.k.normalise(out[i*d:][:d], in[i*d:][:d], h.last())
		}
	})
}

// block returns vocabulary rows [lo, hi) as products take them.
func (h *head) block(w *worker, lo, hi int) operand {
	d := h.s.Hidden
	if h.whole.f32 != nil || h.whole.bf16 != nil {
		return h.whole.from(lo * d)
	}
	block := h.e.input(w.head.weights, headBlock*d)
	h.e.convert(w, block, h.raw[lo*d*h.dtype.Size():], h.dtype, (hi-lo)*d)
	return block
}

// leave lets the pages of width rows of the projection from column on go, where
// they stream.
func (h *head) leave(column, width int) {
	if h.passed != nil {
		row := int64(h.s.Hidden * h.dtype.Size())
		h.passed(int64(column)*row, int64(column+width)*row)
	}
}

// finish turns products [rows, width] from a column on into logits.
func (h *head) finish(logits []float32, column, width int) {
	if h.perRow != nil {
		for i := 0; i < len(logits); i += width {
			h.e.k.norm(logits[i:i+width], logits[i:i+width], h.perRow[column:], 1)
		}
	}
	h.e.k.scaleBy(logits, h.s.Logit())
	if h.s.LogitSoftCap != 0 {
		h.e.k.softCap(logits, float32(h.s.LogitSoftCap))
	}
}

// partial is what one row's softmax over one block of the vocabulary comes to.
type partial struct {
	top float32 // largest logit
	arg int32   // its token, the lowest of equals
	sum float64 // of exp(logit - top)
}

// Logits implements engine.Head.
func (h *head) Logits(ctx context.Context, x engine.Hidden, rows []int, out []float32) error {
	if err := ctx.Err(); err != nil || len(rows) == 0 {
		return context.Cause(ctx)
	}
	s := h.e.scorings.take()
	defer h.e.scorings.put(s)
	s.rows, s.logits = append(s.rows[:0], rows...), out
	err := s.run(h, x)
	s.logits = nil
	return err
}

// LogProbs implements engine.Head.
func (h *head) LogProbs(ctx context.Context, x engine.Hidden, targets []engine.Target, out []engine.TokenScore) error {
	if err := ctx.Err(); err != nil || len(targets) == 0 {
		return context.Cause(ctx)
	}
	s := h.e.scorings.take()
	defer h.e.scorings.put(s)
	s.sortTargets(targets, x.Rows(), blocksOf(h.s.Vocab))
	s.targets = targets
	err := s.run(h, x)
	s.targets = nil
	if err != nil {
		return err
	}
	for i := range s.rows {
		s.norms[i], s.greedy[i] = combine(s.partials[i:], len(s.rows))
	}
	for t, target := range targets {
		i := s.of[t]
		out[t] = engine.TokenScore{LogProb: float64(s.named[t]) - s.norms[i], Greedy: s.greedy[i] == target.Token}
	}
	return nil
}

func blocksOf(vocab int) int { return (vocab + headBlock - 1) / headBlock }

// scoring is one call of LogProbs or Logits, reused by later ones.
type scoring struct {
	e    *Engine
	h    *head
	in   []float32
	rows []int   // of the hidden states, each once
	x    operand // [rows, D] their norms

	strips strips // or nil: take the norms laid out, in x's memory
	laid   layout

	logits []float32 // [rows, V], wanted by Logits; else nil

	targets  []engine.Target
	of       []int     // [targets] place in rows
	byBlock  []int     // [targets] sorted by the block of the vocabulary their token lies in
	starts   []int     // [blocks+1] where each block's begin
	place    []int     // [N] 1 + place in rows
	named    []float32 // [targets] logit of each
	partials []partial // [block, row]
	norms    []float64 // [rows] log sum exp
	greedy   []int32   // [rows] argmax

	job job
}

func (e *Engine) newScoring() *scoring {
	s := &scoring{e: e}
	s.job.phases = make([]phase, 2)
	s.job.phases[0].run, s.job.phases[1].run = s.gather, s.blocks
	return s
}

// sortTargets lists the rows that targets name, for each target the place of
// its row in that list, and the targets block by block.
func (s *scoring) sortTargets(targets []engine.Target, rows, blocks int) {
	n := len(targets)
	s.place, s.starts = resize(s.place, rows), resize(s.starts, blocks+1)
	s.of, s.byBlock, s.named = resize(s.of, n), resize(s.byBlock, n), resize(s.named, n)
	clear(s.place)
	clear(s.starts)
	s.rows = s.rows[:0]
	for t, target := range targets {
		if s.place[target.Row] == 0 {
			s.rows = append(s.rows, target.Row)
			s.place[target.Row] = len(s.rows)
		}
		s.of[t] = s.place[target.Row] - 1
		s.starts[target.Token/headBlock]++
	}
	at := 0
	for b, count := range s.starts {
		s.starts[b] = at
		at += count
	}
	for t, target := range targets {
		b := target.Token / headBlock
		s.byBlock[s.starts[b]] = t
		s.starts[b]++
	}
	copy(s.starts[1:], s.starts) // each now stands where the next begins
	s.starts[0] = 0
	s.partials = resize(s.partials, blocks*len(s.rows))
	s.norms, s.greedy = resize(s.norms, len(s.rows)), resize(s.greedy, len(s.rows))
}

func resize[T any](xs []T, n int) []T {
	if cap(xs) < n {
		return make([]T, n)
	}
	return xs[:n]
}

func (s *scoring) run(h *head, x engine.Hidden) error {
	if err := h.refresh(); err != nil {
		return err
	}
	s.h, s.in = h, floats(x, x.Rows(), h.s.Hidden)
	s.prepareRows()
	s.job.phases[1].n, s.job.phases[1].step = blocksOf(h.s.Vocab), 1
	if s.job.workers = 0; len(s.rows) <= fewRows {
		s.job.workers = s.e.crew.workers()
	}
	err := s.e.pool.run(&s.job)
	s.h, s.in = nil, nil
	return err
}

// prepareRows makes room for the norms.
func (s *scoring) prepareRows() {
	n, d, ph := len(s.rows), s.h.s.Hidden, &s.job.phases[0]
	if s.strips = nil; n > s.e.several() {
		s.strips, _ = s.e.mul.(strips)
	}
	if s.strips == nil {
		s.x = s.x.grow(s.e.room(n)*d, s.e.half)
		s.e.pool.evenly(ph, n, rowTile, 1)
		return
	}
	s.x = s.x.grow(layoutSize(n, d), true)
	s.laid, ph.n, ph.step = newLayout(n, d, s.x.bf16), n, tileEdge
}

// gather normalises rows [lo, hi) as matrix input.
func (s *scoring) gather(w *worker, lo, hi int) {
	if s.strips == nil {
		s.h.gather(w, s.x, s.in, s.rows, lo, hi)
		w.lap(lapNorms)
		return
	}
	d := s.h.s.Hidden
	x := s.e.input(w.head.logits, (hi-lo)*d)
	s.h.gather(w, x, s.in, s.rows[lo:hi], 0, hi-lo)
	w.lap(lapNorms)
	s.strips.lay(w, s.laid, lo, 0, hi-lo, d, x)
	w.lap(lapProducts)
}

// gather writes the norm of rows[lo:hi] of in as rows of a matrix input.
func (h *head) gather(w *worker, dst operand, in []float32, rows []int, lo, hi int) {
	d := h.s.Hidden
	for i := lo; i < hi; i++ {
		h.e.normRows(w, dst.from(i*d), in[rows[i]*d:][:d], d, h.last())
	}
}

// blocks computes the logits of blocks [from, to) of the vocabulary, a tile of
// rows at a time, and what is wanted of them.
func (s *scoring) blocks(w *worker, from, to int) {
	h, d, n := s.h, s.h.s.Hidden, len(s.rows)
	tile := roundUp(rowTile, s.e.quantum())
	for block := from; block < to; block++ {
		column := block * headBlock
		p := shape{n: min(headBlock, h.s.Vocab-column), k: d}
		weights := h.block(w, column, column+p.n)
		for lo := 0; lo < n; lo += tile {
			hi := min(lo+tile, n)
			logits := w.head.logits.floats(s.e.room(hi-lo) * p.n)
			switch {
			case s.strips != nil:
				s.strips.strip(w, s.laid.block(lo, hi-lo), p.n, 0, p.n, weights, logits, p.n)
			case n <= s.e.several():
				s.e.mul.narrow(w, p, n, 0, p.n, s.x, weights, logits)
			default:
				s.e.mul.filled(w, p, hi-lo, s.e.room(hi-lo), s.x.from(lo*d), weights, logits)
			}
			w.lap(lapProducts)
			h.finish(logits[:(hi-lo)*p.n], column, p.n)
			s.keep(block, lo, hi, column, p.n, logits)
			w.lap(lapHead)
		}
		h.leave(column, p.n)
	}
}

// keep takes what is wanted of the logits [hi-lo, width] of rows [lo, hi) for a
// block; the logits are overwritten.
func (s *scoring) keep(block, lo, hi, column, width int, logits []float32) {
	if s.logits != nil {
		for i := lo; i < hi; i++ {
			copy(s.logits[i*s.h.s.Vocab+column:][:width], logits[(i-lo)*width:])
		}
		return
	}
	for _, t := range s.byBlock[s.starts[block]:s.starts[block+1]] {
		if i := s.of[t]; i >= lo && i < hi {
			s.named[t] = logits[(i-lo)*width+int(s.targets[t].Token)-column]
		}
	}
	for i := lo; i < hi; i++ {
		s.partials[block*len(s.rows)+i] = s.h.reduce(logits[(i-lo)*width:][:width], column)
	}
}

// reduce overwrites the logits.
func (h *head) reduce(logits []float32, first int) partial {
	top, at := h.e.k.argmax(logits)
	return partial{top: top, arg: int32(first + at), sum: h.e.k.expSum(logits, logits, top)}
}

// combine merges a row's partials, stride apart, into log sum exp and argmax.
func combine(ps []partial, stride int) (logSumExp float64, arg int32) {
	top, arg := ps[0].top, ps[0].arg
	for i := 0; i < len(ps); i += stride {
		if ps[i].top > top {
			top, arg = ps[i].top, ps[i].arg
		}
	}
	var sum float64
	for i := 0; i < len(ps); i += stride {
		sum += ps[i].sum * math.Exp(float64(ps[i].top)-float64(top))
	}
	return float64(top) + math.Log(sum), arg
}
