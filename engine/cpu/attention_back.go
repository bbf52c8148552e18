package cpu

import (
	"math"

	"github.com/coppice-ml/coppice/engine"
)

// The backward pass of attention. Tiles and blocks lie where those of the
// forward pass lie. With scores s, cap c and the kept log of the sum of
// exponentials l of a query's row, p = exp(c(s) - l), and
//
//	dv = pᵀ dout,  dp = dout vᵀ,  ds = p (dp - sum(dout out)) c'(s)
//	dq = ds k,     dk = dsᵀ q
//
// (Dao et al. 2022, FlashAttention, algorithm 4). All of it is computed
// transposed, a row for each key, so that only dq has to turn anything.
//
// One worker takes a segment and a key/value head, tile by tile and block by
// block, so that sums have one order. Gradients of keys of the segment's own
// tokens are complete but for its descendants' part, those of its ancestors' are
// put aside and added up afterwards, in the order of the segments.

// queryUnit is what the queries of a tile are padded to: each length of a sum
// makes a provider prepare itself anew.
const queryUnit = 16

// attend takes units [lo, hi), counted from the last.
func (b *backward) attend(w *worker, lo, hi int) {
	heads := b.l.s.KVHeads
	for i := lo; i < hi; i++ {
		unit := len(b.f.b.Segments)*heads - 1 - i
		if b.e.tiled() {
			b.attendTiles(w, unit/heads, unit%heads)
		} else {
			b.attendUnit(w, unit/heads, unit%heads)
		}
	}
}

// attentionUnit is what a worker holds of one segment and key/value head.
type attentionUnit struct {
	segment, head int
	k, v, dk, dv  []float32 // [places, HeadDim]
}

func (b *backward) attendUnit(w *worker, segment, head int) {
	d, f := b.l.s.HeadDim, b.f
	s, context := f.b.Segments[segment], f.b.Context(segment)
	places := roundUp(context+s.Len, queryTile)
	room := places * d
	all := w.attentionBack.sequence.floats(4 * room)
	u := attentionUnit{segment: segment, head: head, k: all[:room], v: all[room : 2*room], dk: all[2*room : 3*room], dv: all[3*room:]}
	end := f.gatherSegment(segment, head, context+s.Len, u.k, u.v)
	clear(u.k[end*d:])
	clear(u.v[end*d:])
	clear(u.dk)
	clear(u.dv)
	w.lap(lapGather)
	for t := f.beforeFirst(segment, head); f.next(&t); {
		b.attendTile(w, &u, t)
	}
	stride := b.l.s.KVHeads * d
	for i := range s.Len {
		at := (s.Start+i)*stride + head*d
		copy(b.dk[at:at+d], u.dk[(context+i)*d:])
		copy(b.dv[at:at+d], u.dv[(context+i)*d:])
	}
	b.heirs.keep(segment, head, d, u.dk[:context*d], u.dv[:context*d])
	w.lap(lapGather)
}

// beforeFirst is an empty tile, whose next is the first of a head of a segment.
func (f *forward) beforeFirst(segment, head int) tile {
	start := f.b.Segments[segment].Start
	return tile{segment: segment, head: head, hi: f.before(0, start), shift: f.b.Context(segment) - start}
}

// queryTiles are a tile's queries and what belongs to them, stacked as in the
// forward pass, the queries of each head padded to a multiple of queryUnit.
type queryTiles struct {
	n                int       // rows
	q, dout, dq      []float32 // [n, HeadDim]
	less, delta      []float32 // [n]
	scores, probs, d []float32 // [keyBlock, n]
	part             []float32 // [max(keyBlock, n), HeadDim]
}

func (b *backward) attendTile(w *worker, u *attentionUnit, t tile) {
	d, f := b.l.s.HeadDim, b.f
	var tiles queryTiles
	x := &tiles
	b.stack(w, t, x)
	first, keys := f.keys(t)
	for lo := first; lo < keys; lo += keyBlock {
		n := min(keyBlock, keys-lo)
		across := shape{n: x.n, k: d}
		b.e.mul.product(w, across, n, operand{f32: u.k[lo*d:]}, operand{f32: x.q}, x.scores)
		b.e.mul.product(w, across, n, operand{f32: u.v[lo*d:]}, operand{f32: x.dout}, x.d)
		w.lap(lapAttention)
		for j := range n {
			b.softmaxBack(x, t, lo+j, j)
		}
		w.lap(lapSoftmax)
		dk, dv := u.dk[lo*d:][:n*d], u.dv[lo*d:][:n*d]
		down := shape{n: d, k: x.n, plain: true}
		b.e.mul.product(w, down, n, operand{f32: x.probs}, operand{f32: x.dout}, x.part)
		b.e.k.add(dv, dv, x.part[:n*d])
		b.e.mul.product(w, down, n, operand{f32: x.d}, operand{f32: x.q}, x.part)
		b.e.k.add(dk, dk, x.part[:n*d])
		b.e.mul.reduce(w, shape{n: d, k: n, stride: x.n}, x.n, operand{f32: x.d}, operand{f32: u.k[lo*d:]}, x.part)
		b.e.k.add(x.dq, x.dq, x.part[:x.n*d])
		w.lap(lapAttention)
	}
	b.unstack(x, t)
	w.lap(lapGather)
}

// stack gathers a tile's queries and their outputs' gradients.
func (b *backward) stack(w *worker, t tile, x *queryTiles) {
	s := b.l.s
	d, group, padded := s.HeadDim, s.Heads/s.KVHeads, roundUp(t.queries(), queryUnit)
	n := group * padded
	rows := w.attentionBack.queries.floats(3*n*d + 2*n + d)
	block := w.attentionBack.scores.floats(3 * keyBlock * n)
	*x = queryTiles{
		n: n, q: rows[:n*d], dout: rows[n*d : 2*n*d], dq: rows[2*n*d : 3*n*d], less: rows[3*n*d:][:n], delta: rows[3*n*d+n:][:n],
		scores: block[:keyBlock*n], probs: block[keyBlock*n : 2*keyBlock*n], d: block[2*keyBlock*n:], part: w.attentionBack.part.floats(max(keyBlock, n) * d),
	}
	out := rows[3*n*d+2*n:]
	clear(rows[:3*n*d])
	vanish := float32(math.Inf(1)) // what the padding's exponentials are less
	for g := range group {
		head := t.head*group + g
		for i := range padded {
			r := g*padded + i
			x.less[r], x.delta[r] = vanish, 0
			if i >= t.queries() {
				continue
			}
			at := (t.lo+i)*s.Heads + head
			copy(x.q[r*d:][:d], b.t.q[at*d:])
			copy(x.dout[r*d:][:d], b.datt[at*d:])
			b.e.unpack(out, b.t.att.from(at*d))
			x.less[r], x.delta[r] = b.t.lse[at], float32(b.e.k.dot(out, x.dout[r*d:][:d]))
		}
	}
	w.lap(lapGather)
}

// softmaxBack makes of row j of a block, the scores and the gradients of the
// probabilities of the key at an absolute position, probabilities and the
// gradients of scores.
func (b *backward) softmaxBack(x *queryTiles, t tile, key, j int) {
	s, k := b.l.s, b.e.k
	scores, p, d := x.scores[j*x.n:][:x.n], x.probs[j*x.n:][:x.n], x.d[j*x.n:][:x.n]
	if s.AttnSoftCap == 0 {
		k.expLess(p, scores, x.less, float32(s.AttnScale))
		k.softmaxBack(d, p, d, x.delta, float32(s.AttnScale))
	} else {
		k.scale(scores, float32(s.AttnScale))
		k.softCap(scores, float32(s.AttnSoftCap))
		k.expLess(p, scores, x.less, 1)
		k.softmaxBack(d, p, d, x.delta, float32(s.AttnScale))
		k.softCapBack(d, scores, float32(s.AttnSoftCap))
	}
	lo, hi := b.sees(t, key)
	if lo == 0 && hi == t.queries() {
		return
	}
	padded := roundUp(t.queries(), queryUnit)
	for at := 0; at < x.n; at += padded {
		clear(p[at : at+lo])
		clear(d[at : at+lo])
		clear(p[at+hi : at+padded])
		clear(d[at+hi : at+padded])
	}
}

// sees is the run of a tile's queries that see the key at an absolute position.
func (b *backward) sees(t tile, key int) (lo, hi int) {
	n := t.queries()
	for lo < n && b.f.position(t, lo) < key {
		lo++
	}
	hi = n
	if window := b.l.window; window > 0 {
		for hi > lo && b.f.position(t, hi-1) >= key+window {
			hi--
		}
	}
	return lo, hi
}

// unstack writes the gradients of a tile's queries.
func (b *backward) unstack(x *queryTiles, t tile) {
	s := b.l.s
	d, group := s.HeadDim, s.Heads/s.KVHeads
	padded := x.n / group
	for g := range group {
		for i := range t.queries() {
			at := ((t.lo+i)*s.Heads + t.head*group + g) * d
			copy(b.dq[at:at+d], x.dq[(g*padded+i)*d:])
		}
	}
}

// heirs are what segments put aside for their ancestors.
type heirs struct {
	any      bool
	offset   []int     // [segments] where what a segment puts aside begins
	contexts []int     // [segments]
	width    int       // K*HeadDim
	kept     []float32 // by segment: [K, 2, context, HeadDim], dk and dv
}

// list finds out how much there is to put aside.
func (h *heirs) list(b *engine.Batch, width int) {
	h.offset, h.contexts = resize(h.offset, len(b.Segments)), resize(h.contexts, len(b.Segments))
	h.width = width
	total := 0
	for i := range b.Segments {
		h.offset[i], h.contexts[i] = total, b.Context(i)
		total += 2 * h.contexts[i] * width
	}
	h.any = total > 0
	h.kept = grow(h.kept, total)
}

// of is what a segment puts aside of a head, [context, HeadDim] twice.
func (h *heirs) of(segment, head, d int) (dk, dv []float32) {
	n := h.contexts[segment] * d
	at := h.offset[segment] + 2*head*n
	return h.kept[at : at+n], h.kept[at+n : at+2*n]
}

func (h *heirs) keep(segment, head, d int, dk, dv []float32) {
	k, v := h.of(segment, head, d)
	copy(k, dk)
	copy(v, dv)
}

// inherit adds to keys and values of segments [lo, hi) what their descendants
// put aside.
func (b *backward) inherit(w *worker, lo, hi int) {
	d, heads := b.l.s.HeadDim, b.l.s.KVHeads
	for i := lo; i < hi; i++ {
		s, context := b.f.b.Segments[i], b.heirs.contexts[i]
		for heir := i + 1; heir < len(b.f.b.Segments); heir++ {
			if !descends(b.f.b, heir, i) {
				continue
			}
			for head := range heads {
				dk, dv := b.heirs.of(heir, head, d)
				for j := range s.Len {
					at, from := (s.Start+j)*heads*d+head*d, (context+j)*d
					b.e.k.add(b.dk[at:at+d], b.dk[at:at+d], dk[from:from+d])
					b.e.k.add(b.dv[at:at+d], b.dv[at:at+d], dv[from:from+d])
				}
			}
		}
	}
	w.lap(lapGather)
}

// descends reports whether a segment has another among its ancestors.
func descends(b *engine.Batch, segment, ancestor int) bool {
	p := b.Segments[segment].Parent
	for p > ancestor {
		p = b.Segments[p].Parent
	}
	return p == ancestor
}
