//go:build goexperiment.simd && amd64

package cpu

import (
	"math"
	"unsafe"

	"github.com/coppice-ml/coppice/engine"
)

// Attention where tiles multiply bfloat16: what attention.go does, at the same places of a
// sequence, 32 rows of a tile's queries at a time. Queries, keys, values and exponentials
// are rounded to bfloat16, as everywhere else where models compute in it; sums are
// float32. Nothing is rearranged between the products: what one leaves is in the order
// in which the next one reads.

// tiled reports whether attention's products are those of tiles.
func (e *Engine) tiled() bool { return e.half && e.k.tiles != noTiles }

// attendTiles computes the attention of one tile's queries.
func (f *forward) attendTiles(w *worker, t tile) {
	rows := f.l.s.Heads / f.l.s.KVHeads * t.queries()
	x := f.headTiles(w, t)
	q := w.attention.queries.halves(roundUp(rows, tilePair) * x.depth)
	f.packQueries(q, x.depth, t, f.q)
	w.lap(lapGather)
	for lo := 0; lo < rows; lo += tilePair {
		f.attendRows(w, t, &x, q[lo*x.depth:], lo, min(rows, lo+tilePair))
	}
}

// attendRows computes rows [lo, hi) of a tile, 32 at most, of queries q [32, depth].
func (f *forward) attendRows(w *worker, t tile, x *headTiles, q []uint16, lo, hi int) {
	var sums softmaxSums
	sums.begin()
	scores, probs := w.attention.scores.floats(tilePair*keyBlock), w.attention.scores.halves(tilePair*keyBlock)
	acc := w.attention.sum.floats(tilePair * x.depth)
	first, keys := f.keys(t)
	for at := first; at < keys; at += keyBlock {
		n := min(keyBlock, keys-at)
		run := x.scoresOf(at, n)
		run.byRows(q, x.depth, hi-lo)
		run.into(f.e.k.tiles, scores, false)
		w.lap(lapAttention)
		f.softmaxTiles(t, &sums, softmaxTile{scores: scores[:tilePair*n], probs: probs, sums: acc, at: at, n: n, lo: lo, hi: hi, depth: x.depth})
		w.lap(lapSoftmax)
		run = x.valuesOf(at, n)
		run.byTiles(probs, n, hi-lo)
		run.into(f.e.k.tiles, acc, at > first)
		w.lap(lapAttention)
	}
	f.keepTiles(w, t, &sums, acc, x.depth, lo, hi)
	w.lap(lapGather)
}

// softmaxSums are of 32 rows the largest score so far, and what exponentials add up to.
type softmaxSums struct {
	maxima, sums [tilePair]float32
}

func (s *softmaxSums) begin() {
	for i := range s.maxima {
		s.maxima[i] = float32(math.Inf(-1))
	}
}

// softmaxTile is a block of scores of rows [lo, hi) of a tile of queries by keys
// [at, at+n), and what their softmax changes.
type softmaxTile struct {
	scores []float32 // as tileProducts leaves sums
	probs  []uint16  // tiles [2, n/32] of [16 rows, 32 keys]
	sums   []float32 // of what was before this block, as tileProducts leaves them
	at, n  int
	lo, hi int
	depth  int
}

// softmaxTiles makes of scores exponentials relative to the running maximum, and shrinks
// what was accumulated relative to another.
func (f *forward) softmaxTiles(t tile, s *softmaxSums, x softmaxTile) {
	scale, queries := float32(f.l.s.AttnScale), t.queries()
	if f.l.s.AttnSoftCap != 0 {
		f.e.k.scale(x.scores, scale)
		f.e.k.softCap(x.scores, float32(f.l.s.AttnSoftCap))
		scale = 1
	}
	for r := range x.hi - x.lo {
		from, to := f.seen(t, (x.lo+r)%queries, x.at, x.n)
		row := unsafe.Pointer(&x.scores[tileRow(r)])
		top := s.maxima[r]
		if from < to {
			top = max(top, tileRowMax(row, from, to)*scale)
		}
		if top != s.maxima[r] && s.sums[r] != 0 {
			shrink := exp32(s.maxima[r] - top)
			s.sums[r] *= shrink
			scaleTileRow(unsafe.Pointer(&x.sums[tileRow(r)]), x.depth/tilePair, shrink)
		}
		s.maxima[r] = top
		probs := unsafe.Pointer(&x.probs[r/tileEdge*x.n*tileEdge+r%tileEdge*tileStep])
		s.sums[r] += tileRowExp(probs, row, x.n/tilePair, from, to, scale, top)
	}
}

// tileRow is where row r of 32 begins in what tileProducts leaves.
func tileRow(r int) int { return r/tileEdge*2*tileEdge*tileEdge + r%tileEdge*tileEdge }

// keepTiles divides sums of rows [lo, hi) of a tile by what the exponentials add up to and
// writes them as matrix input.
func (f *forward) keepTiles(w *worker, t tile, s *softmaxSums, acc []float32, depth, lo, hi int) {
	d := f.l.s.HeadDim
	row := w.attention.state.halves(depth)
	for r := range hi - lo {
		at := f.headRow(t, lo+r)
		dst := f.att.bf16[at*d:][:d]
		if d < depth {
			dst = row
		}
		packTileRow(unsafe.Pointer(&dst[0]), unsafe.Pointer(&acc[tileRow(r)]), depth/tilePair, 1/s.sums[r])
		if d < depth {
			copy(f.att.bf16[at*d:][:d], row)
		}
		if f.tape != nil {
			f.tape.lse[at] = s.maxima[r] + float32(math.Log(float64(s.sums[r])))
		}
	}
}

// packQueries stacks the tile's rows of queries or of what is like them, [W, H*HeadDim], as
// rows (query head, query) of depth values.
func (f *forward) packQueries(q []uint16, depth int, t tile, from []float32) {
	d, group := f.l.s.HeadDim, f.l.s.Heads/f.l.s.KVHeads
	for g := range group {
		f.e.packHeads(q, from[f.headRow(t, g*t.queries())*d:], t.queries(), d, depth, f.l.s.Heads*d)
		q = q[t.queries()*depth:]
	}
}

// packHeads writes rows of d values, stride apart, as rows of depth values.
func (e *Engine) packHeads(dst []uint16, src []float32, rows, d, depth, stride int) {
	if d == depth && rows > 0 {
		packRows(unsafe.Pointer(&dst[0]), unsafe.Pointer(&src[0]), rows, d/tilePair, uintptr(stride)*4)
		return
	}
	for i := range rows {
		row := dst[i*depth:][:depth]
		e.k.pack(row[:d], src[i*stride:][:d])
		clear(row[d:])
	}
}

// headTiles are keys and values of the tile's sequence: the cache's, or gathered, once for
// all tiles of a head.
func (f *forward) headTiles(w *worker, t tile) headTiles {
	if f.cache != nil {
		return f.cache.tiles(f.b.Segments[t.segment].Slot, t.head)
	}
	has := gathered{f, f.calls, t.segment, t.head}
	if w.gathered == has {
		return w.headKV
	}
	depth := headDepth(f.l.s.HeadDim)
	seen := f.position(t, t.queries()-1) + 1
	places := roundUp(seen, queryTile)
	x := headTiles{keys: w.attention.keys.halves(places * depth), values: w.attention.values.halves(places * depth), places: places, depth: depth}
	rows := w.attention.part.halves(places * depth)
	f.packPlaces(rows, depth, t.segment, t.head, seen, f.k)
	x.layKeys(rows)
	f.packPlaces(rows, depth, t.segment, t.head, seen, f.v)
	x.layValues(rows)
	w.gathered, w.headKV = has, x
	return x
}

// packPlaces is packSegment, with zeroes in the places behind.
func (f *forward) packPlaces(rows []uint16, depth, segment, head, limit int, from []float32) {
	clear(rows[f.packSegment(rows, depth, segment, head, limit, from)*depth:])
}

// packSegment writes keys or values of a segment and of its ancestors before it, up to
// absolute position limit, as rows of depth values, and returns where they end.
func (f *forward) packSegment(rows []uint16, depth, segment, head, limit int, from []float32) (end int) {
	s, at := f.b.Segments[segment], 0
	if s.Parent != engine.NoParent {
		at = f.packSegment(rows, depth, s.Parent, head, limit, from)
	}
	d := f.l.s.HeadDim
	stride := f.l.s.KVHeads * d
	n := max(0, min(s.Len, limit-at))
	f.e.packHeads(rows[at*depth:], from[s.Start*stride+head*d:], n, d, depth, stride)
	return at + n
}

// layKeys lays out keys, given as [places, depth].
func (x *headTiles) layKeys(rows []uint16) {
	for at := 0; at < len(rows); at += tileEdge * x.depth {
		transposeTiles(unsafe.Pointer(&x.keys[at]), 64, unsafe.Pointer(&rows[at]), uintptr(x.depth)*2, x.depth/tileStep, tileBytes, 64)
	}
}

// layValues lays out values, given as [places, depth].
func (x *headTiles) layValues(rows []uint16) {
	pairTiles(unsafe.Pointer(&x.values[0]), unsafe.Pointer(&rows[0]), uintptr(x.depth)*2, x.places/2, x.depth/tileEdge, uintptr(x.places)*tileEdge*2)
}

// scoresOf is what multiplies rows by keys [at, at+n).
func (x *headTiles) scoresOf(at, n int) tileRun {
	steps := uintptr(x.depth) / tileStep
	return tileRun{b: unsafe.Pointer(&x.keys[at*x.depth]), across: steps * tileBytes, steps: steps, pairs: uintptr(n) / tilePair}
}

// valuesOf is what multiplies weights of keys [at, at+n) by their values.
func (x *headTiles) valuesOf(at, n int) tileRun {
	return tileRun{
		b: unsafe.Pointer(&x.values[at*tileEdge]), across: uintptr(x.places) * tileEdge * 2,
		steps: uintptr(n) / tileStep, pairs: uintptr(x.depth) / tilePair,
	}
}

// byRows makes 32 rows [32, depth] the run's first factor, byTiles 32 rows in tiles [2, n/32],
// of which so many are wanted.
func (run *tileRun) byRows(rows []uint16, depth, wanted int) {
	run.a, run.stride, run.rows, run.along = unsafe.Pointer(&rows[0]), uintptr(depth)*2, uintptr(depth)*2*tileEdge, 64
	run.wanted = uintptr(wanted)
}

func (run *tileRun) byTiles(tiles []uint16, n, wanted int) {
	run.a, run.stride, run.rows, run.along = unsafe.Pointer(&tiles[0]), 64, uintptr(n)*tileEdge*2, tileBytes
	run.wanted = uintptr(wanted)
}

// into multiplies, and adds to sums or sets them.
func (run *tileRun) into(u tileUnit, sums []float32, adds bool) {
	run.c, run.next = unsafe.Pointer(&sums[0]), run.a
	if adds {
		run.adds = 1
	}
	u.products(run)
}

// tileRowMax is the largest of a row's scores of keys [from, to).
//
//go:noescape
func tileRowMax(scores unsafe.Pointer, from, to int) float32

// tileRowExp writes exp(scale score - top) of keys [from, to), zero for others, rounded to
// bfloat16, and returns what they add up to before they are rounded.
//
//go:noescape
func tileRowExp(probs, scores unsafe.Pointer, pairs, from, to int, scale, top float32) float32

// scaleTileRow multiplies a row of so many times 32 values.
//
//go:noescape
func scaleTileRow(row unsafe.Pointer, pairs int, factor float32)

// packTileRow writes a row of so many times 32 values, multiplied and rounded to bfloat16.
//
//go:noescape
func packTileRow(dst, row unsafe.Pointer, pairs int, factor float32)

// packRows writes rows of so many times 32 values, stride bytes apart, rounded to bfloat16,
// one behind the other.
//
//go:noescape
func packRows(dst, src unsafe.Pointer, rows, pairs int, stride uintptr)

// gateTiles writes so many times 32 values of a gate, whose constants are negative (see
// kernels.gate), rounded to bfloat16.
//
//go:noescape
func gateTiles(dst, gate, up unsafe.Pointer, pairs int, linear, cubic float32)

// gateHalves is kernels.gateHalf.
func gateHalves(dst []uint16, g, up []float32, linear, cubic float32) (n int) {
	n = len(g) / tilePair
	if n > 0 {
		gateTiles(unsafe.Pointer(&dst[0]), unsafe.Pointer(&g[0]), unsafe.Pointer(&up[0]), n, -linear, -cubic)
	}
	return n * tilePair
}
