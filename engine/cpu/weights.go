package cpu

import (
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// matrix is a linear map's weights [out, in] as products take them: where they
// are mapped, or converted into an arena.
type matrix struct {
	operand
	out, in int
	arena   arena
	copied  bool // into the arena

	turned  *turned   // of a layer for many rows, in place of the above; or nil
	grad    []float32 // [out, in] where it trains, else nil
	trained *trainable
	adapter *adapter // or nil
}

func (x *matrix) shape() shape { return shape{n: x.out, k: x.in} }

// rows returns rows [lo, hi) of the map; the memory stays x's.
func (x *matrix) rows(lo, hi int) *matrix {
	part := &matrix{out: hi - lo, in: x.in, adapter: x.adapter.rows(lo)}
	if x.turned != nil {
		part.turned = &turned{values: x.turned.values.from(lo), pitch: x.turned.pitch}
		return part
	}
	part.operand = x.from(lo * x.in)
	if x.grad != nil {
		part.grad, part.trained = x.grad[lo*x.in:hi*x.in], x.trained
	}
	return part
}

// direct reports whether weights of the dtype are used where they lie.
func (e *Engine) direct(d safetensors.DType) bool {
	if e.half {
		return d == safetensors.BF16
	}
	return d == safetensors.F32 && !e.bf16
}

// view interprets stored weights as an operand without copying, if their dtype
// and alignment allow it.
func (e *Engine) view(raw []byte, d safetensors.DType) (operand, bool) {
	if !e.direct(d) {
		return operand{}, false
	}
	if e.half {
		h, ok := asUint16(raw)
		return operand{bf16: h}, ok
	}
	f, ok := asFloat32(raw)
	return operand{f32: f}, ok
}

// matrix makes a weight resident; of one that trains, t, it uses the values there.
func (e *Engine) matrix(m *model.Model, w model.Weight, t *trainable, a *adapter) (*matrix, error) {
	if t != nil {
		return &matrix{operand: t.weight, out: w.Shape[0], in: w.Shape[1], grad: t.grad, trained: t, adapter: a, copied: true}, nil
	}
	raw, d, err := m.Stored(w)
	if err != nil {
		return nil, err
	}
	x := &matrix{out: w.Shape[0], in: w.Shape[1], adapter: a}
	var ok bool
	if x.operand, ok = e.view(raw, d); ok {
		return x, nil
	}
	x.arena, x.operand, err = e.newArena(x.out * x.in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.Name, err)
	}
	x.copied = true
	err = e.pool.split(x.out, max(1, 1<<18/x.in), 1, func(wk *worker, lo, hi int) {
		e.convert(wk, x.from(lo*x.in), raw[lo*x.in*d.Size():], d, (hi-lo)*x.in)
	})
	return x, err
}

// newArena returns memory for n matrix inputs.
func (e *Engine) newArena(n int) (arena, operand, error) {
	if e.half {
		a, mem, err := arenaOf[uint16](n)
		return a, operand{bf16: mem}, err
	}
	a, mem, err := arenaOf[float32](n)
	return a, operand{f32: mem}, err
}

// convert writes n stored values to dst in the form products take.
func (e *Engine) convert(w *worker, dst operand, raw []byte, d safetensors.DType, n int) {
	if !e.half {
		e.widen(dst.f32[:n], raw, d)
		if e.bf16 && d != safetensors.BF16 {
			roundAll(dst.f32[:n])
		}
		return
	}
	const chunk = 4096
	for at := 0; at < n; at += chunk {
		tmp := w.convert.floats(min(chunk, n-at))
		e.widen(tmp, raw[at*d.Size():], d)
		e.k.pack(dst.bf16[at:], tmp)
	}
}

func (x *matrix) release() {
	if x != nil {
		x.arena.free()
		if x.turned != nil {
			x.turned.arena.free()
			x.turned = nil
		}
		x.operand = operand{}
	}
}

// vector reads a small weight as float32, unrounded, with its offset added; nil
// where the family has none. Of one that trains, it gives the values there, which
// follow them, and the gradient.
func (e *Engine) vector(m *model.Model, from block.Vector, trained *engine.Trained) (v, grad []float32, err error) {
	if !from.Present() {
		return nil, nil, nil
	}
	t, _, err := trainedParts(trained, from.Weight)
	if err != nil {
		return nil, nil, err
	}
	if t != nil {
		last := from.First + from.Len
		return t.plus(from.Offset)[from.First:last:last], t.grad[from.First:last:last], nil
	}
	raw, d, err := m.Stored(from.Weight)
	if err != nil {
		return nil, nil, err
	}
	v = make([]float32, from.Len)
	e.widen(v, raw[from.First*d.Size():], d)
	if from.Offset != 0 {
		for i := range v {
			v[i] += from.Offset
		}
	}
	return v, nil, nil
}

func (e *Engine) elementBytes() int64 {
	if e.half {
		return 2
	}
	return 4
}

// input returns room for n matrix inputs.
func (e *Engine) input(b *buffer, n int) operand {
	if e.half {
		return operand{bf16: b.halves(n)}
	}
	return operand{f32: b.floats(n)}
}

// unpack makes values of matrix inputs again.
func (e *Engine) unpack(dst []float32, src operand) {
	if src.bf16 != nil {
		e.k.widen(dst, src.bf16[:len(dst)])
	} else {
		copy(dst, src.f32)
	}
}

// pack writes values as matrix inputs: copied, rounded or narrowed.
func (e *Engine) pack(dst operand, src []float32) {
	switch {
	case e.half:
		e.k.pack(dst.bf16, src)
	case e.round:
		d := dst.f32[:len(src)]
		for i, v := range src {
			d[i] = fromBF16(roundBF16(v))
		}
	default:
		copy(dst.f32, src)
	}
}
