package cpu

import (
	"context"
	"math"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// headBlock is how many vocabulary rows a worker projects to at a time. Blocks
// are always cut at the same places, so sums over the vocabulary have one order.
const headBlock = 512

// head projects to the vocabulary block by block, converting weights on the way
// where they cannot be used as they are mapped; [N, V] is never held.
type head struct {
	e     *Engine
	s     *model.Spec
	norm  []float32
	raw   []byte
	dtype safetensors.DType
	whole operand // set when the weights are used where they lie
	// passed, where pages stream, lets bytes [lo, hi) of the projection go.
	passed func(lo, hi int64)
	// perRow [V] multiplies the logits: 1 / the norm of a row of the head where
	// the family divides by it, else nil.
	perRow []float32
}

// Scratch slots of a worker in the head.
const (
	slotHeadWeights = slotConvert + 2 // slotConvert and slotRow are used beside them
	slotHeadLogits  = slotHeadWeights + 1
)

// Head implements engine.Engine.
func (e *Engine) Head(m *model.Model, stream bool) (engine.Head, error) {
	role := model.LMHead
	if m.Spec.Tied {
		role = model.Embedding
	}
	projection := topWeight(m.Spec, role)
	norm, err := e.vector(m, topWeight(m.Spec, model.FinalNorm))
	if err != nil {
		return nil, err
	}
	raw, d, err := load(m, projection)
	if err != nil {
		return nil, err
	}
	h := &head{e: e, s: m.Spec, norm: norm, raw: raw, dtype: d}
	h.whole, _ = e.view(raw, d)
	if stream {
		h.passed = func(lo, hi int64) { m.Source.ReleasePart(projection.Name, lo, hi) }
	}
	if m.Spec.HeadUnitRows {
		h.perRow = h.inverseNorms()
	}
	return h, nil
}

func (h *head) Release() { h.raw, h.whole = nil, operand{} }

// inverseNorms returns 1 / max(|w|, 1e-12) of every row w of the head, as torch's
// normalize divides.
func (h *head) inverseNorms() []float32 {
	d := h.s.Hidden
	out := make([]float32, h.s.Vocab)
	h.e.pool.split(h.s.Vocab, headBlock, 1, func(w *worker, lo, hi int) {
		row := w.floats(slotRow, d)
		for i := lo; i < hi; i++ {
			h.e.widen(row, h.raw[i*d*h.dtype.Size():], h.dtype)
			out[i] = float32(1 / max(math.Sqrt(h.e.k.sumSquares(row)), 1e-12))
		}
	})
	return out
}

// Norm implements engine.Head.
func (h *head) Norm(ctx context.Context, x, y engine.Hidden) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	d := h.s.Hidden
	in := floats(x, x.Rows(), d)
	out := floats(y, x.Rows(), d)
	h.e.pool.split(x.Rows(), rowTile, 1, func(_ *worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			h.e.k.rmsNorm(out[i*d:][:d], in[i*d:][:d], h.norm, h.s.NormEps)
		}
	})
	return nil
}

// block returns vocabulary rows [lo, hi) as products take them.
func (h *head) block(w *worker, lo, hi int) operand {
	d := h.s.Hidden
	if h.whole.f32 != nil || h.whole.bf16 != nil {
		return h.whole.from(lo * d)
	}
	block := h.e.input(w, slotHeadWeights, headBlock*d)
	h.e.convert(w, block, h.raw[lo*d*h.dtype.Size():], h.dtype, (hi-lo)*d)
	return block
}

// gather normalises the given rows of x and returns them as matrix input.
func (h *head) gather(x engine.Hidden, rows []int) operand {
	d := h.s.Hidden
	in := floats(x, x.Rows(), d)
	dst := h.e.newOperand(h.e.padded(len(rows)) * d)
	h.e.pool.split(len(rows), rowTile, 1, func(w *worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			h.e.normRows(w, dst.from(i*d), in[rows[i]*d:][:d], h.norm, h.s.NormEps)
		}
	})
	return dst
}

// blocks runs f over every block of the vocabulary with the logits of all rows
// for that block, [hi-lo rows, width] a tile of rows at a time.
func (h *head) blocks(rows int, x operand, f func(block, lo, hi, column, width int, logits []float32)) {
	d, v := h.s.Hidden, h.s.Vocab
	h.e.pool.each((v+headBlock-1)/headBlock, func(w *worker, block int) {
		column := block * headBlock
		width := min(headBlock, v-column)
		weights := h.block(w, column, column+width)
		for lo := 0; lo < rows; lo += rowTile {
			hi := min(lo+rowTile, rows)
			logits := w.floats(slotHeadLogits, h.e.padded(hi-lo)*width)
			h.e.mul.product(w.id, shape{n: width, k: d}, hi-lo, x.from(lo*d), weights, logits)
			h.finish(logits[:(hi-lo)*width], column, width)
			f(block, lo, hi, column, width, logits)
		}
		h.leave(column, width)
	})
}

// leave lets the pages of a block go, where they stream.
func (h *head) leave(column, width int) {
	if h.passed != nil {
		row := int64(h.s.Hidden * h.dtype.Size())
		h.passed(int64(column)*row, int64(column+width)*row)
	}
}

// Logits implements engine.Head.
func (h *head) Logits(ctx context.Context, x engine.Hidden, rows []int, out []float32) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	v := h.s.Vocab
	h.blocks(len(rows), h.gather(x, rows), func(_, lo, hi, column, width int, logits []float32) {
		for i := lo; i < hi; i++ {
			copy(out[i*v+column:][:width], logits[(i-lo)*width:])
		}
	})
	return nil
}

// finish turns products [rows, width] from a column on into logits.
func (h *head) finish(logits []float32, column, width int) {
	if h.perRow != nil {
		for i := 0; i < len(logits); i += width {
			h.e.k.norm(logits[i:i+width], logits[i:i+width], h.perRow[column:], 1)
		}
	}
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

// LogProbs implements engine.Head.
func (h *head) LogProbs(ctx context.Context, x engine.Hidden, targets []engine.Target, out []engine.TokenScore) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	rows, of := distinctRows(targets)
	if len(rows) == 0 {
		return nil
	}
	nblocks := (h.s.Vocab + headBlock - 1) / headBlock
	partials := make([]partial, nblocks*len(rows)) // [block, row]
	named := make([]float32, len(targets))         // logit of each target
	byBlock := groupTargets(targets, of, nblocks)
	h.blocks(len(rows), h.gather(x, rows), func(block, lo, hi, column, width int, logits []float32) {
		for _, t := range byBlock[block] {
			if i := of[t]; i >= lo && i < hi {
				named[t] = logits[(i-lo)*width+int(targets[t].Token)-column]
			}
		}
		for i := lo; i < hi; i++ {
			partials[block*len(rows)+i] = h.reduce(logits[(i-lo)*width:][:width], column)
		}
	})
	norms := make([]float64, len(rows))
	greedy := make([]int32, len(rows))
	for i := range rows {
		norms[i], greedy[i] = combine(partials[i:], len(rows))
	}
	for t, target := range targets {
		out[t] = engine.TokenScore{LogProb: float64(named[t]) - norms[of[t]], Greedy: greedy[of[t]] == target.Token}
	}
	return nil
}

// distinctRows lists the rows that targets name, and for each target the place
// of its row in that list.
func distinctRows(targets []engine.Target) (rows, of []int) {
	place := make(map[int]int, len(targets))
	of = make([]int, len(targets))
	for t, target := range targets {
		i, ok := place[target.Row]
		if !ok {
			i = len(rows)
			place[target.Row] = i
			rows = append(rows, target.Row)
		}
		of[t] = i
	}
	return rows, of
}

// groupTargets sorts target indices by the block their token lies in.
func groupTargets(targets []engine.Target, of []int, blocks int) [][]int {
	groups := make([][]int, blocks)
	for t := range of {
		b := int(targets[t].Token) / headBlock
		groups[b] = append(groups[b], t)
	}
	return groups
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
