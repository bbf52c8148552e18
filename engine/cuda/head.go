//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"errors"
	"math"
	"slices"
	"unsafe"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
)

// headBlock is how many rows of the vocabulary are projected to at a time. Blocks
// are always cut at the same places, so sums over the vocabulary have one order.
const headBlock = 4096

// headTile is how many rows of hidden states are projected at a time.
const headTile = 1024

// head is the final norm and the projection.
type head struct {
	e      *Engine
	s      *model.Spec
	memory buffer
	ready  uintptr
	tied   *table // what it projects with, if that is the embedding's

	projection     address // [V, D] as products take it
	norm, normBias address
	factors        address // [V] what logits are multiplied by, or none
}

// Head implements engine.Engine.
func (e *Engine) Head(m *model.Model, o engine.HeadOptions) (engine.Head, error) {
	if err := e.frozen(o.Options); err != nil {
		return nil, err
	}
	h := &head{e: e, s: m.Spec}
	if err := h.load(m); err != nil {
		h.Release()
		return nil, err
	}
	return h, nil
}

// load brings the head to the device.
func (h *head) load(m *model.Model) error {
	const name = "Head"
	e, made := h.e, block.HeadOf(m.Spec)
	v := &vectors{}
	norm, err := v.add(m, nil, made.Norm)
	if err != nil {
		return err
	}
	bias, err := v.add(m, nil, made.NormBias)
	if err != nil {
		return err
	}
	stored, d, err := m.Stored(made.Projection)
	if err != nil {
		return err
	}
	if err := e.ready(name); err != nil {
		return err
	}
	err = e.w.do(name, func() (err error) {
		h.memory, err = e.weightMemory(e.headBytes(m))
		return err
	})
	if err != nil {
		return err
	}
	h.norm = h.memory.from(int64(4 * norm))
	if bias >= 0 {
		h.normBias = h.memory.from(int64(4 * bias))
	}
	h.projection = h.memory.from(smallHead(m.Spec))
	var also func(address, int, int) error
	if made.UnitRows {
		h.factors = h.projection + address(roundUp(e.bytes(shape{m.Spec.Vocab, m.Spec.Hidden}), 256))
		also = func(stored address, row, rows int) error {
			return e.launch(e.copies, "inverse_norms", (rows+blockRows-1)/blockRows, 1, h.factors+address(4*row), stored, storedDType(d), rows, m.Spec.Hidden)
		}
	}
	ctx := context.Background()
	if err := e.stage.up(ctx, name, e.copies, func(at int) address { return h.memory.from(int64(at)) }, bytesOf(v.values), 4, nil); err != nil {
		return err
	}
	if e.shares(m) {
		if h.tied, err = e.table(name, m, made.Projection); err != nil {
			return err
		}
		h.projection = h.tied.memory.at
	} else if err := e.bring(ctx, name, h.projection, stored, d, m.Spec.Hidden, also); err != nil {
		return err
	}
	m.Source.Release(made.Projection.Name)
	return e.w.do(name, func() (err error) {
		h.ready, err = e.record(e.copies)
		return err
	})
}

// smallHead is where the projection begins, behind the norm and its bias.
func smallHead(s *model.Spec) int64 { return roundUp(int64(4*2*roundUp(s.Hidden, 4)), 256) }

// shares says whether a head projects with the embedding's table as it is stored.
func (e *Engine) shares(m *model.Model) bool {
	t, ok := m.Source.Tensor(block.HeadOf(m.Spec).Projection.Name)
	return ok && m.Spec.Tied && !m.Spec.HeadUnitRows && e.direct(t.DType)
}

// headBytes is what a head takes of the device beside the embedding.
func (e *Engine) headBytes(m *model.Model) int64 {
	s, n := m.Spec, smallHead(m.Spec)
	if e.shares(m) {
		return n
	}
	n += roundUp(e.bytes(shape{s.Vocab, s.Hidden}), 256)
	if s.HeadUnitRows {
		n += int64(4 * s.Vocab)
	}
	return n
}

// arrive makes the compute stream wait for the head's weights, once.
func (h *head) arrive() error {
	err := h.e.arrive(&h.ready)
	if h.tied != nil && err == nil {
		err = h.e.arrive(&h.tied.ready)
	}
	return err
}

// Release implements engine.Head.
func (h *head) Release() {
	_ = h.e.w.do("Head.Release", func() error {
		err := errors.Join(h.e.arrive(&h.ready), h.e.letGo(h.memory))
		h.memory = buffer{}
		return err
	})
	h.e.release("Head.Release", h.tied)
	h.tied = nil
}

// Norm implements engine.Head.
func (h *head) Norm(ctx context.Context, x, y engine.Hidden) error {
	const name = "Head.Norm"
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d, n := h.s.Hidden, x.Rows()
	in, out := h.e.states(x, n, d), h.e.states(y, n, d)
	err := h.e.w.do(name, func() error {
		if err := h.arrive(); err != nil {
			return err
		}
		return h.e.rowsOf("norm_parts", n, out, in, n, d, 1, d, h.norm, h.normBias, flag(h.s.LayerNorm), float32(h.s.NormEps))
	})
	if err == nil {
		h.e.w.note(name)
	}
	return err
}

// projecting is one call that needs logits: of rows of some hidden states, a tile of
// rows and a block of the vocabulary at a time. Its methods run on the worker.
type projecting struct {
	scratch
	h     *head
	lists buffer // row numbers first
	rows  int
}

// blockOf is what is done with finished logits [count, width] of rows from lo on,
// for columns from column on: those of the call's first hidden states and of others,
// number i of them, or none where there are no others.
type blockOf func(i int, first, other buffer, lo, count, column, width int) error

// project takes rows of hidden states through the vocabulary, a tile at a time.
func (p *projecting) project(inputs []address, do blockOf) error {
	if err := p.h.arrive(); err != nil {
		return err
	}
	for lo := 0; lo < p.rows; lo += headTile {
		if err := p.tile(inputs, lo, min(headTile, p.rows-lo), do); err != nil {
			return err
		}
	}
	return nil
}

func (p *projecting) tile(inputs []address, lo, count int, do blockOf) (err error) {
	e, s := p.e, p.h.s
	xs := make([]buffer, len(inputs))
	for i, in := range inputs {
		if xs[i], err = p.take(room(count)*s.Hidden, e.inputBytes()); err != nil {
			return err
		}
		err := e.rowsOf("norm_input", count, xs[i], in, p.lists.from(int64(4*lo)), count, s.Hidden, p.h.norm, p.h.normBias, flag(s.LayerNorm), float32(s.NormEps))
		if err != nil {
			return err
		}
	}
	logits := make([]buffer, min(2, len(inputs)))
	for i := range logits {
		if logits[i], err = p.take(room(count)*min(headBlock, s.Vocab), 4); err != nil {
			return err
		}
	}
	for column := 0; column < s.Vocab; column += headBlock {
		width := min(headBlock, s.Vocab-column)
		for i, x := range xs {
			if err := p.logits(x, logits[min(i, 1)], count, column, width); err != nil {
				return err
			}
			if i == 0 && len(xs) > 1 {
				continue
			}
			if err := do(max(0, i-1), logits[0], logits[len(logits)-1], lo, count, column, width); err != nil {
				return err
			}
		}
	}
	for _, b := range append(xs, logits...) {
		err = errors.Join(err, p.give(b))
	}
	return err
}

// logits computes a block's.
func (p *projecting) logits(x, y buffer, count, column, width int) error {
	e, s := p.e, p.h.s
	w := p.h.projection + address(e.bytes(shape{column, s.Hidden}))
	if err := e.law.multiply(shape{width, s.Hidden}, count, w, x.at, y.at); err != nil {
		return err
	}
	return e.each("finish_logits", count*width, y, count, width, column, p.h.factors, float32(s.Logit()), float32(s.LogitSoftCap))
}

// call runs do on the worker with lists of numbers on the device, one call at a time.
func (h *head) call(ctx context.Context, name string, rows int, numbers []int32, do func(p *projecting) error) error {
	lists, err := h.e.upload(ctx, name, numbers)
	if err != nil {
		return err
	}
	p := &projecting{scratch: scratch{e: h.e}, h: h, lists: lists, rows: rows}
	err = h.e.w.do(name, func() error { return errors.Join(do(p), p.end(), h.e.pool.give(lists)) })
	if err == nil {
		h.e.w.note(name)
	}
	return err
}

func numbers(rows []int) []int32 {
	out := make([]int32, len(rows))
	for i, r := range rows {
		out[i] = int32(r)
	}
	return out
}

// results takes memory that outlives a call on the worker, until give.
func (e *Engine) results(name string, bytes int) (b buffer, give func(), err error) {
	err = e.w.do(name, func() (err error) {
		b, err = e.pool.take(work, int64(bytes))
		return err
	})
	return b, func() { _ = e.w.do(name, func() error { return e.pool.give(b) }) }, err
}

// Logits implements engine.Head.
func (h *head) Logits(ctx context.Context, x engine.Hidden, rows []int, out []float32) error {
	const name = "Head.Logits"
	if ctx.Err() != nil || len(rows) == 0 {
		return context.Cause(ctx)
	}
	v := h.s.Vocab
	in := h.e.states(x, x.Rows(), h.s.Hidden)
	h.e.calls.Lock()
	defer h.e.calls.Unlock()
	for lo := 0; lo < len(rows); lo += headTile {
		part := rows[lo:min(lo+headTile, len(rows))]
		all, give, err := h.e.results(name, 4*len(part)*v)
		if err != nil {
			return err
		}
		err = h.call(ctx, name, len(part), numbers(part), func(p *projecting) error {
			return p.project([]address{in}, func(_ int, logits, _ buffer, _, count, column, width int) error {
				return h.e.each("place_block", count*width, all, logits, count, width, column, v)
			})
		})
		if err == nil {
			err = h.e.stage.down(ctx, name, bytesOf(out[lo*v:(lo+len(part))*v]), all.at)
		}
		give()
		if err != nil {
			return err
		}
	}
	h.e.w.settled()
	return nil
}

// softmax is head.cu's.
type softmax struct {
	sum   float64
	top   float32
	token int32
}

// LogProbs implements engine.Head.
func (h *head) LogProbs(ctx context.Context, x engine.Hidden, targets []engine.Target, out []engine.TokenScore) error {
	const name = "Head.LogProbs"
	if ctx.Err() != nil || len(targets) == 0 {
		return context.Cause(ctx)
	}
	in := h.e.states(x, x.Rows(), h.s.Hidden)
	q := newQuestion(targets)
	h.e.calls.Lock()
	defer h.e.calls.Unlock()
	const size = int(unsafe.Sizeof(softmax{}))
	states, give, err := h.e.results(name, size*len(q.rows))
	if err != nil {
		return err
	}
	defer give()
	named, giveNamed, err := h.e.results(name, 4*len(targets))
	if err != nil {
		return err
	}
	defer giveNamed()
	err = h.call(ctx, name, len(q.rows), q.lists, func(p *projecting) error {
		return p.project([]address{in}, func(_ int, logits, _ buffer, lo, count, column, width int) error {
			if err := h.e.rowsOf("softmax_block", count, states.from(int64(size*lo)), logits, count, width, column); err != nil {
				return err
			}
			from, n := q.of(lo, column)
			if n == 0 {
				return nil
			}
			at := func(list int) address { return p.lists.from(int64(4 * (list + from))) }
			return h.e.each("pick", n, named, logits, n, width, column, at(q.places), at(q.tokens), at(q.targets))
		})
	})
	if err != nil {
		return err
	}
	sums, picked := make([]softmax, len(q.rows)), make([]float32, len(targets))
	if err := h.e.stage.down(ctx, name, bytesOf(sums), states.at); err != nil {
		return err
	}
	if err := h.e.stage.down(ctx, name, bytesOf(picked), named.at); err != nil {
		return err
	}
	h.e.w.settled()
	for i, t := range targets {
		s := sums[q.row[i]]
		out[i] = engine.TokenScore{LogProb: float64(picked[i]) - (float64(s.top) + math.Log(s.sum)), Greedy: s.token == t.Token}
	}
	return nil
}

// question is what LogProbs wants to know, sorted by tile of rows and block of the
// vocabulary.
type question struct {
	rows []int32 // each once
	row  []int   // [targets] place in rows
	// lists are the rows, and for each target, sorted, the place of its row in its
	// tile, its token, and its number.
	lists                   []int32
	places, tokens, targets int
	starts                  map[[2]int][2]int // tile, block: first and count
}

func newQuestion(targets []engine.Target) *question {
	q := &question{starts: map[[2]int][2]int{}}
	place := map[int]int{}
	order := make([]int, len(targets))
	for i, t := range targets {
		at, ok := place[t.Row]
		if !ok {
			at = len(q.rows)
			place[t.Row] = at
			q.rows = append(q.rows, int32(t.Row))
		}
		q.row = append(q.row, at)
		order[i] = i
	}
	key := func(i int) [2]int { return [2]int{q.row[i] / headTile, int(targets[i].Token) / headBlock} }
	slices.SortStableFunc(order, func(a, b int) int {
		ka, kb := key(a), key(b)
		return slices.Compare(ka[:], kb[:])
	})
	n := len(targets)
	q.lists = append(q.lists, q.rows...)
	q.places, q.tokens, q.targets = len(q.rows), len(q.rows)+n, len(q.rows)+2*n
	q.lists = append(q.lists, make([]int32, 3*n)...)
	for j, i := range order {
		q.lists[q.places+j], q.lists[q.tokens+j], q.lists[q.targets+j] = int32(q.row[i]%headTile), targets[i].Token, int32(i)
		k := key(i)
		s, ok := q.starts[k]
		if !ok {
			s[0] = j
		}
		s[1]++
		q.starts[k] = s
	}
	return q
}

// of says which of the sorted targets lie in a tile and a block.
func (q *question) of(lo, column int) (from, n int) {
	s := q.starts[[2]int{lo / headTile, column / headBlock}]
	return s[0], s[1]
}
