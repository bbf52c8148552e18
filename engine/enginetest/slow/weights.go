package slow

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// tensor is a stored tensor: frozen values, or a trainable's.
type tensor struct {
	width  int // of a row
	frozen []float64
	input  []float64 // frozen, as products take it
	trains *trainable
}

// tensor brings a stored tensor in.
func (e *Engine) tensor(m *model.Model, w model.Weight, o engine.Options) (*tensor, error) {
	t := &tensor{width: w.Shape[len(w.Shape)-1]}
	if o.Trained != nil && o.Trained.Tensors[w.Name] != nil {
		t.trains = o.Trained.Tensors[w.Name].(*trainable)
		return t, nil
	}
	info, ok := m.Source.Tensor(w.Name)
	if !ok {
		return nil, fmt.Errorf("tensor %s is missing", w.Name)
	}
	raw, err := m.Source.Data(w.Name)
	if err != nil {
		return nil, fmt.Errorf("tensor %s: %w", w.Name, err)
	}
	t.frozen = decode(raw, info.DType)
	if t.input = t.frozen; len(w.Shape) == 2 {
		t.input = e.inputs(t.frozen)
	}
	e.meter.take(t.bytes())
	return t, nil
}

func (t *tensor) bytes() int64 { return int64(len(t.frozen)) * value }

// values are the tensor's, exactly.
func (t *tensor) values() []float64 {
	if t.trains != nil {
		return t.trains.parts[engine.Master]
	}
	return t.frozen
}

// inputs are the values as products take them.
func (t *tensor) inputs(e *Engine) []float64 {
	if t.trains != nil {
		return e.inputs(t.trains.parts[engine.Master])
	}
	return t.input
}

// gradient is where it is added up; nil for a frozen tensor.
func (t *tensor) gradient() []float64 {
	if t.trains == nil {
		return nil
	}
	return t.trains.parts[engine.Gradient]
}

// decode widens stored values.
func decode(raw []byte, d safetensors.DType) []float64 {
	out := make([]float64, 0, len(raw)/d.Size())
	for ; len(raw) > 0; raw = raw[d.Size():] {
		switch d {
		case safetensors.F32:
			out = append(out, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
		case safetensors.BF16:
			out = append(out, float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw))<<16)))
		default: // F16; model.Check refuses others
			out = append(out, half(binary.LittleEndian.Uint16(raw)))
		}
	}
	return out
}

// half is an IEEE half-precision number by its definition.
func half(h uint16) float64 {
	sign, exp, frac := 1-2*float64(h>>15), int(h>>10&31), float64(h&1023)/1024
	if exp == 0 {
		return sign * math.Ldexp(frac, -14)
	}
	return sign * math.Ldexp(1+frac, exp-15)
}

// vector is part of a tensor with something added; nil where the family has none.
type vector struct {
	*tensor
	first, len int
	offset     float64
}

// values are the weights with their offset.
func (v *vector) values() []float64 {
	out := make([]float64, v.len)
	for i, w := range v.tensor.values()[v.first:][:v.len] {
		out[i] = w + v.offset
	}
	return out
}

// add adds to the gradient.
func (v *vector) add(i int, d float64) {
	if g := v.gradient(); g != nil {
		g[v.first+i] += d
	}
}

// linear is a map with its bias and adapter.
type linear struct {
	e       *Engine
	weight  *tensor
	row     int
	out, in int
	bias    *vector
	adapter *adapter
}

// adapter adds scale · B A dropout(x) to a map.
type adapter struct {
	a, b  *trainable
	rank  int
	scale float64
	drop  float32
	key   uint64
}

// apply returns y [n, out] of x [n, in]; mask [n, in], or nil, multiplies what the
// adapter takes.
func (l *linear) apply(x, mask []float64) []float64 {
	n := len(x) / l.in
	xs, w := l.e.inputs(x), l.weight.inputs(l.e)[l.row*l.in:]
	y := make([]float64, n*l.out)
	var bias []float64
	if l.bias != nil {
		bias = l.bias.values()
	}
	parallel(n, func(i int) {
		for o := range l.out {
			y[i*l.out+o] = dot(xs[i*l.in:][:l.in], w[o*l.in:][:l.in])
			if bias != nil {
				y[i*l.out+o] += bias[o]
			}
		}
	})
	if a := l.adapter; a != nil {
		down := multiply(masked(x, mask), a.a.parts[engine.Master], n, a.rank, l.in)
		up := multiply(down, a.b.parts[engine.Master][l.row*a.rank:], n, l.out, a.rank)
		for i, v := range up {
			y[i] += a.scale * v
		}
	}
	return y
}

// back adds to the gradients for y = apply(x) and returns dL/dx of dL/dy.
func (l *linear) back(x, mask, dy []float64) []float64 {
	n := len(x) / l.in
	w := l.weight.inputs(l.e)[l.row*l.in:]
	dx := make([]float64, n*l.in)
	parallel(n, func(i int) {
		for o, d := range dy[i*l.out:][:l.out] {
			addScaled(dx[i*l.in:][:l.in], d, w[o*l.in:][:l.in])
		}
	})
	if g := l.weight.gradient(); g != nil {
		outer(g[l.row*l.in:], dy, x, n, l.out, l.in, 1)
	}
	if l.bias != nil {
		for i, d := range dy {
			l.bias.add(i%l.out, d)
		}
	}
	if l.adapter != nil {
		for i, d := range l.backAdapter(masked(x, mask), dy) {
			if mask != nil {
				d *= mask[i]
			}
			dx[i] += d
		}
	}
	return dx
}

// backAdapter adds to the gradients of A and B and returns dL/d of x, masked.
func (l *linear) backAdapter(x, dy []float64) []float64 {
	a, n := l.adapter, len(x)/l.in
	down := multiply(x, a.a.parts[engine.Master], n, a.rank, l.in)
	outer(a.b.parts[engine.Gradient][l.row*a.rank:], dy, down, n, l.out, a.rank, a.scale)
	back := make([]float64, n*a.rank) // dL/d of what B takes
	for i := range n {
		for o, d := range dy[i*l.out:][:l.out] {
			addScaled(back[i*a.rank:][:a.rank], a.scale*d, a.b.parts[engine.Master][(l.row+o)*a.rank:][:a.rank])
		}
	}
	outer(a.a.parts[engine.Gradient], back, x, n, a.rank, l.in, 1)
	dx := make([]float64, n*l.in)
	for i := range n {
		for r, d := range back[i*a.rank:][:a.rank] {
			addScaled(dx[i*l.in:][:l.in], d, a.a.parts[engine.Master][r*l.in:][:l.in])
		}
	}
	return dx
}

func masked(x, mask []float64) []float64 {
	if mask == nil {
		return x
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v * mask[i]
	}
	return out
}

// multiply is x [n, in] times w [out, in] transposed.
func multiply(x, w []float64, n, out, in int) []float64 {
	y := make([]float64, n*out)
	for i := range n {
		for o := range out {
			y[i*out+o] = dot(x[i*in:][:in], w[o*in:][:in])
		}
	}
	return y
}

// outer adds scale · dyᵀ x to g [out, in], dy [n, out], x [n, in], row after row.
func outer(g, dy, x []float64, n, out, in int, scale float64) {
	parallel(out, func(o int) {
		for i := range n {
			addScaled(g[o*in:][:in], scale*dy[i*out+o], x[i*in:][:in])
		}
	})
}

func addScaled(dst []float64, by float64, x []float64) {
	if by == 0 {
		return
	}
	dst = dst[:len(x)]
	for i, v := range x {
		dst[i] += by * v
	}
}

// parts brings in what a layer is made of, each stored tensor once.
type parts struct {
	e       *Engine
	m       *model.Model
	o       engine.Options
	tensors map[string]*tensor
}

func (p *parts) tensor(w model.Weight) (*tensor, error) {
	if t := p.tensors[w.Name]; t != nil {
		return t, nil
	}
	t, err := p.e.tensor(p.m, w, p.o)
	if err == nil {
		p.tensors[w.Name] = t
	}
	return t, err
}

func (p *parts) vector(v block.Vector) (*vector, error) {
	if !v.Present() {
		return nil, nil
	}
	t, err := p.tensor(v.Weight)
	return &vector{tensor: t, first: v.First, len: v.Len, offset: float64(v.Offset)}, err
}

func (p *parts) linear(l block.Linear) (*linear, error) {
	t, err := p.tensor(l.Weight)
	if err != nil {
		return nil, err
	}
	out := &linear{e: p.e, weight: t, row: l.Row, out: l.Out, in: l.In}
	if p.o.Trained != nil {
		if a, ok := p.o.Trained.Adapters[l.Weight.Name]; ok {
			out.adapter = &adapter{a: a.A.(*trainable), b: a.B.(*trainable), rank: a.A.Shape()[0], scale: float64(a.Scale), drop: a.Dropout, key: engine.DropoutKey(l.Weight.Name)}
		}
	}
	out.bias, err = p.vector(l.Bias)
	return out, err
}
