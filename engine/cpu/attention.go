package cpu

import (
	"math"

	"github.com/coppice-ml/coppice/engine"
)

// Attention goes tile by tile: queryTile consecutive queries of one key/value
// head, the query heads that share it stacked into one product, against blocks
// of keyBlock keys. Tiles and blocks lie at absolute positions of the sequence,
// counted from its first token whether that is in a parent segment, in the
// cache or here. So the length of every sum is decided by a query's place in
// its own sequence, and results do not depend on packing. Softmax runs along
// blocks with a running maximum (Dao et al. 2022, FlashAttention, algorithm 1).
const (
	queryTile = 64
	keyBlock  = 512
)

// tile is one unit of attention work: outputs [lo, hi) of one segment, all of
// whose queries lie in one place of queryTile of the sequence.
type tile struct {
	segment int
	head    int // key/value head
	lo, hi  int
	shift   int // absolute position less row of the batch
}

func (t tile) queries() int { return t.hi - t.lo }

// position is the absolute position of a tile's query i.
func (f *forward) position(t tile, i int) int { return f.row(t.lo+i) + t.shift }

// cut lists the tiles of a batch, those of one head of a segment one after the other.
func (f *forward) cut(ts []tile) []tile {
	first := 0
	for i, s := range f.b.Segments {
		t := tile{segment: i, shift: f.b.Context(i) - s.Start}
		for t.head = range f.l.s.KVHeads {
			for t.hi = first; f.next(&t); {
				ts = append(ts, t)
			}
		}
		first = t.hi
	}
	return ts
}

// next makes a tile the one behind it, of the same head of its segment; it reports
// whether there is one.
func (f *forward) next(t *tile) bool {
	s := f.b.Segments[t.segment]
	if t.hi >= f.outputs || f.row(t.hi) >= s.Start+s.Len {
		return false
	}
	end := (f.row(t.hi)+t.shift)/queryTile*queryTile + queryTile - t.shift // row of the next tile
	t.lo, t.hi = t.hi, f.before(t.hi, min(end, s.Start+s.Len))
	return true
}

// keys are where the first block of keys for a tile's place begins, and where the last ends.
func (f *forward) keys(t tile) (first, end int) {
	return f.firstKey(t) / keyBlock * keyBlock, (f.position(t, 0)/queryTile + 1) * queryTile
}

// seen is the run of keys [at, at+n) that a tile's query i sees, counted from at.
func (f *forward) seen(t tile, i, at, n int) (from, to int) {
	to = f.position(t, i) + 1 - at
	if f.l.window > 0 {
		from = max(0, to-f.l.window)
	}
	return from, max(from, min(n, to))
}

// headRow is which of the rows [W*H] of HeadDim values is row r of a tile's queries, stacked
// by query head.
func (f *forward) headRow(t tile, r int) int {
	heads, queries := f.l.s.Heads, t.queries()
	return (t.lo+r%queries)*heads + t.head*(heads/f.l.s.KVHeads) + r/queries
}

// before is the first output from lo on whose row is not before the given one.
func (f *forward) before(lo, row int) int {
	if f.rows == nil {
		return row
	}
	for lo < f.outputs && f.rows[lo] < row {
		lo++
	}
	return lo
}

// attend computes tiles [lo, hi) counted from the last, which is the longest of
// its sequence: what it gathers serves the others of its head.
func (f *forward) attend(w *worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		f.attendTile(w, f.tiles[len(f.tiles)-1-i])
	}
}

// attendTile computes one tile.
func (f *forward) attendTile(w *worker, t tile) {
	if f.e.tiled() {
		f.attendTiles(w, t)
	} else {
		f.tile(w, t)
	}
}

// tile computes the attention of one tile's queries.
func (f *forward) tile(w *worker, t tile) {
	d, group := f.l.s.HeadDim, f.l.s.Heads/f.l.s.KVHeads
	queries := t.queries()
	rows := group * queries
	first, keys := f.keys(t)
	k, v := f.keysAndValues(w, t, keys)

	filled := rows // of the products: of many rows few numbers, each of which providers prepare for
	if rows > queryTile {
		filled = roundUp(rows, queryTile)
	}
	room := roundUp(filled, f.e.mul.quantum(false))
	q := w.attention.queries.floats(room * d)
	f.gatherQueries(q, t)
	clear(q[rows*d:])
	w.lap(lapGather)
	scores := w.attention.scores.floats(room * keyBlock)
	part := w.attention.part.floats(room * d)
	acc := w.attention.sum.floats(room * d)
	state := w.attention.state.floats(2 * rows)
	maxima, sums := state[:rows], state[rows:]
	for r := range rows {
		maxima[r], sums[r] = float32(math.Inf(-1)), 0
	}

	into := acc // the first block's part, which the others are added to
	for lo := first; lo < keys; lo += keyBlock {
		n := min(keyBlock, keys-lo)
		f.e.mul.filled(w, shape{n: n, k: d}, filled, room, operand{f32: q}, operand{f32: k[lo*d:]}, scores)
		w.lap(lapAttention)
		for r := range rows {
			from, to := f.seen(t, r%queries, lo, n)
			shrink := f.softmaxBlock(scores[r*n:][:n], from, to, &maxima[r], &sums[r])
			if shrink != 1 {
				f.e.k.scale(acc[r*d:][:d], shrink)
			}
		}
		w.lap(lapSoftmax)
		f.e.mul.filled(w, shape{n: d, k: n, plain: true}, filled, room, operand{f32: scores}, operand{f32: v[lo*d:]}, into)
		w.lap(lapAttention)
		if &into[0] == &part[0] {
			f.e.k.add(acc[:rows*d], acc[:rows*d], part[:rows*d])
		}
		into = part
	}
	if f.tape != nil {
		f.keepSums(t, maxima, sums)
	}
	f.scatter(t, acc, sums)
	w.lap(lapGather)
}

// firstKey is the first key that any query of the tile's place may see: places
// are absolute, so that it does not depend on where a segment begins.
func (f *forward) firstKey(t tile) int {
	if f.l.window == 0 {
		return 0
	}
	return max(0, f.position(t, 0)/queryTile*queryTile+1-f.l.window)
}

// softmaxBlock turns one row of raw scores into exponentials relative to the
// running maximum, 0 outside [from, to), and updates maximum and sum. It
// returns the factor by which what was accumulated before has to shrink.
func (f *forward) softmaxBlock(row []float32, from, to int, maximum, sum *float32) (shrink float32) {
	kernels := f.e.k
	clear(row[:min(from, len(row))])
	clear(row[min(to, len(row)):])
	if from >= to {
		return 1
	}
	seen := row[from:to]
	top := *maximum
	if f.l.s.AttnSoftCap == 0 {
		top = max(top, kernels.scaleMax(seen, float32(f.l.s.AttnScale)))
	} else {
		kernels.scale(seen, float32(f.l.s.AttnScale))
		kernels.softCap(seen, float32(f.l.s.AttnSoftCap))
		top = max(top, kernels.scaleMax(seen, 1))
	}
	shrink = 1
	if top != *maximum && *sum != 0 {
		shrink = exp32(*maximum - top)
	}
	*sum = float32(*sum*shrink) + float32(kernels.expSum(seen, seen, top))
	*maximum = top
	return shrink
}

// gatherQueries stacks the tile's queries as rows (query head, query).
func (f *forward) gatherQueries(q []float32, t tile) {
	d, group := f.l.s.HeadDim, f.l.s.Heads/f.l.s.KVHeads
	for g := range group {
		from := t.lo*f.l.s.Heads*d + (t.head*group+g)*d
		for range t.queries() {
			copy(q[:d], f.q[from:])
			q, from = q[d:], from+f.l.s.Heads*d
		}
	}
}

// scatter divides by the softmax sums and writes the result as matrix input.
func (f *forward) scatter(t tile, acc, sums []float32) {
	d, group := f.l.s.HeadDim, f.l.s.Heads/f.l.s.KVHeads
	for g := range group {
		for i := range t.queries() {
			r := g*t.queries() + i
			f.e.k.scale(acc[r*d:][:d], 1/sums[r])
			f.e.pack(f.att.from((t.lo+i)*f.l.s.Heads*d+(t.head*group+g)*d), acc[r*d:][:d])
		}
	}
}

// keysAndValues returns the first n keys and values of the tile's sequence,
// dense [n, HeadDim], zero where the sequence has no token yet.
func (f *forward) keysAndValues(w *worker, t tile, n int) (k, v []float32) {
	if f.cache != nil {
		at := f.cache.at(f.b.Segments[t.segment].Slot, t.head)
		return f.cache.k[at : at+n*f.l.s.HeadDim], f.cache.v[at : at+n*f.l.s.HeadDim]
	}
	d := f.l.s.HeadDim
	k, v = w.attention.keys.floats(n*d), w.attention.values.floats(n*d)
	has := gathered{f, f.calls, t.segment, t.head}
	if w.gathered == has { // for a later tile, which sees more of the same
		return k, v
	}
	w.gathered = has
	end := f.gatherSegment(t.segment, t.head, f.position(t, t.queries()-1)+1, k, v)
	clear(k[end*d:])
	clear(v[end*d:])
	return k, v
}

// gathered says whose keys and values a worker's memory has, of which call.
type gathered struct {
	f             *forward
	calls         int
	segment, head int
}

// gatherSegment copies keys and values of a segment and of its ancestors
// before it, up to absolute position limit, and returns where they end.
func (f *forward) gatherSegment(segment, head, limit int, k, v []float32) (end int) {
	s, at := f.b.Segments[segment], 0
	if s.Parent != engine.NoParent {
		at = f.gatherSegment(s.Parent, head, limit, k, v)
	}
	d := f.l.s.HeadDim
	stride := f.l.s.KVHeads * d
	for i := s.Start; i < s.Start+s.Len && at < limit; i++ {
		copy(k[at*d:][:d], f.k[i*stride+head*d:])
		copy(v[at*d:][:d], f.v[i*stride+head*d:])
		at++
	}
	return at
}
