package cpu

// strips is a multiplier that lays rows out for products, once for many of them.
type strips interface {
	// lay lays out a [m, k], rowTile rows at most, for the strips that follow.
	lay(w *worker, k, m int, a operand)
	// strip sets dst [m, hi-lo] to columns [lo, hi) of what product gives with b [n, k].
	strip(w *worker, n, lo, hi int, b operand, dst []float32)
}

// stripWidth is how many columns of the feed-forward stay in cache between its products
// and the activation.
const stripWidth = 256

// stripped returns the engine's strips, nil where it or the layer has none.
func (f *forward) stripped() strips {
	s, ok := f.e.mul.(strips)
	if !ok || f.l.adapted {
		return nil
	}
	return s
}

// inner sets q, unless it is nil, k and v to the maps of rows of x.
func (f *forward) inner(w *worker, rows int, x operand, at span, q, k, v []float32) {
	l, s := f.l, f.stripped()
	if s != nil {
		s.lay(w, l.s.Hidden, rows, x)
	}
	for _, m := range [...]struct {
		x   *matrix
		dst []float32
	}{{l.query, q}, {l.key, k}, {l.value, v}} {
		switch {
		case m.dst == nil:
		case s != nil:
			s.strip(w, m.x.out, 0, m.x.out, m.x.operand, m.dst)
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
	if s != nil {
		s.lay(w, l.s.Hidden, rows, x)
		width = stripWidth
	}
	product := func(x *matrix, in operand, lo, hi int, dst []float32) {
		if s != nil {
			s.strip(w, ff, lo, hi, x.operand, dst)
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
		for i := range rows {
			at, n := i*(hi-lo), hi-lo
			l.activate(act.from(i*ff+lo), gate[at:][:n], l.factors(up[at:][:n], lo), lo)
		}
		w.lap(lapActivation)
	}
}
