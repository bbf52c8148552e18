package cpu

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

var _ engine.Trainer = (*Engine)(nil)

// trainable implements engine.Trainable.
type trainable struct {
	e     *Engine
	name  string
	shape []int

	master, grad []float32
	// lazy says that emptying the gradient notes so in empty and leaves the memory as it
	// is, for sums over rows to be written over what it has: see fill.
	lazy, empty bool

	first, second moments
	weight        operand // what products take: the master where they take float32
	// shifted are masters plus the offset of a norm, by offset.
	shifted map[float32][]float32
	version int // counts what was published
	arenas  []arena
}

// moments are float32 or, rounded after every step, bfloat16: one of the two, or
// neither where none are kept.
type moments struct {
	f32  []float32
	bf16 []uint16
}

// NewTrainable implements engine.Trainer.
func (e *Engine) NewTrainable(name string, shape []int, o engine.TrainableOptions) (engine.Trainable, error) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	if n < 1 {
		return nil, fmt.Errorf("tensor %s: shape %v has no values to train", name, shape)
	}
	t := &trainable{e: e, name: name, shape: append([]int(nil), shape...), shifted: map[float32][]float32{}, lazy: e.adder() != nil && len(shape) == 2}
	if err := t.allocate(n, o); err != nil {
		t.Release()
		return nil, fmt.Errorf("tensor %s: %w", name, err)
	}
	return t, nil
}

func (t *trainable) allocate(n int, o engine.TrainableOptions) (err error) {
	into := func(xs *[]float32) {
		if err == nil {
			*xs, err = keep[float32](t, n)
		}
	}
	into(&t.master)
	into(&t.grad)
	switch {
	case o.NoMoments:
	case o.Moments == engine.BFloat16:
		if t.first.bf16, err = keep[uint16](t, n); err == nil {
			t.second.bf16, err = keep[uint16](t, n)
		}
	default:
		into(&t.first.f32)
		into(&t.second.f32)
	}
	switch {
	case err != nil || len(t.shape) < 2 || !t.e.bf16:
		t.weight.f32 = t.master
	case t.e.half:
		t.weight.bf16, err = keep[uint16](t, n)
	default:
		into(&t.weight.f32)
	}
	return err
}

// keep allocates what lives as long as the tensor.
func keep[T float32 | uint16](t *trainable, n int) ([]T, error) {
	a, mem, err := arenaOf[T](n)
	if err == nil {
		t.arenas = append(t.arenas, a)
	}
	return mem, err
}

func (t *trainable) Name() string { return t.name }
func (t *trainable) Shape() []int { return t.shape }

// ZeroGrad implements engine.Trainable.
func (t *trainable) ZeroGrad() {
	if t.empty = t.lazy; !t.lazy {
		clear(t.grad)
	}
}

// fill clears what an empty gradient's memory has. All who add to a matrix's gradient or
// read it call it first, but those who begin with writing all of it.
func (t *trainable) fill() {
	if t.empty {
		t.empty = false
		_ = t.split(context.Background(), len(t.grad), func(_ *worker, lo, hi int) { clear(t.grad[lo:hi]) })
	}
}

func (t *trainable) Release() {
	for i := range t.arenas {
		t.arenas[i].free()
	}
	*t = trainable{e: t.e, name: t.name, shape: t.shape}
}

// Read implements engine.Trainable.
func (t *trainable) Read(ctx context.Context, p engine.Part, at int, dst []float32) error {
	t.fill()
	f32, bf16, err := t.part(p, at, len(dst))
	if err != nil {
		return err
	}
	return t.split(ctx, len(dst), func(_ *worker, lo, hi int) {
		if bf16 != nil {
			t.e.k.widen(dst[lo:hi], bf16[lo:hi])
		} else {
			copy(dst[lo:hi], f32[lo:hi])
		}
	})
}

// Write implements engine.Trainable.
func (t *trainable) Write(ctx context.Context, p engine.Part, at int, src []float32) error {
	t.fill()
	f32, bf16, err := t.part(p, at, len(src))
	if err != nil {
		return err
	}
	err = t.split(ctx, len(src), func(_ *worker, lo, hi int) {
		if bf16 != nil {
			t.e.k.pack(bf16[lo:hi], src[lo:hi])
		} else {
			copy(f32[lo:hi], src[lo:hi])
		}
		if p == engine.Master {
			t.publish(at+lo, at+hi)
		}
	})
	t.version++
	return err
}

// part is the memory of values [at, at+n) of a part in the dtype it is kept in.
func (t *trainable) part(p engine.Part, at, n int) (f32 []float32, bf16 []uint16, err error) {
	switch p {
	case engine.Master:
		f32 = t.master
	case engine.Gradient:
		f32 = t.grad
	case engine.FirstMoment:
		f32, bf16 = t.first.f32, t.first.bf16
	case engine.SecondMoment:
		f32, bf16 = t.second.f32, t.second.bf16
	}
	if have := len(f32) + len(bf16); at < 0 || at+n > have {
		return nil, nil, fmt.Errorf("tensor %s: part %d has %d values, not %d from %d on", t.name, p, have, n, at)
	}
	if bf16 != nil {
		return nil, bf16[at : at+n], nil
	}
	return f32[at : at+n], nil, nil
}

// trainRun is how many values a worker takes at a time; sums are cut there too.
const trainRun = 1 << 15

// split runs f over n values in runs of trainRun, or says why not.
func (t *trainable) split(ctx context.Context, n int, f func(w *worker, lo, hi int)) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return t.e.pool.each((n+trainRun-1)/trainRun, func(w *worker, i int) { f(w, i*trainRun, min((i+1)*trainRun, n)) })
}

// publish makes what others use of masters [lo, hi).
func (t *trainable) publish(lo, hi int) {
	switch {
	case t.weight.bf16 != nil:
		t.e.k.pack(t.weight.bf16[lo:hi], t.master[lo:hi])
	case &t.weight.f32[0] != &t.master[0]:
		copy(t.weight.f32[lo:hi], t.master[lo:hi])
		roundAll(t.weight.f32[lo:hi])
	}
	for offset, values := range t.shifted {
		for i := lo; i < hi; i++ {
			values[i] = t.master[i] + offset
		}
	}
}

// plus returns the masters plus an offset, kept up to date.
func (t *trainable) plus(offset float32) []float32 {
	if offset == 0 {
		return t.master
	}
	if t.shifted[offset] == nil {
		values := make([]float32, len(t.master))
		for i, v := range t.master {
			values[i] = v + offset
		}
		t.shifted[offset] = values
	}
	return t.shifted[offset]
}

// GradSquares implements engine.Trainable.
func (t *trainable) GradSquares(ctx context.Context) (float64, error) {
	t.fill()
	sums := make([]float64, (len(t.grad)+trainRun-1)/trainRun)
	err := t.split(ctx, len(t.master), func(w *worker, lo, hi int) {
		sums[lo/trainRun] = t.e.k.sumSquares(t.grad[lo:hi])
		w.lap(lapOptimizer)
	})
	var total float64
	for _, s := range sums {
		total += s
	}
	return total, err
}

// Step implements engine.Trainable.
func (t *trainable) Step(ctx context.Context, o engine.AdamW) error {
	if t.first.f32 == nil && t.first.bf16 == nil {
		return fmt.Errorf("tensor %s keeps no moments, so that it has no steps", t.name)
	}
	t.fill()
	s := newAdamStep(o)
	err := t.split(ctx, len(t.master), func(w *worker, lo, hi int) {
		p, g := t.master[lo:hi], t.grad[lo:hi]
		if t.first.bf16 == nil {
			t.e.k.adamW(p, g, t.first.f32[lo:hi], t.second.f32[lo:hi], &s)
		} else {
			m, v := w.step.first.floats(len(p)), w.step.second.floats(len(p))
			t.e.k.widen(m, t.first.bf16[lo:hi])
			t.e.k.widen(v, t.second.bf16[lo:hi])
			t.e.k.adamW(p, g, m, v, &s)
			t.e.k.pack(t.first.bf16[lo:hi], m)
			t.e.k.pack(t.second.bf16[lo:hi], v)
		}
		if !t.lazy {
			clear(g)
		}
		t.publish(lo, hi)
		w.lap(lapOptimizer)
	})
	t.empty = t.lazy && err == nil
	t.version++
	return err
}

func newAdamStep(o engine.AdamW) adamStep {
	t := float64(o.Step)
	return adamStep{
		gradScale: float32(o.GradScale), decay: float32(1 - o.LR*o.WeightDecay),
		beta1: float32(o.Beta1), rest1: float32(1 - o.Beta1), beta2: float32(o.Beta2), rest2: float32(1 - o.Beta2),
		root2: float32(math.Sqrt(1 - math.Pow(o.Beta2, t))), eps: float32(o.Eps), rate: float32(o.LR / (1 - math.Pow(o.Beta1, t))),
	}
}

// trainedParts finds what trains of a weight: itself, an adapter of its own.
func trainedParts(trained *engine.Trained, w model.Weight) (*trainable, *adapter, error) {
	if trained == nil {
		return nil, nil, nil
	}
	var t *trainable
	if x, ok := trained.Tensors[w.Name]; ok {
		if t, ok = x.(*trainable); !ok || !slices.Equal(t.shape, w.Shape) {
			return nil, nil, fmt.Errorf("tensor %s: what trains has shape %v, or is another engine's; want %v", w.Name, x.Shape(), w.Shape)
		}
	}
	a, ok := trained.Adapters[w.Name]
	if !ok {
		return t, nil, nil
	}
	adapter, err := newAdapter(w, a)
	return t, adapter, err
}
