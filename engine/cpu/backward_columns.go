package cpu

// loop is what a phase goes through.
type loop struct{ n, step int }

// runs are the phases, those of loops.
func (b *backward) runs() []func(*worker, int, int) {
	c := &b.columns
	return []func(*worker, int, int){
		b.feedForward, b.outputs, c.down.run, c.gates, c.feed.run, c.between, c.out.run, c.outputs,
		b.attend, b.inherit, b.queries,
		b.inputs, b.heads, c.in.run, c.inputs,
		b.weights.run, b.sums.run,
	}
}

// loops are those of n rows of which m are wanted. Products go row by row with what is
// around them, or all rows together by columns.
func (b *backward) loops(n, m int) []loop {
	segments := len(b.f.b.Segments)
	feed, inputs := loop{m, b.tile}, loop{n, b.tile}
	columns := b.columns.loops(n, m)
	if columns.used {
		feed.n, inputs.n = 0, 0
	}
	heirs, queries := loop{segments, 1}, loop{m, b.tile}
	if b.f.rows == nil {
		queries.n = 0
	}
	if !b.heirs.any {
		heirs.n = 0
	}
	c := columns
	return []loop{
		feed, c.rows, c.down, c.rows, c.feed, c.rows, c.out, c.outputs,
		{segments * b.l.s.KVHeads, 1}, heirs, queries,
		inputs, c.all, c.in, c.inputs,
		{b.weights.blocks(), 1}, {b.sums.width, sumRun},
	}
}

// byColumns goes back through a layer's products by columns, where the multiplier adds to
// what it writes: what is laid out of weights then serves all rows, not a tile of them,
// and workers share the weights. What is between products goes row by row.
type byColumns struct {
	b             *backward
	dact          []float32 // [M, F]
	dinput        []float32 // [N, D] of the feed-forward's input, then of the projections'
	down, feed    columnProducts
	out, in       columnProducts
	feeds, inward []float32 // where feed and in write
}

// columnLoops are the loops of products by columns, and of what is before and after them.
type columnLoops struct {
	used                                            bool
	rows, down, feed, out, outputs, all, in, inputs loop
}

func (c *byColumns) loops(n, m int) (p columnLoops) {
	b := c.b
	l, s := b.l, b.l.s
	if b.e.adder() == nil {
		return p
	}
	c.dact, c.dinput = grow(c.dact, m*s.FF), grow(c.dinput, n*s.Hidden)
	c.feeds = c.dinput
	if s.Parallel {
		c.feeds = b.dnormed
	}
	p.used, p.rows, p.all, p.inputs = true, loop{m, b.tile}, loop{n, b.tile}, loop{n, b.tile}
	p.down = c.down.of(b.e, m, c.dact, columnMap{l.down, b.dz})
	p.feed = c.feed.of(b.e, m, c.feeds, columnMap{l.gate, b.dg}, columnMap{l.up, b.du})
	p.out = c.out.of(b.e, m, b.datt, columnMap{l.out, b.ds})
	if l.out.adapter != nil {
		p.outputs = p.rows
	}
	query := columnMap{l.query, b.pq}
	if b.f.rows != nil {
		query.x = nil // see queries
	}
	p.in = c.in.of(b.e, n, c.dinput, columnMap{l.key, b.pk}, columnMap{l.value, b.pv}, query)
	if !b.wantsInputs() {
		p.in.n = 0
	}
	return p
}

func (c *byColumns) forget() {
	for _, p := range []*columnProducts{&c.down, &c.feed, &c.out, &c.in} {
		clear(p.maps[:])
	}
}

// gates is backward.gates after the product of rows [lo, hi).
func (c *byColumns) gates(w *worker, lo, hi int) {
	b := c.b
	dact := c.dact[lo*b.l.s.FF : hi*b.l.s.FF]
	low := b.f.adapterBack(w, b.l.down, hi-lo, b.dz.from(lo*b.l.s.Hidden), b.f.span(lo), dact)
	w.lap(lapProducts)
	b.gates(w, dact, low, lo, hi)
}

// between is backward.between after the products.
func (c *byColumns) between(w *worker, lo, hi int) {
	b := c.b
	d, ff, at := b.l.s.Hidden, b.l.s.FF, b.f.span(lo)
	dm := c.feeds[lo*d : hi*d]
	b.adapters(w, b.l.gate, hi-lo, b.normed.from(lo*d), b.dg.from(lo*ff), at, dm, lo/b.tile, b.at.gateLow)
	if b.l.up != nil {
		b.adapters(w, b.l.up, hi-lo, b.normed.from(lo*d), b.du.from(lo*ff), at, dm, lo/b.tile, b.at.upLow)
	}
	b.between(w, dm, lo, hi)
}

// outputs is the adapter of the attention's output.
func (c *byColumns) outputs(w *worker, lo, hi int) {
	b, att := c.b, lo*c.b.l.out.in
	b.adapters(w, b.l.out, hi-lo, b.t.att.from(att), b.ds.from(lo*b.l.s.Hidden), b.f.span(lo), b.datt[att:], lo/b.tile, b.at.outLow)
}

// inputs is backward.inputs after the products.
func (c *byColumns) inputs(w *worker, lo, hi int) {
	b, l, d, n, at := c.b, c.b.l, c.b.l.s.Hidden, hi-lo, span{lo: lo}
	tile, x := lo/b.tile, b.x.from(lo*d)
	var da []float32
	if b.wantsInputs() {
		da = c.dinput[lo*d : hi*d]
	}
	b.adapters(w, l.key, n, x, b.pk.from(lo*l.key.out), at, da, tile, b.at.keyLow)
	b.adapters(w, l.value, n, x, b.pv.from(lo*l.value.out), at, da, tile, b.at.valueLow)
	if b.f.rows == nil {
		b.adapters(w, l.query, n, x, b.pq.from(lo*l.query.out), at, da, tile, b.at.queryLow)
	}
	if da != nil {
		b.residual(w, tile, da, lo, hi)
		w.lap(lapNorms)
	}
}

// adapters is mapBack for the map's adapter alone.
func (b *backward) adapters(w *worker, x *matrix, n int, in, dy operand, at span, dx []float32, tile int, place [2]int) {
	if x.adapter == nil {
		return
	}
	low := b.f.adapterBack(w, x, n, dy, at, dx)
	w.lap(lapProducts)
	b.low(w, x, n, in, dy, low, tile, place)
}

// columnProducts is the sum of what maps give their common input, [rows, in]. A unit of
// work is rowTile of its columns, of as many rows as leave each worker some units.
type columnProducts struct {
	add   adder
	maps  [3]columnMap
	dst   []float32
	rows  int
	group int // of rows
}

// columnMap is a map, or none, and its output's gradient.
type columnMap struct {
	x  *matrix
	dy operand
}

// of sets the products up; it returns the loop over their units.
func (p *columnProducts) of(e *Engine, rows int, dst []float32, maps ...columnMap) loop {
	p.add, p.rows, p.dst = e.adder(), rows, dst
	clear(p.maps[copy(p.maps[:], maps):])
	panels := (p.in() + rowTile - 1) / rowTile
	for p.group = addRows; p.group > rowTile && panels*p.groups() < 2*len(e.pool.workers); {
		p.group /= 2
	}
	return loop{panels * p.groups(), 1}
}

func (p *columnProducts) in() int     { return p.maps[0].x.in }
func (p *columnProducts) groups() int { return (p.rows + p.group - 1) / p.group }

// run computes units [lo, hi).
func (p *columnProducts) run(w *worker, lo, hi int) {
	in := p.in()
	for unit := lo; unit < hi; unit++ {
		column, row, how := unit/p.groups()*rowTile, unit%p.groups()*p.group, writeOver
		for _, m := range p.maps {
			if m.x == nil {
				continue
			}
			s := shape{n: in, k: m.x.out, plain: true}
			p.add.productInto(w, s, min(p.group, p.rows-row), column, min(column+rowTile, in), m.dy.from(row*m.x.out), m.x.operand, how, p.dst[row*in:])
			how = writeAdd
		}
	}
	w.lap(lapProducts)
}
