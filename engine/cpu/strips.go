package cpu

// strips is a multiplier that lays rows out for products, once for many of them.
type strips interface {
	// lay lays out columns [column, column+width) of rows [row, row+m), given as a
	// [m, width]. Parts begin at multiples of tileEdge rows and of tileStep columns, and
	// end at such or with the layout; workers may lay out several at a time.
	lay(w *worker, x layout, row, column, m, width int, a operand)
	// strip sets columns [lo, hi) of what product gives with b [n, k] of all rows,
	// rowTile at most, in dst, whose rows are pitch apart and whose first value is of
	// column lo. Of b, what stands behind hi is asked for ahead.
	strip(w *worker, x layout, n, lo, hi int, b operand, dst []float32, pitch int)
}

// layout is rows [rows, k] as strips take them.
type layout struct {
	rows, k int
	values  []uint16
}

// layoutSize is how many values a layout has.
func layoutSize(rows, k int) int { return roundUp(rows, tilePair) * roundUp(k, tileStep) }

// newLayout is of so many rows, in memory that has room for them.
func newLayout(rows, k int, memory []uint16) layout {
	return layout{rows, k, memory[:layoutSize(rows, k)]}
}

// block is rows [row, row+rows), row being a multiple of tilePair, and row+rows too
// unless it is the end.
func (x layout) block(row, rows int) layout {
	return newLayout(rows, x.k, x.values[layoutSize(row, x.k):])
}

// stripWidth is how many columns of the feed-forward stay in cache between its products
// and the activation.
const stripWidth = 256

// stripped returns the engine's strips, nil where it or the layer has none.
func (f *forward) stripped() strips {
	s, _ := f.e.mul.(strips)
	if f.l.adapted {
		return nil
	}
	return s
}

// laidRows lays out a [rows, k] in the worker's memory, where there are strips.
func laidRows(w *worker, s strips, rows, k int, a operand) (x layout) {
	if s != nil {
		x = newLayout(rows, k, w.product.columns.halves(layoutSize(rows, k)))
		s.lay(w, x, 0, 0, rows, k, a)
	}
	return x
}

// inner sets q, unless it is nil, k and v to the maps of rows of x.
func (f *forward) inner(w *worker, rows int, x operand, at span, q, k, v []float32) {
	l, s := f.l, f.stripped()
	laid := laidRows(w, s, rows, l.s.Hidden, x)
	for _, m := range [...]struct {
		x   *matrix
		dst []float32
	}{{l.query, q}, {l.key, k}, {l.value, v}} {
		switch {
		case m.dst == nil:
		case s != nil:
			s.strip(w, laid, m.x.out, 0, m.x.out, m.x.operand, m.dst, m.x.out)
		default:
			f.filled(w, m.x, rows, x, at, m.dst)
		}
	}
	w.lap(lapProducts)
}

// feed writes what goes into the feed-forward's last map: activations of rows of x, of
// which gate and up are room for the products.
func (f *forward) feed(w *worker, rows int, x operand, at span, gate, up []float32, act operand) {
	l, ff, width := f.l, f.l.s.FF, f.l.s.FF
	s := f.stripped()
	laid := laidRows(w, s, rows, l.s.Hidden, x)
	if s != nil {
		width = stripWidth
	}
	product := func(x *matrix, in operand, lo, hi int, dst []float32) {
		if s != nil {
			s.strip(w, laid, ff, lo, hi, x.operand, dst, hi-lo)
		} else {
			f.filled(w, x, rows, in, at, dst)
		}
	}
	for lo := 0; lo < ff; lo += width {
		hi := min(lo+width, ff)
		product(l.gate, x, lo, hi, gate)
		if l.up != nil {
			product(l.up, x, lo, hi, up)
		}
		w.lap(lapProducts)
		l.activateRows(w, rows, lo, hi, act.from(lo), ff, gate, up)
	}
}

// activateRows writes activations of columns [lo, hi) of so many rows, pitch apart, of
// which gate and up are the products.
func (l *layer) activateRows(w *worker, rows, lo, hi int, act operand, pitch int, gate, up []float32) {
	for i := range rows {
		at, n := i*(hi-lo), hi-lo
		l.activate(act.from(i*pitch), gate[at:][:n], l.factors(up[at:][:n], lo), lo)
	}
	w.lap(lapActivation)
}
