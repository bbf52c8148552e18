package cpu

// The phases of a forward call whose rows are few for each worker, where the multiplier
// takes layouts (strips): what goes into a product is laid out once, by whoever makes it,
// and all workers read that. Products are cut by blocks of rows and chunks of columns, all
// chunks of one block first, so that the block stays in each worker's second cache while
// weights pass by. Each computes what its counterpart for many rows does, bit for bit.

// wideProducts is what such a call has besides buffers.
type wideProducts struct {
	strips                   strips
	x, att, act              layout // of which x and att have the same memory
	project, out, feed, down grid
}

// grid cuts a product into units.
type grid struct {
	rows, columns int
	block, chunk  int // of rows and of columns, multiples of tilePair, but for the last
}

// grid cuts so that chunks are large and the workers' last ones end at about the same
// time, were all as fast. Where columns are too few, blocks are of fewer rows.
func (e *Engine) grid(rows, columns int) grid {
	blocks, pairs := ceil(rows, rowTile), ceil(columns, tilePair)
	for blocks*pairs < columnParts*e.info.Threads && rows > 2*tilePair*blocks {
		blocks *= 2
	}
	g := grid{rows: rows, columns: columns, block: roundUp(ceil(rows, blocks), tilePair)}
	blocks, least := ceil(rows, g.block), 0
	for chunk := ceil(pairs*blocks, columnParts*e.info.Threads); chunk > 0; chunk-- {
		longest := ceil(ceil(pairs, chunk)*blocks, e.info.Threads) * chunk
		if g.chunk == 0 || longest < least {
			g.chunk, least = chunk*tilePair, longest
		}
	}
	return g
}

func ceil(n, by int) int { return (n + by - 1) / by }

// units is how many there are.
func (g grid) units() int { return ceil(g.rows, g.block) * ceil(g.columns, g.chunk) }

// unit is a block of rows and the columns [lo, hi) of a chunk.
func (g grid) unit(i int) (row, rows, lo, hi int) {
	chunks := ceil(g.columns, g.chunk)
	row, lo = i/chunks*g.block, i%chunks*g.chunk
	return row, min(g.block, g.rows-row), lo, min(lo+g.chunk, g.columns)
}

// prepareWide sizes buffers and phases.
func (f *forward) prepareWide() {
	s, n, e := f.l.s, f.b.Len(), f.e
	d, q := s.Hidden, s.Heads*s.HeadDim
	f.job.phases = f.shared
	f.x = f.x.grow(layoutSize(n, max(d, q)), true)
	f.act, f.sum = f.act.grow(layoutSize(n, s.FF), true), grow(f.sum, n*d)
	f.wide = wideProducts{
		strips: f.stripped(),
		x:      newLayout(n, d, f.x.bf16), att: newLayout(n, q, f.x.bf16), act: newLayout(n, s.FF, f.act.bf16),
		project: e.grid(n, q+2*s.KVHeads*s.HeadDim), out: e.grid(n, d), feed: e.grid(n, s.FF), down: e.grid(n, d),
	}
	segments := 0
	if f.cache != nil {
		segments = len(f.b.Segments)
	}
	rows := [2]int{n, tileEdge}
	for i, p := range [...][2]int{
		rows, {f.wide.project.units(), 1}, rows, {segments, max(segments, 1)}, {len(f.tiles), 1},
		rows, {f.wide.out.units(), 1}, rows, {f.wide.feed.units(), 1}, {f.wide.down.units(), 1}, rows,
	} {
		f.shared[i].n, f.shared[i].step = p[0], p[1]
	}
}

// wideNorm normalises and lays out rows [lo, hi).
func (f *forward) wideNorm(w *worker, lo, hi int) {
	d := f.l.s.Hidden
	x := f.e.input(w.feed.input, (hi-lo)*d)
	f.e.normRows(w, x, f.in[lo*d:hi*d], d, f.l.first())
	w.lap(lapNorms)
	f.wideInput(w, f.wide.x, lo, hi, x)
}

// wideInput lays out whole rows [lo, hi).
func (f *forward) wideInput(w *worker, x layout, lo, hi int, a operand) {
	f.wide.strips.lay(w, x, lo, 0, hi-lo, x.k, a)
	w.lap(lapProducts)
}

// wideProject computes a unit of queries, keys and values side by side.
func (f *forward) wideProject(w *worker, unit, _ int) {
	row, rows, lo, hi := f.wide.project.unit(unit)
	for _, m := range [...]struct {
		x   *matrix
		dst []float32
	}{{f.l.query, f.q}, {f.l.key, f.k}, {f.l.value, f.v}} {
		f.wideColumns(w, m.x, f.wide.x.block(row, rows), max(lo, 0), min(hi, m.x.out), m.dst[row*m.x.out:])
		lo, hi = lo-m.x.out, hi-m.x.out
	}
	w.lap(lapProducts)
}

// wideColumns computes columns [lo, hi), if there are any, of a block of rows.
func (f *forward) wideColumns(w *worker, m *matrix, x layout, lo, hi int, dst []float32) {
	if lo < hi {
		f.wide.strips.strip(w, x, hi, lo, hi, m.operand, dst[lo:], m.out)
	}
}

// wideLay lays out rows [lo, hi) of attention's output.
func (f *forward) wideLay(w *worker, lo, hi int) {
	f.wideInput(w, f.wide.att, lo, hi, f.att.from(lo*f.wide.att.k))
}

func (f *forward) wideOut(w *worker, unit, _ int) {
	f.wideSum(w, f.l.out, f.wide.att, f.wide.out, unit)
}

// wideSum computes a unit of what is added to the residual stream.
func (f *forward) wideSum(w *worker, m *matrix, x layout, g grid, unit int) {
	row, rows, lo, hi := g.unit(unit)
	f.wideColumns(w, m, x.block(row, rows), lo, hi, f.sum[row*m.out:])
	w.lap(lapProducts)
}

func (f *forward) wideMiddle(w *worker, lo, hi int) {
	d := f.l.s.Hidden
	x := f.e.input(w.feed.input, (hi-lo)*d)
	f.middle(w, x, f.sum[lo*d:hi*d], lo, hi)
	f.wideInput(w, f.wide.x, lo, hi, x)
}

// wideFeed computes and lays out a unit of activations.
func (f *forward) wideFeed(w *worker, unit, _ int) {
	row, rows, lo, hi := f.wide.feed.unit(unit)
	for ; lo < hi; lo += stripWidth {
		f.wideStrip(w, row, rows, lo, min(lo+stripWidth, hi), hi)
	}
}

// wideStrip is columns [lo, hi) of a unit's, which end at last.
func (f *forward) wideStrip(w *worker, row, rows, lo, hi, last int) {
	l, x, width := f.l, f.wide.x.block(row, rows), hi-lo
	gate, up := w.feed.gate.floats(rows*width), w.feed.up.floats(rows*width)
	act := f.e.input(w.feed.act, rows*width)
	f.wide.strips.strip(w, x, last, lo, hi, l.gate.operand, gate, width)
	if l.up != nil {
		f.wide.strips.strip(w, x, last, lo, hi, l.up.operand, up, width)
	}
	w.lap(lapProducts)
	l.activateRows(w, rows, lo, hi, act, width, gate, up)
	f.wide.strips.lay(w, f.wide.act, row, lo, rows, width, act)
	w.lap(lapProducts)
}

func (f *forward) wideDown(w *worker, unit, _ int) {
	f.wideSum(w, f.l.down, f.wide.act, f.wide.down, unit)
}
