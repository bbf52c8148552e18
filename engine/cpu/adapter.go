package cpu

import (
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// adapter is the low-rank addition to a linear map, or to the part of a fused
// one: scale · B A dropout(x), B taken from a row on.
type adapter struct {
	a, b    *trainable // [r, in], [out, r]
	scale   float32
	dropout float32
	key     uint64
	row     int
}

func newAdapter(w model.Weight, x engine.Adapter) (*adapter, error) {
	a, okA := x.A.(*trainable)
	b, okB := x.B.(*trainable)
	if !okA || !okB {
		return nil, fmt.Errorf("tensor %s: its adapter is another engine's", w.Name)
	}
	if len(w.Shape) != 2 || len(a.shape) != 2 || len(b.shape) != 2 || a.shape[1] != w.Shape[1] || b.shape[0] != w.Shape[0] || a.shape[0] != b.shape[1] {
		return nil, fmt.Errorf("tensor %s of shape %v: an adapter of shapes %v and %v does not fit", w.Name, w.Shape, a.shape, b.shape)
	}
	return &adapter{a: a, b: b, scale: x.Scale, dropout: x.Dropout, key: engine.DropoutKey(w.Name)}, nil
}

func (a *adapter) rank() int { return a.a.shape[0] }

// up is B's part [out, r].
func (a *adapter) up() operand { return a.b.weight.from(a.row * a.rank()) }

// rows returns the adapter of a map's rows from one on.
func (a *adapter) rows(from int) *adapter {
	if a == nil {
		return nil
	}
	part := *a
	part.row += from
	return &part
}

// span is a run of rows of a call, from the lo-th of a list on; of all rows where
// there is no list.
type span struct {
	list []int
	lo   int
}

func (s span) token(i int) int {
	if s.list == nil {
		return s.lo + i
	}
	return s.list[s.lo+i]
}

// linear sets dst [n, out] to the map of n rows of in, adapter included.
func (f *forward) linear(w *worker, x *matrix, n int, in operand, at span, dst []float32) {
	s, weights := x.many()
	f.e.mul.product(w, s, n, in, weights, dst)
	f.adapt(w, x, n, in, at, dst)
}

// filled is linear for chunks that are cut at multiples of the quantum, in memory
// with room for whole ones: only the last has rows beyond n, which are nobody's.
func (f *forward) filled(w *worker, x *matrix, n int, in operand, at span, dst []float32) {
	s, weights := x.many()
	f.e.mul.filled(w, s, n, f.e.room(n), in, weights, dst)
	f.adapt(w, x, n, in, at, dst)
}

// adapt adds what a map's adapter makes of its input.
func (f *forward) adapt(w *worker, x *matrix, n int, in operand, at span, dst []float32) {
	if x.adapter == nil {
		return
	}
	a := x.adapter
	low, s := f.down(w, x, n, f.dropped(w, x, n, in, at)), shape{n: x.out, k: a.rank()}
	if add := f.e.adder(); add != nil {
		add.productInto(w, s, n, 0, x.out, low, a.up(), writeAdd, dst)
		return
	}
	part := w.adapter.part.floats(n * x.out)
	f.e.mul.product(w, s, n, low, a.up(), part)
	f.e.k.add(dst[:n*x.out], dst[:n*x.out], part)
}

// down is scale · A x [n, r] as matrix input.
func (f *forward) down(w *worker, x *matrix, n int, in operand) operand {
	a := x.adapter
	values := w.adapter.low.floats(n * a.rank())
	f.e.mul.product(w, shape{n: a.rank(), k: x.in}, n, in, a.a.weight, values)
	return f.scaled(w.adapter.low, values[:n*a.rank()], a.scale)
}

// scaled multiplies values [n, r] and makes them matrix input.
func (f *forward) scaled(b *buffer, values []float32, by float32) operand {
	f.e.k.scale(values, by)
	if !f.e.half {
		if f.e.round {
			f.e.pack(operand{f32: values}, values)
		}
		return operand{f32: values}
	}
	o := operand{bf16: b.halves(len(values))}
	f.e.k.pack(o.bf16, values)
	return o
}

// dropped is what the adapter of a map sees of its input.
func (f *forward) dropped(w *worker, x *matrix, n int, in operand, at span) operand {
	if !f.drops(x) {
		return in
	}
	out, mask := f.e.input(w.adapter.dropped, n*x.in), w.adapter.mask.floats(x.in)
	for i := range n {
		f.mask(mask, x, at.token(i))
		f.drop(w, out.from(i*x.in), in.from(i*x.in), mask)
	}
	return out
}

// drop multiplies a row of input by a mask.
func (f *forward) drop(w *worker, dst, in operand, mask []float32) {
	row := w.row.floats(len(mask))
	f.e.unpack(row, in)
	f.e.k.norm(row, row, mask, 1)
	f.e.pack(dst, row)
}

// drops says whether values of a map's input are dropped.
func (f *forward) drops(x *matrix) bool {
	return f.dropout != nil && x.adapter != nil && x.adapter.dropout != 0
}

// mask is what the input of a map's adapter is multiplied by in a token's row.
func (f *forward) mask(dst []float32, x *matrix, token int) {
	a, d := x.adapter, f.dropout
	limit, stays := float32(uint64(float64(a.dropout)*(1<<24))), 1/(1-a.dropout)
	f.e.k.mask(dst, d.Counter(a.key, d.Samples[f.segments[token]], f.b.Positions[token]), limit, stays)
}

// masks are what n rows of the input of a map's adapter are multiplied by, nil
// where nothing is dropped. They are good until the next call.
func (f *forward) masks(w *worker, x *matrix, n int, at span) []float32 {
	if !f.drops(x) {
		return nil
	}
	masks := w.adapter.mask.floats(n * x.in)
	for i := range n {
		f.mask(masks[i*x.in:][:x.in], x, at.token(i))
	}
	return masks
}

// lowBack is what the gradients of an adapter are made of, beside its input.
type lowBack struct {
	low   operand   // [n, r] gradient of A x
	masks []float32 // [n, in] or nil
}

// linearBack adds to dx [n, in] the gradient of a map's input, of dy [n, out] as
// matrix input; dx is set where it is the first to be added to, and nil where it
// is not wanted. What it returns is good until the next call.
func (f *forward) linearBack(w *worker, x *matrix, n int, dy operand, at span, dx []float32, first bool) lowBack {
	s := shape{n: x.in, k: x.out, plain: true}
	add := f.e.adder()
	switch {
	case dx == nil:
	case first:
		f.e.mul.product(w, s, n, dy, x.operand, dx)
	case add != nil:
		add.productInto(w, s, n, 0, x.in, dy, x.operand, writeAdd, dx)
	default:
		part := w.adapter.part.floats(n * x.in)
		f.e.mul.product(w, s, n, dy, x.operand, part)
		f.e.k.add(dx[:n*x.in], dx[:n*x.in], part)
	}
	return f.adapterBack(w, x, n, dy, at, dx)
}

// adapterBack is linearBack for the map's adapter alone.
func (f *forward) adapterBack(w *worker, x *matrix, n int, dy operand, at span, dx []float32) (b lowBack) {
	if x.adapter == nil {
		return b
	}
	b.low, b.masks = f.upBack(w, x, n, dy), f.masks(w, x, n, at)
	if dx == nil {
		return b
	}
	s := shape{n: x.in, k: x.adapter.rank(), plain: true}
	if add := f.e.adder(); add != nil && b.masks == nil {
		add.productInto(w, s, n, 0, x.in, b.low, x.adapter.a.weight, writeAdd, dx)
		return b
	}
	part := w.adapter.part.floats(n * x.in)
	f.e.mul.product(w, s, n, b.low, x.adapter.a.weight, part)
	if b.masks != nil {
		f.e.k.addProduct(dx[:n*x.in], part, b.masks, 1)
	} else {
		f.e.k.add(dx[:n*x.in], dx[:n*x.in], part)
	}
	return b
}

// upBack is the gradient [n, r] of A x as matrix input: scale · dy B.
func (f *forward) upBack(w *worker, x *matrix, n int, dy operand) operand {
	a := x.adapter
	values := w.adapter.lowBack.floats(n * a.rank())
	f.e.mul.product(w, shape{n: a.rank(), k: x.out, plain: true}, n, dy, a.up(), values)
	return f.scaled(w.adapter.lowBack, values[:n*a.rank()], a.scale)
}

// adapterGrads sets da [r, in] and db [out, r] to what n rows of in and dy give.
func (f *forward) adapterGrads(w *worker, x *matrix, n int, in, dy operand, b lowBack, da, db []float32) {
	r := x.adapter.rank()
	seen := in
	if b.masks != nil {
		seen = f.e.input(w.adapter.dropped, n*x.in)
		for i := range n {
			f.drop(w, seen.from(i*x.in), in.from(i*x.in), b.masks[i*x.in:][:x.in])
		}
	}
	f.e.mul.reduce(w, shape{n: r, k: n, stride: x.out}, x.out, dy, f.down(w, x, n, seen), db)
	f.e.mul.reduce(w, shape{n: x.in, k: n, stride: r}, r, b.low, seen, da)
}
