package cpu

import "github.com/coppice-ml/coppice/engine/block"

// turned is a linear map's weights [in, pitch] as older kernels of libraries
// multiply many rows by them fastest: those for processors without AVX-512 rearrange
// weights [out, in] in every call. Rows lie an odd number of cache lines apart,
// more or less, since powers of two would share few places of the caches.
type turned struct {
	values operand
	pitch  int
	arena  arena
}

// pitchOf is how far apart rows of so many values lie.
func pitchOf(out int) int {
	const line = 16 // values of a cache line
	return (out+line-1)/line*line + line
}

// turns reports whether weights are laid out anew for calls of many rows.
func (e *Engine) turns() bool {
	law, ok := e.mul.(*rowLaw)
	return ok && !e.half && law.quantum(false) > candidates()[0]
}

// turn lays x out for many rows where each of the maps cut out of it keeps its
// bits. What it had before is let go.
func (l *layer) turn(x *matrix, cuts []*block.Linear) error {
	pitch := pitchOf(x.out)
	a, mem, err := arenaOf[float32](x.in * pitch)
	if err != nil {
		return err
	}
	const depth = 128 // at a time, so that what is written stays in cache
	err = l.e.pool.split(x.out, 64, 1, func(_ *worker, lo, hi int) {
		for p := 0; p < x.in; p += depth {
			l.e.k.transpose(mem[p*pitch+lo:], pitch, x.f32[lo*x.in+p:], hi-lo, x.in, min(depth, x.in-p))
		}
	})
	whole := &matrix{out: x.out, in: x.in, turned: &turned{values: operand{f32: mem}, pitch: pitch, arena: a}}
	same := err == nil
	law := l.e.mul.(*rowLaw)
	for _, c := range cuts {
		plain, other := x.rows(c.Row, c.Row+c.Out), whole.rows(c.Row, c.Row+c.Out)
		_ = l.e.pool.each(1, func(w *worker, _ int) { same = same && law.turnedAgrees(w, plain, other) })
	}
	if !same {
		a.free()
		return err
	}
	x.arena.free()
	x.operand, x.turned, x.copied, l.turned = operand{}, whole.turned, true, true
	return nil
}

// many returns the map's weights as calls of many rows take them.
func (x *matrix) many() (shape, operand) {
	if x.turned == nil {
		return x.shape(), x.operand
	}
	return shape{n: x.out, k: x.in, plain: true, pitch: x.turned.pitch}, x.turned.values
}

// turnedAgrees finds out, once for each shape, whether a map laid out for many rows
// gives what it gives as it is stored. Some rows will do: others agree with them.
func (l *rowLaw) turnedAgrees(w *worker, plain, other *matrix) bool {
	const rows = 5
	s, weights := other.many()
	key := shapeKey{s, false}
	l.finding.Lock()
	agrees, known := l.turned[key]
	l.finding.Unlock()
	if known {
		return agrees
	}
	x := noise(rows*plain.in, false, 5)
	want, got := make([]float32, rows*plain.out), make([]float32, rows*plain.out)
	l.product(w, plain.shape(), rows, x, plain.operand, want)
	l.product(w, s, rows, x, weights, got)
	agrees = sameBits(got, want)
	if !agrees || differ(want[:plain.out]) { // weights that are all alike prove nothing for others
		l.finding.Lock()
		l.turned[key] = agrees
		l.finding.Unlock()
	}
	return agrees
}

// transposeRows writes rows of b, stride apart, as columns of panel [depth, pitch].
func transposeRows(panel []float32, pitch int, b []float32, columns, stride, depth int) {
	for j := range columns {
		for i, x := range b[j*stride:][:depth] {
			panel[i*pitch+j] = x
		}
	}
}
