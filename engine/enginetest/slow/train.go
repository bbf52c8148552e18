package slow

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
)

// embedding is the table.
type embedding struct {
	e         *Engine
	s         *model.Spec
	table     *tensor
	positions *tensor // nil where they are not learned
}

// Embedding implements engine.Engine.
func (e *Engine) Embedding(m *model.Model, o engine.EmbeddingOptions) (engine.Embedding, error) {
	t, err := e.tensor(m, block.EmbeddingOf(m.Spec), o.Options)
	x := &embedding{e: e, s: m.Spec, table: t}
	if w, ok := block.PositionsOf(m.Spec); ok && err == nil {
		x.positions, err = e.tensor(m, w, o.Options)
	}
	return x, err
}

func (x *embedding) Release() {
	x.e.drain()
	x.e.meter.take(-x.table.bytes())
	x.table = &tensor{}
	if x.positions != nil {
		x.e.meter.take(-x.positions.bytes())
		x.positions = &tensor{}
	}
}

// Forward implements engine.Embedding.
func (x *embedding) Forward(ctx context.Context, b *engine.Batch, y engine.Hidden) error {
	tokens, d := slices.Clone(b.Tokens), x.s.Hidden
	out, places, err := x.e.states(y, len(tokens), d), slices.Clone(b.Positions), x.reach(b)
	if err != nil {
		return err
	}
	return x.e.enqueue(ctx, task{name: "Embedding.Forward", in: x.faults(), out: []faults{out.faults}, do: func() error {
		clear(out.v)
		for i, token := range tokens {
			addScaled(out.v[i*d:][:d], x.s.EmbedScale, x.table.values()[int(token)*d:][:d])
			if x.positions != nil {
				addScaled(out.v[i*d:][:d], 1, x.positions.values()[(int(places[i])+x.s.PositionOffset)*d:][:d])
			}
		}
		return nil
	}})
}

// reach refuses positions past those that were learned.
func (x *embedding) reach(b *engine.Batch) error {
	if x.positions == nil {
		return nil
	}
	return b.Reach(x.s.MaxPositions)
}

func (x *embedding) faults() (all []faults) {
	for _, t := range []*tensor{x.table, x.positions} {
		if t != nil && t.trains != nil {
			all = append(all, t.trains.weight)
		}
	}
	return all
}

// Backward implements engine.TrainEmbedding.
func (x *embedding) Backward(ctx context.Context, b *engine.Batch, dy engine.Hidden) error {
	tokens, d := slices.Clone(b.Tokens), x.s.Hidden
	from, t, places := x.e.states(dy, len(tokens), d), task{name: "Embedding.Backward"}, slices.Clone(b.Positions)
	for _, part := range []*tensor{x.table, x.positions} {
		if part != nil && part.trains != nil {
			t.in, t.out = append(t.in, from.faults, part.trains.grad), append(t.out, part.trains.grad)
		}
	}
	t.do = func() error {
		if x.positions != nil && x.positions.trains != nil {
			for i, p := range places {
				addScaled(x.positions.gradient()[(int(p)+x.s.PositionOffset)*d:][:d], 1, from.v[i*d:][:d])
			}
		}
		if g := x.table.gradient(); g != nil {
			for i, token := range tokens {
				addScaled(g[int(token)*d:][:d], x.s.EmbedScale, from.v[i*d:][:d])
			}
		}
		return nil
	}
	return x.e.enqueue(ctx, t)
}

// trainable is a tensor that trains.
type trainable struct {
	e            *Engine
	name         string
	shape        []int
	o            engine.TrainableOptions
	parts        map[engine.Part][]float64
	weight, grad faults
}

// NewTrainable implements engine.Trainer.
func (e *Engine) NewTrainable(name string, shape []int, o engine.TrainableOptions) (engine.Trainable, error) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	t := &trainable{e: e, name: name, shape: slices.Clone(shape), o: o, parts: map[engine.Part][]float64{}, weight: make(faults, 1), grad: make(faults, 1)}
	all := []engine.Part{engine.Master, engine.Gradient, engine.FirstMoment, engine.SecondMoment}
	if o.NoMoments {
		all = all[:2]
	}
	for _, p := range all {
		t.parts[p] = make([]float64, n)
	}
	e.meter.take(t.bytes())
	return t, nil
}

func (t *trainable) bytes() int64 {
	n := 0
	for _, p := range t.parts {
		n += len(p)
	}
	return int64(n) * value
}

func (t *trainable) Name() string { return t.name }
func (t *trainable) Shape() []int { return slices.Clone(t.shape) }

func (t *trainable) Release() {
	t.e.drain()
	t.e.meter.take(-t.bytes())
	t.parts = nil
}

// of is the fault of a part.
func (t *trainable) of(p engine.Part) faults {
	if p == engine.Gradient {
		return t.grad
	}
	return t.weight
}

// part finds an array of the right length.
func (t *trainable) part(p engine.Part, at, n int) ([]float64, error) {
	v, ok := t.parts[p]
	if !ok {
		return nil, fmt.Errorf("%s: part %d is not kept", t.name, p)
	}
	if at < 0 || at+n > len(v) {
		panic(fmt.Sprintf("slow: %d values for %s %v", n, t.name, t.shape))
	}
	return v[at : at+n], nil
}

// Read implements engine.Trainable.
func (t *trainable) Read(ctx context.Context, p engine.Part, at int, dst []float32) error {
	v, err := t.part(p, at, len(dst))
	if err != nil {
		return err
	}
	out := make([]float32, len(dst))
	err = t.e.await(ctx, task{name: "Trainable.Read", in: []faults{t.of(p)}, do: func() error {
		for i, x := range v {
			out[i] = float32(x)
		}
		return nil
	}})
	if err == nil {
		copy(dst, out)
	}
	return err
}

// Write implements engine.Trainable.
func (t *trainable) Write(ctx context.Context, p engine.Part, at int, src []float32) error {
	v, err := t.part(p, at, len(src))
	if err != nil {
		return err
	}
	in := slices.Clone(src)
	return t.e.enqueue(ctx, task{name: "Trainable.Write", out: []faults{t.of(p)}, do: func() error {
		for i, x := range in {
			v[i] = t.kept(p, float64(x))
		}
		return nil
	}})
}

// kept is a value as a part keeps it: what a checkpoint could not hold would make
// a resumed run another.
func (t *trainable) kept(p engine.Part, x float64) float64 {
	if t.o.Moments == engine.BFloat16 && (p == engine.FirstMoment || p == engine.SecondMoment) {
		return rounded(x)
	}
	return float64(float32(x))
}

// GradSquares implements engine.Trainable.
func (t *trainable) GradSquares(ctx context.Context) (float64, error) {
	var sum float64
	err := t.e.await(ctx, task{name: "Trainable.GradSquares", in: []faults{t.grad}, do: func() error {
		sum = dot(t.parts[engine.Gradient], t.parts[engine.Gradient])
		return nil
	}})
	if err != nil {
		return 0, err
	}
	return sum, nil
}

// ZeroGrad implements engine.Trainable.
func (t *trainable) ZeroGrad() {
	t.e.queue <- task{name: "Trainable.ZeroGrad", out: []faults{t.grad}, do: func() error {
		clear(t.parts[engine.Gradient])
		return nil
	}}
}

// Step implements engine.Trainable.
func (t *trainable) Step(ctx context.Context, o engine.AdamW) error {
	if t.o.NoMoments {
		return fmt.Errorf("%s: keeps no moments, and cannot be stepped", t.name)
	}
	return t.e.enqueue(ctx, task{name: "Trainable.Step", in: []faults{t.grad, t.weight}, out: []faults{t.weight}, do: func() error {
		m, v, g := t.parts[engine.FirstMoment], t.parts[engine.SecondMoment], t.parts[engine.Gradient]
		unbias1, unbias2 := 1-math.Pow(o.Beta1, float64(o.Step)), 1-math.Pow(o.Beta2, float64(o.Step))
		for i, p := range t.parts[engine.Master] {
			d := g[i] * o.GradScale
			m1, m2 := o.Beta1*m[i]+(1-o.Beta1)*d, o.Beta2*v[i]+(1-o.Beta2)*d*d
			p *= 1 - o.LR*o.WeightDecay
			t.parts[engine.Master][i] = t.kept(engine.Master, p-o.LR*m1/unbias1/(math.Sqrt(m2/unbias2)+o.Eps))
			m[i], v[i] = t.kept(engine.FirstMoment, m1), t.kept(engine.SecondMoment, m2)
		}
		clear(g)
		return nil
	}})
}
