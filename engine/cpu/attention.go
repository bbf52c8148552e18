package cpu

import (
	"math"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
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

// tile is one unit of attention work.
type tile struct {
	segment int
	head    int // key/value head
	first   int // absolute position of the first query
	queries int
}

// attention is one call's inputs and output.
type attention struct {
	e       *Engine
	s       *model.Spec
	window  int // keys a query sees; 0 for all
	b       *engine.Batch
	q, k, v []float32 // [N, H*HeadDim], [N, K*HeadDim] rotated, [N, K*HeadDim]
	kv      *kvCache  // nil without a cache
	out     operand   // [N, H*HeadDim]
}

func (a *attention) run(tiles []tile) []tile {
	tiles = a.tiles(tiles[:0])
	a.e.pool.each(len(tiles), func(w *worker, i int) { a.tile(w, tiles[len(tiles)-1-i]) })
	return tiles
}

func (a *attention) tiles(ts []tile) []tile {
	for i, s := range a.b.Segments {
		context := a.b.Context(i)
		for at := context; at < context+s.Len; {
			end := min(context+s.Len, (at/queryTile+1)*queryTile)
			for h := range a.s.KVHeads {
				ts = append(ts, tile{segment: i, head: h, first: at, queries: end - at})
			}
			at = end
		}
	}
	return ts
}

// tile computes the attention of one tile's queries.
func (a *attention) tile(w *worker, t tile) {
	d, group := a.s.HeadDim, a.s.Heads/a.s.KVHeads
	rows := group * t.queries
	padded := a.e.padded(rows)
	keys := (t.first/queryTile + 1) * queryTile
	k, v := a.keysAndValues(w, t, keys)

	q := w.floats(slotQuery, padded*d)
	a.gatherQueries(q, t)
	scores := w.floats(slotScores, padded*keyBlock)
	part := w.floats(slotPart, padded*d)
	acc := w.floats(slotAcc, padded*d)
	clear(acc[:rows*d])
	state := w.floats(slotState, 2*rows)
	maxima, sums := state[:rows], state[rows:]
	for r := range rows {
		maxima[r], sums[r] = float32(math.Inf(-1)), 0
	}

	for lo := a.firstKey(t) / keyBlock * keyBlock; lo < keys; lo += keyBlock {
		n := min(keyBlock, keys-lo)
		a.e.mul.product(w.id, shape{n: n, k: d}, rows, operand{f32: q}, operand{f32: k[lo*d:]}, scores)
		for r := range rows {
			query := t.first + r%t.queries
			from, to := 0, min(n, query+1-lo)
			if a.window > 0 {
				from = max(0, query+1-a.window-lo)
			}
			shrink := a.softmaxBlock(scores[r*n:][:n], from, max(from, to), &maxima[r], &sums[r])
			if shrink != 1 {
				a.e.k.scale(acc[r*d:][:d], shrink)
			}
		}
		a.e.mul.product(w.id, shape{n: d, k: n, plain: true}, rows, operand{f32: scores}, operand{f32: v[lo*d:]}, part)
		a.e.k.add(acc[:rows*d], acc[:rows*d], part[:rows*d])
	}
	a.scatter(t, acc, sums)
}

// firstKey is the first key that any query of the tile's place may see: places
// are absolute, so that it does not depend on where a segment begins.
func (a *attention) firstKey(t tile) int {
	if a.window == 0 {
		return 0
	}
	return max(0, t.first/queryTile*queryTile+1-a.window)
}

// softmaxBlock turns one row of raw scores into exponentials relative to the
// running maximum, 0 outside [from, to), and updates maximum and sum. It
// returns the factor by which what was accumulated before has to shrink.
func (a *attention) softmaxBlock(row []float32, from, to int, maximum, sum *float32) (shrink float32) {
	k := a.e.k
	clear(row[:min(from, len(row))])
	clear(row[min(to, len(row)):])
	if from >= to {
		return 1
	}
	seen := row[from:to]
	top := *maximum
	if a.s.AttnSoftCap == 0 {
		top = max(top, k.scaleMax(seen, float32(a.s.AttnScale)))
	} else {
		k.scale(seen, float32(a.s.AttnScale))
		k.softCap(seen, float32(a.s.AttnSoftCap))
		top = max(top, k.scaleMax(seen, 1))
	}
	shrink = 1
	if top != *maximum && *sum != 0 {
		shrink = exp32(*maximum - top)
	}
	*sum = float32(*sum*shrink) + float32(k.expSum(seen, seen, top))
	*maximum = top
	return shrink
}

// gatherQueries stacks the tile's queries as rows (query head, query).
func (a *attention) gatherQueries(q []float32, t tile) {
	d, group := a.s.HeadDim, a.s.Heads/a.s.KVHeads
	row := a.row(t)
	for g := range group {
		from := row*a.s.Heads*d + (t.head*group+g)*d
		for range t.queries {
			copy(q[:d], a.q[from:])
			q, from = q[d:], from+a.s.Heads*d
		}
	}
}

// row is the batch row of a tile's first query.
func (a *attention) row(t tile) int {
	return a.b.Segments[t.segment].Start + t.first - a.b.Context(t.segment)
}

// scatter divides by the softmax sums and writes the result as matrix input.
func (a *attention) scatter(t tile, acc, sums []float32) {
	d, group := a.s.HeadDim, a.s.Heads/a.s.KVHeads
	row := a.row(t)
	for g := range group {
		for i := range t.queries {
			r := g*t.queries + i
			a.e.k.scale(acc[r*d:][:d], 1/sums[r])
			a.e.pack(a.out.from((row+i)*a.s.Heads*d+(t.head*group+g)*d), acc[r*d:][:d])
		}
	}
}

// keysAndValues returns the first n keys and values of the tile's sequence,
// dense [n, HeadDim], zero where the sequence has no token yet.
func (a *attention) keysAndValues(w *worker, t tile, n int) (k, v []float32) {
	if a.kv != nil {
		at := a.kv.at(a.b.Segments[t.segment].Slot, t.head)
		return a.kv.k[at : at+n*a.s.HeadDim], a.kv.v[at : at+n*a.s.HeadDim]
	}
	d := a.s.HeadDim
	k, v = w.floats(slotKeys, n*d), w.floats(slotValues, n*d)
	end := a.gatherSegment(t.segment, t.head, t.first+t.queries, k, v)
	clear(k[end*d:])
	clear(v[end*d:])
	return k, v
}

// gatherSegment copies keys and values of a segment and of its ancestors
// before it, up to absolute position limit, and returns where they end.
func (a *attention) gatherSegment(segment, head, limit int, k, v []float32) (end int) {
	s, at := a.b.Segments[segment], 0
	if s.Parent != engine.NoParent {
		at = a.gatherSegment(s.Parent, head, limit, k, v)
	}
	d := a.s.HeadDim
	stride := a.s.KVHeads * d
	for i := s.Start; i < s.Start+s.Len && at < limit; i++ {
		copy(k[at*d:][:d], a.k[i*stride+head*d:])
		copy(v[at*d:][:d], a.v[i*stride+head*d:])
		at++
	}
	return at
}
