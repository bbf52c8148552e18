package cpu

// Sums over rows, which gradients of weights are, are cut at fixed places: into
// chunks of reduceRows rows, added up in order, and into blocks of reduceBlock
// of the rows of the gradient, which workers take as they come. Where products can be
// added to what memory has, both are larger: memory is gone through once a chunk, and
// what is laid out of x serves a whole block.
const (
	reduceRows  = 512
	reduceBlock = 256
	addRows     = 1024
	addBlock    = 512
)

// reduction adds dyᵀ x to grad [out, in], dy [rows, out], x [rows, in].
type reduction struct {
	trained *trainable
	grad    []float32
	dy, x   operand
	out, in int
	rows    int
	block   int
	empty   bool // grad is, and all of it gets written
}

func (r *reduction) blocks() int { return (r.out + r.block - 1) / r.block }

// reductions are those of a call, as one loop over all their blocks.
type reductions struct {
	e    *Engine
	list []reduction
}

// add lists the gradient of a map, if it trains.
func (r *reductions) add(x *matrix, dy, in operand, rows int) {
	if x.grad == nil || rows <= 0 {
		return
	}
	one := reduction{trained: x.trained, grad: x.grad, dy: dy, x: in, out: x.out, in: x.in, rows: rows, block: reduceBlock}
	if r.e.adder() != nil {
		one.block = addBlock
	}
	r.list = append(r.list, one)
}

// begin finds out which gradients are empty. Where a call does not write all rows of one,
// as of a fused matrix, memory is cleared.
func (r *reductions) begin() {
	for i := range r.list {
		t, rows := r.list[i].trained, 0
		if !t.empty {
			continue
		}
		for j := range r.list {
			if r.list[j].trained == t {
				rows += r.list[j].out
			}
		}
		if rows != t.shape[0] {
			t.fill()
			continue
		}
		t.empty = false
		for j := range r.list {
			r.list[j].empty = r.list[j].empty || r.list[j].trained == t
		}
	}
}

func (r *reductions) blocks() (n int) {
	for i := range r.list {
		n += r.list[i].blocks()
	}
	return n
}

// run computes blocks [lo, hi).
func (r *reductions) run(w *worker, lo, hi int) {
	first := 0
	for i := range r.list {
		one := &r.list[i]
		for b := max(lo, first); b < min(hi, first+one.blocks()); b++ {
			one.run(r.e, w, b-first)
		}
		first += one.blocks()
	}
	w.lap(lapGradients)
}

func (r *reduction) run(e *Engine, w *worker, b int) {
	lo := b * r.block
	m := min(r.block, r.out-lo)
	grad := r.grad[lo*r.in:][:m*r.in]
	if add := e.adder(); add != nil {
		for row := 0; row < r.rows; row += addRows {
			k, how := min(addRows, r.rows-row), writeAdd
			if r.empty && row == 0 {
				how = writePast
			}
			add.reduceInto(w, shape{n: r.in, k: k, stride: r.out}, m, r.dy.from(row*r.out+lo), r.x.from(row*r.in), how, grad)
		}
		return
	}
	part := w.reduce.sum.floats(m * r.in)
	for row := 0; row < r.rows; row += reduceRows {
		k := min(reduceRows, r.rows-row)
		e.mul.reduce(w, shape{n: r.in, k: k, stride: r.out}, m, r.dy.from(row*r.out+lo), r.x.from(row*r.in), part)
		e.k.add(grad, grad, part)
	}
}

// vectorSums are gradients that tiles of rows make one part each of: norms and
// biases, and adapters' small matrices. Parts are added up in the tiles' order.
type vectorSums struct {
	e       *Engine
	targets []vectorSum
	width   int
	parts   []float32 // [tiles, width]
	tiles   int
}

type vectorSum struct {
	grad []float32
	at   int // place in a tile's part
}

// want reserves room for a gradient and returns its place, -1 where grad is nil.
func (v *vectorSums) want(grad []float32) int {
	if grad == nil {
		return -1
	}
	at := v.width
	v.targets = append(v.targets, vectorSum{grad: grad, at: at})
	v.width += len(grad)
	return at
}

// begin empties the parts of so many tiles.
func (v *vectorSums) begin(tiles int) {
	v.tiles = tiles
	v.parts = grow(v.parts, tiles*v.width)
	clear(v.parts)
}

// part is n values of a tile's part from a place on; nil where that is none.
func (v *vectorSums) part(tile, at, n int) []float32 {
	if at < 0 {
		return nil
	}
	return v.parts[tile*v.width+at:][:n]
}

// sumRun is how many values of the sums a worker takes at a time.
const sumRun = 1 << 12

// run adds up values [lo, hi) of the parts.
func (v *vectorSums) run(w *worker, lo, hi int) {
	sum := w.reduce.sum.floats(hi - lo)
	copy(sum, v.parts[lo:hi])
	for t := 1; t < v.tiles; t++ {
		v.e.k.add(sum, sum, v.parts[t*v.width+lo:][:hi-lo])
	}
	for _, t := range v.targets {
		from, to := max(lo, t.at), min(hi, t.at+len(t.grad))
		if from < to {
			grad := t.grad[from-t.at : to-t.at]
			v.e.k.add(grad, grad, sum[from-lo:])
		}
	}
	w.lap(lapGradients)
}
