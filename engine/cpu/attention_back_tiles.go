//go:build goexperiment.simd && amd64

package cpu

import "unsafe"

// The backward pass of attention where tiles multiply bfloat16: the formulas of
// attention_back.go at its places, with what goes into products rounded to bfloat16. Scores
// have a row for each query, as in attention_tiles.go; the gradients of keys and values are
// summed transposed, [depth, keys], so that weights come from scores in the order in which
// tiles of the second factor have them.

// backTiles is what a worker holds of one segment and key/value head.
type backTiles struct {
	kv     headTiles // the keys, and as values the keys again
	values headTiles // as keys the values
	dk, dv []float32 // [depth/32, places/32, 4 tiles] of sums, turned
}

// queryBack is a tile's queries and what belongs to them, rows (query head, query), padded
// with zeroes to whole tiles.
type queryBack struct {
	t            tile
	rows, n      int       // of queries, padded
	q, dout      []uint16  // [n, depth]
	qT, doutT    []uint16  // tiles [depth/16, n/32] of [16 values, 32 rows]
	less, delta  []float32 // [n] logs of the sums of exponentials, sums of dout out
	scores, dots []float32 // of 32 rows by up to keyBlock keys
	probs, ds    []uint16  // tiles [keyBlock/16, n/32] of [16 pairs of rows, 16 keys]
	across       []uint16  // of 32 rows the same as ds, tiles [2, keyBlock/32] of [16 rows, 32 keys]
	dq           []float32 // [n/32, depth/32, 4 tiles]
}

// attendTiles is attendUnit by tiles.
func (b *backward) attendTiles(w *worker, segment, head int) {
	f := b.f
	u := b.gatherTiles(w, segment, head, f.b.Context(segment)+f.b.Segments[segment].Len)
	w.lap(lapGather)
	for t := f.beforeFirst(segment, head); f.next(&t); {
		x := b.stackTiles(w, t, u.kv.depth)
		w.lap(lapGather)
		b.attendQueries(w, &u, &x)
		b.unstackTiles(&x, u.kv.depth)
		w.lap(lapGather)
	}
	b.scatterTiles(w, &u, segment, head)
	w.lap(lapGather)
}

// gatherTiles lays out keys and values of a segment and its ancestors.
func (b *backward) gatherTiles(w *worker, segment, head, seen int) (u backTiles) {
	f, depth, places := b.f, headDepth(b.l.s.HeadDim), roundUp(seen, queryTile)
	n := places * depth
	room, sums := w.attentionBack.sequence.halves(4*n), w.attentionBack.sequence.floats(2*n)
	rows := room[3*n:]
	u.kv = headTiles{keys: room[:n], values: room[n : 2*n], places: places, depth: depth}
	u.values = headTiles{keys: room[2*n : 3*n], places: places, depth: depth}
	u.dk, u.dv = sums[:n], sums[n:]
	clear(sums)
	f.packPlaces(rows, depth, segment, head, seen, f.v)
	u.values.layKeys(rows)
	f.packPlaces(rows, depth, segment, head, seen, f.k)
	u.kv.layKeys(rows)
	u.kv.layValues(rows)
	return u
}

// stackTiles gathers a tile's queries and their outputs' gradients.
func (b *backward) stackTiles(w *worker, t tile, depth int) queryBack {
	s := b.l.s
	rows := s.Heads / s.KVHeads * t.queries()
	n := roundUp(rows, tilePair)
	size, block := n*depth, n*keyBlock
	operands := w.attentionBack.queries.halves(4*size + tilePair*keyBlock)
	values := w.attentionBack.queries.floats(size + 2*n + s.HeadDim)
	scores, weights := w.attentionBack.scores.floats(2*tilePair*keyBlock), w.attentionBack.scores.halves(2*block)
	x := queryBack{
		t: t, rows: rows, n: n, q: operands[:size], dout: operands[size : 2*size], qT: operands[2*size : 3*size], doutT: operands[3*size : 4*size],
		across: operands[4*size:], dq: values[:size], less: values[size:][:n], delta: values[size+n:][:n],
		scores: scores[:tilePair*keyBlock], dots: scores[tilePair*keyBlock:], probs: weights[:block], ds: weights[block:],
	}
	out := values[size+2*n:]
	b.f.packQueries(x.q, depth, t, b.t.q)
	b.f.packQueries(x.dout, depth, t, b.datt)
	for _, operand := range [][]uint16{x.q, x.dout} {
		clear(operand[rows*depth:])
	}
	clear(x.less[rows:])
	clear(x.delta[rows:])
	for r := range rows {
		at, d := b.f.headRow(t, r), s.HeadDim
		b.e.unpack(out, b.t.att.from(at*d))
		x.less[r], x.delta[r] = b.t.lse[at], float32(b.e.k.dot(out, b.datt[at*d:][:d]))
	}
	turnTiles(w, x.qT, x.q, n, depth)
	turnTiles(w, x.doutT, x.dout, n, depth)
	return x
}

// turnTiles lays out rows [n, depth] as tiles [depth/16, n/32] of [16 values, 32 rows].
func turnTiles(w *worker, dst, rows []uint16, n, depth int) {
	pairs := w.attentionBack.part.halves(n * depth)
	pairTiles(unsafe.Pointer(&pairs[0]), unsafe.Pointer(&rows[0]), uintptr(depth)*2, n/2, depth/tileEdge, uintptr(n)*tileEdge*2)
	transposeTiles(unsafe.Pointer(&dst[0]), 64, unsafe.Pointer(&pairs[0]), 64, n*depth*2/tileBytes, tileBytes, tileBytes)
}

// attendQueries goes back from a tile's outputs to its queries, keys and values.
func (b *backward) attendQueries(w *worker, u *backTiles, x *queryBack) {
	f, depth := b.f, u.kv.depth
	first, keys := f.keys(x.t)
	for at := first; at < keys; at += keyBlock {
		n := min(keyBlock, keys-at)
		for lo := 0; lo < x.n; lo += tilePair {
			b.weightsBack(w, u, x, lo, at, n)
			run := u.kv.valuesOf(at, n)
			run.byTiles(x.across, n, tilePair)
			run.into(b.e.k.tiles, x.dq[lo*depth:], at > first)
			w.lap(lapAttention)
		}
		for lo := 0; lo < depth; lo += tilePair {
			place := lo*u.kv.places + at*tilePair
			x.addTurned(b.e.k.tiles, u.dv[place:], x.doutT, x.probs, lo, n)
			x.addTurned(b.e.k.tiles, u.dk[place:], x.qT, x.ds, lo, n)
		}
		w.lap(lapAttention)
	}
}

// addTurned adds to sums of values [lo, lo+32) by n keys what weights make of rows.
func (x *queryBack) addTurned(u tileUnit, sums []float32, turned, weights []uint16, lo, n int) {
	run := tileRun{b: unsafe.Pointer(&weights[0]), across: uintptr(x.n) * tileEdge * 2, steps: uintptr(x.n) / tileStep, pairs: uintptr(n) / tilePair}
	run.byTiles(turned[lo*x.n:], x.n, tilePair)
	run.into(u, sums, true)
}

// weightsBack makes probabilities and the gradients of scores of 32 rows from lo on by
// keys [at, at+n).
func (b *backward) weightsBack(w *worker, u *backTiles, x *queryBack, lo, at, n int) {
	depth := u.kv.depth
	for _, p := range [...]struct {
		rows []uint16
		by   *headTiles
		into []float32
	}{{x.q, &u.kv, x.scores}, {x.dout, &u.values, x.dots}} {
		run := p.by.scoresOf(at, n)
		run.byRows(p.rows[lo*depth:], depth, tilePair)
		run.into(b.e.k.tiles, p.into, false)
	}
	w.lap(lapAttention)
	scale := float32(b.l.s.AttnScale)
	capped := b.l.s.AttnSoftCap != 0
	if capped {
		b.capBack(x, lo, n)
	}
	row := tileBack{
		pairs: uintptr(n) / tilePair, acrossBlocks: uintptr(x.n) * tileEdge * 2, scale: scale, inner: scale,
	}
	if capped {
		row.inner = 1
	}
	for r := 0; r < tilePair; r += 2 {
		for i := range 2 {
			row.from[i], row.to[i] = b.seen(x, lo+r+i, at, n)
			row.less[i], row.delta[i] = x.less[lo+r+i], x.delta[lo+r+i]
			if capped {
				row.delta[i] = 0
			}
		}
		pair := lo*tileEdge + r*tileEdge // of a tile of weights: 16 pairs of rows, 32 values each
		row.scores, row.dots = unsafe.Pointer(&x.scores[tileRow(r)]), unsafe.Pointer(&x.dots[tileRow(r)])
		row.probs, row.ds = unsafe.Pointer(&x.probs[pair]), unsafe.Pointer(&x.ds[pair])
		row.rows = unsafe.Pointer(&x.across[r/tileEdge*n*tileEdge+r%tileEdge*tileStep])
		tileRowsBack(&row)
	}
	w.lap(lapSoftmax)
}

// seen is the run of keys [at, at+n) that a row sees, counted from at.
func (b *backward) seen(x *queryBack, row, at, n int) (from, to int) {
	if row >= x.rows {
		return 0, 0
	}
	return b.f.seen(x.t, row%x.t.queries(), at, n)
}

// capBack caps the scores of 32 rows from lo on, and takes what the cap lets through of
// the gradients of the probabilities less delta.
func (b *backward) capBack(x *queryBack, lo, n int) {
	k, limit := b.e.k, float32(b.l.s.AttnSoftCap)
	scores, dots := x.scores[:tilePair*n], x.dots[:tilePair*n]
	k.scale(scores, float32(b.l.s.AttnScale))
	k.softCap(scores, limit)
	for r := range tilePair {
		for at := tileRow(r); at < len(dots); at += tilePair * tilePair {
			for _, side := range [...]int{0, tileEdge * tileEdge} {
				run := dots[at+side:][:tileEdge]
				k.minus(run, run, x.delta[lo+r])
			}
		}
	}
	k.softCapBack(dots, scores, limit)
}

// unstackTiles writes the gradients of a tile's queries.
func (b *backward) unstackTiles(x *queryBack, depth int) {
	s := b.l.s
	for r := range x.rows {
		at := b.f.headRow(x.t, r) * s.HeadDim
		row := x.dq[r/tilePair*tilePair*depth+tileRow(r%tilePair):]
		for j := 0; j < s.HeadDim; j += tileEdge {
			copy(b.dq[at+j:at+min(j+tileEdge, s.HeadDim)], row[j/tilePair*tilePair*tilePair+j%tilePair*tileEdge:])
		}
	}
}

// scatterTiles writes the gradients of a segment's keys and values, and puts those of its
// ancestors aside.
func (b *backward) scatterTiles(w *worker, u *backTiles, segment, head int) {
	f, d, depth := b.f, b.l.s.HeadDim, u.kv.depth
	s, context := f.b.Segments[segment], f.b.Context(segment)
	stride := b.l.s.KVHeads * d
	rows := w.attentionBack.part.floats(tilePair * depth)
	heirK, heirV := b.heirs.of(segment, head, d)
	for _, g := range [...]struct{ sums, own, heir []float32 }{{u.dk, b.dk, heirK}, {u.dv, b.dv, heirV}} {
		for place := 0; place < context+s.Len; place += tilePair {
			u.turnBack(rows, g.sums, place)
			for i := range min(tilePair, context+s.Len-place) {
				row, at := rows[i*depth:][:d], place+i-context
				if at < 0 {
					copy(g.heir[(place+i)*d:][:d], row)
				} else {
					copy(g.own[(s.Start+at)*stride+head*d:][:d], row)
				}
			}
		}
	}
}

// turnBack makes rows [32, depth] of sums of keys from place on.
func (u *backTiles) turnBack(rows, sums []float32, place int) {
	depth := u.kv.depth
	for lo := 0; lo < depth; lo += tilePair {
		tiles := sums[lo*u.kv.places+place*tilePair:]
		for tile := range 4 {
			to := &rows[tile%2*tileEdge*depth+lo+tile/2*tileEdge]
			transposeTiles(unsafe.Pointer(to), uintptr(depth)*4, unsafe.Pointer(&tiles[tile*tileEdge*tileEdge]), 64, 1, 0, 0)
		}
	}
}

// tileBack is what tileRowsBack works on: two rows, one after the other in their tiles.
type tileBack struct {
	scores, dots unsafe.Pointer // as tileProducts leaves them
	probs, ds    unsafe.Pointer // the pair of rows in tiles of sixteen keys, as far apart as acrossBlocks says
	rows         unsafe.Pointer // the first row in tiles of 32 keys
	acrossBlocks uintptr
	pairs        uintptr
	from, to     [2]int // keys that each row sees
	less, delta  [2]float32
	inner, scale float32 // of scores in exponentials, of their gradients
}

// tileRowsBack sets p = exp(inner score - less) of what is seen, 0 elsewhere, and ds =
// p (dot - delta) scale.
//
//go:noescape
func tileRowsBack(row *tileBack)
