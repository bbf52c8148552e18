package slow

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
)

// layer is one resident decoder block.
type layer struct {
	e      *Engine
	s      *model.Spec
	window int
	rope   model.Rope
	parts  *parts

	query, key, value, out, gate, up, down     *linear
	attnNorm, queryNorm, keyNorm, attnPostNorm *vector
	mlpNorm, mlpPostNorm                       *vector
	attnNormBias, mlpNormBias                  *vector
}

// Fetch implements engine.Engine.
func (e *Engine) Fetch(m *model.Model, i int, o engine.LayerOptions) engine.Fetched {
	return engine.Begin(func(context.Context) (engine.Layer, error) {
		if o.Store != engine.AsStored {
			return nil, fmt.Errorf("weights kept as %s: %w (slow)", o.Store, engine.ErrUnsupported)
		}
		if err := e.opt.Fail("Fetch"); err != nil {
			return nil, err
		}
		l, err := e.layer(m, i, o)
		if err != nil {
			return nil, err
		}
		return l, nil
	})
}

func (e *Engine) layer(m *model.Model, i int, o engine.LayerOptions) (_ *layer, err error) {
	b, err := block.Of(m.Spec, i)
	if err != nil {
		return nil, err
	}
	l := &layer{e: e, s: m.Spec, window: b.Window, rope: b.Rope, parts: &parts{e, m, o.Options, map[string]*tensor{}}}
	maps := []**linear{&l.query, &l.key, &l.value, &l.out, &l.gate, &l.up, &l.down}
	for j, from := range b.Linears() {
		if from.Out == 0 {
			continue
		}
		if *maps[j], err = l.parts.linear(*from); err != nil {
			return nil, err
		}
	}
	norms := []**vector{&l.attnNorm, &l.queryNorm, &l.keyNorm, &l.attnPostNorm, &l.mlpNorm, &l.mlpPostNorm, &l.attnNormBias, &l.mlpNormBias}
	for j, from := range b.Norms() {
		if *norms[j], err = l.parts.vector(from); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *layer) Release() {
	l.e.drain()
	for _, t := range l.parts.tensors {
		l.e.meter.take(-t.bytes())
	}
	clear(l.parts.tensors)
}

// call is a Call as it is kept until it runs.
type call struct {
	batch   engine.Batch
	rows    []int
	kv      *kvCache
	dropout *engine.Dropout
	choices []int // [segments] of rotary embeddings
}

func (l *layer) take(c *engine.Call) (out call, err error) {
	b := c.Batch
	out = call{batch: engine.Batch{Tokens: slices.Clone(b.Tokens), Positions: slices.Clone(b.Positions), Segments: slices.Clone(b.Segments)}}
	if out.rows = slices.Clone(c.Rows); c.Rows == nil {
		for i := range b.Len() {
			out.rows = append(out.rows, i)
		}
	}
	if c.Dropout != nil {
		out.dropout = &engine.Dropout{Seed: c.Dropout.Seed, Step: c.Dropout.Step, Samples: slices.Clone(c.Dropout.Samples)}
	}
	out.choices, err = b.Choices(l.rope, nil)
	return out, err
}

// Forward implements engine.Layer.
func (l *layer) Forward(ctx context.Context, c *engine.Call, x, y engine.Hidden) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	n := c.Batch.Len()
	k, err := l.take(c)
	if err != nil {
		return err
	}
	in, out := l.e.states(x, n, l.s.Hidden), l.e.states(y, n, l.s.Hidden)
	t := task{name: "Layer.Forward", in: append(l.faults(), in.faults)}
	var mlp *hidden
	if c.MLP != nil {
		mlp = l.e.states(c.MLP, n, l.s.Hidden)
		t.out = append(t.out, pick(mlp.faults, k.rows)...)
	}
	t.out = append(t.out, pick(out.faults, k.rows)...)
	if c.KV != nil {
		k.kv = c.KV.(*kvCache)
		if err := k.kv.check(&k.batch); err != nil {
			return err
		}
		t.in, t.out = append(t.in, k.kv.faults), append(t.out, k.kv.faults)
	}
	kept, _ := c.Tape.(*tape)
	t.do = func() error {
		p := l.pass(&k, in.v)
		l.e.meter.take(p.bytes())
		defer l.e.meter.take(-p.bytes())
		d := l.s.Hidden
		for i, row := range k.rows {
			copy(out.v[row*d:][:d], p.y[i*d:])
			if mlp != nil {
				copy(mlp.v[row*d:][:d], p.mlp[i*d:])
			}
		}
		if kept != nil {
			kept.keep(p, n)
		}
		return nil
	}
	return l.e.enqueue(ctx, t)
}

// faults of what trains: a step that failed spoils what follows.
func (l *layer) faults() (all []faults) {
	for _, name := range slices.Sorted(maps.Keys(l.parts.tensors)) {
		if t := l.parts.tensors[name].trains; t != nil {
			all = append(all, t.weight)
		}
	}
	return all
}

// gradients are the faults of what Backward adds to.
func (l *layer) gradients() (all []faults) {
	for _, name := range slices.Sorted(maps.Keys(l.parts.tensors)) {
		if t := l.parts.tensors[name].trains; t != nil {
			all = append(all, t.grad)
		}
	}
	for _, m := range []*linear{l.query, l.key, l.value, l.out, l.gate, l.up, l.down} {
		if m != nil && m.adapter != nil {
			all = append(all, m.adapter.a.grad, m.adapter.b.grad)
		}
	}
	return all
}

func pick(fs faults, rows []int) (out []faults) {
	for _, r := range rows {
		out = append(out, fs[r:r+1])
	}
	return out
}

// pass is a forward pass of one block with all that its backward pass needs; W
// rows are wanted of N.
type pass struct {
	x, normed     []float64 // [N, D]
	rawQ, q       []float64 // [W, H*HeadDim] before norm and rotary embedding, and after
	rawK, k, v    []float64 // [N, K*HeadDim]
	att           []float64 // [W, H*HeadDim]
	o, h          []float64 // [W, D] output projection; with the residual
	normedH       []float64 // [W, D]
	gate, up, act []float64 // [W, F]
	down, mlp, y  []float64 // [W, D]
	wanted        []float64 // [W, D] rows of normed
}

// perRow is how many values a pass holds for each row, at most.
func perRow(s *model.Spec) int {
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	masks := 4*s.Hidden + q + s.FF
	return 2*s.Hidden + 3*q + 3*kv + 8*s.Hidden + 3*s.FF + masks
}

func (p *pass) bytes() int64 {
	n := 0
	for _, v := range [][]float64{p.x, p.normed, p.rawQ, p.q, p.rawK, p.k, p.v, p.att, p.o, p.h, p.normedH, p.gate, p.up, p.act, p.down, p.mlp, p.y, p.wanted} {
		n += len(v)
	}
	return int64(n) * value
}

// pass computes a block. Keys and values go to the cache, if there is one.
func (l *layer) pass(c *call, x []float64) *pass {
	s, d := l.s, l.s.Hidden
	all := c.every()
	p := &pass{x: slices.Clone(x)}
	p.normed = l.first().apply(x)
	p.wanted = gather(p.normed, c.rows, d)
	p.rawQ = l.query.apply(p.wanted, l.mask(l.query, c, c.rows))
	p.rawK = l.key.apply(p.normed, l.mask(l.key, c, all))
	p.v = l.value.apply(p.normed, l.mask(l.value, c, all))
	p.q = l.rotate(l.headNorm(l.queryNorm, p.rawQ), c, c.rows, s.Heads, 1)
	p.k = l.rotate(l.headNorm(l.keyNorm, p.rawK), c, all, s.KVHeads, 1)
	if c.kv != nil {
		c.kv.append(&c.batch, p.k, p.v)
	}
	p.att = make([]float64, len(p.q))
	parallel(len(c.rows), func(i int) { l.attend(c, p, i) })

	p.o = l.out.apply(p.att, l.mask(l.out, c, c.rows))
	p.h = sum(gather(x, c.rows, d), scaled(l.norm(l.attnPostNorm, p.o), s.Residual()))
	if p.normedH = p.wanted; !s.Parallel {
		p.normedH = l.second().apply(p.h)
	}
	p.gate = l.gate.apply(p.normedH, l.mask(l.gate, c, c.rows))
	if p.up = slices.Repeat([]float64{1}, len(p.gate)); l.up != nil {
		p.up = l.up.apply(p.normedH, l.mask(l.up, c, c.rows))
	}
	p.act = make([]float64, len(p.gate))
	for i, g := range p.gate {
		a, _ := activate(s.Activation, g)
		p.act[i] = a * p.up[i]
	}
	p.down = l.down.apply(p.act, l.mask(l.down, c, c.rows))
	p.mlp = scaled(l.norm(l.mlpPostNorm, p.down), s.Residual())
	p.y = sum(p.h, p.mlp)
	return p
}

func (c *call) every() []int {
	all := make([]int, c.batch.Len())
	for i := range all {
		all[i] = i
	}
	return all
}

func gather(x []float64, rows []int, width int) []float64 {
	out := make([]float64, 0, len(rows)*width)
	for _, r := range rows {
		out = append(out, x[r*width:][:width]...)
	}
	return out
}

func sum(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i, v := range a {
		out[i] = v + b[i]
	}
	return out
}

// mask is what dropout makes of a map's adapter's input, nil for nothing.
func (l *layer) mask(m *linear, c *call, rows []int) []float64 {
	if m == nil || m.adapter == nil || c.dropout == nil || m.adapter.drop == 0 {
		return nil
	}
	out, keep := make([]float64, 0, len(rows)*m.in), make([]float32, m.in)
	for _, r := range rows {
		c.dropout.Mask(keep, m.adapter.key, c.dropout.Samples[c.segment(r)], c.batch.Positions[r], m.adapter.drop)
		for _, v := range keep {
			out = append(out, float64(v))
		}
	}
	return out
}

// segment is the segment a row lies in.
func (c *call) segment(row int) int {
	return slices.IndexFunc(c.batch.Segments, func(s engine.Segment) bool { return row < s.Start+s.Len })
}
