//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"errors"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
)

// layer is one decoder block on the device, or on its way there.
type layer struct {
	e      *Engine
	m      *model.Model
	s      *model.Spec
	index  int
	window int
	rope   model.Rope
	memory buffer
	ready  uintptr // event of the copy stream: all of it has come; 0 once waited for

	qkv, out, gateUp, down matrix

	// Small weights in float32; 0 where the family has none.
	qkvBias, outBias, gateUpBias, downBias          address
	attnNorm, queryNorm, keyNorm, attnPostNorm      address
	mlpNorm, mlpPostNorm, attnNormBias, mlpNormBias address
}

// newLayer says what layer i is made of, with places relative to its memory, and how
// many bytes that has.
func (e *Engine) newLayer(m *model.Model, i int) (*layer, *vectors, int64, error) {
	b, err := block.Of(m.Spec, i)
	if err != nil {
		return nil, nil, 0, err
	}
	l := &layer{e: e, m: m, s: m.Spec, index: i, window: b.Window, rope: b.Rope}
	v := &vectors{}
	if err := l.small(v, b); err != nil {
		return nil, nil, 0, err
	}
	at := roundUp(int64(4*len(v.values)), 256)
	for x, parts := range map[*matrix][]block.Linear{&l.qkv: {b.Query, b.Key, b.Value}, &l.out: {b.Out}, &l.gateUp: {b.Gate, b.Up}, &l.down: {b.Down}} {
		for _, p := range parts {
			if p.Out > 0 {
				x.parts, x.in = append(x.parts, p), p.In
				x.out += p.Out
			}
		}
	}
	for _, x := range l.matrices() {
		x.at = address(at)
		at = roundUp(at+e.bytes(x.shape), 256)
	}
	return l, v, at, nil
}

func (l *layer) matrices() []*matrix { return []*matrix{&l.qkv, &l.out, &l.gateUp, &l.down} }

// small collects the small weights; addresses are what they will be, less the
// memory's own and plus one, so that 0 says that there is none.
func (l *layer) small(v *vectors, b *block.Layer) error {
	s := l.s
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	for _, x := range []struct {
		into    *address
		lengths []int
		list    []block.Vector
	}{
		{&l.qkvBias, []int{q, kv, kv}, []block.Vector{b.Query.Bias, b.Key.Bias, b.Value.Bias}},
		{&l.outBias, nil, []block.Vector{b.Out.Bias}},
		{&l.gateUpBias, []int{s.FF, b.Up.Out}, []block.Vector{b.Gate.Bias, b.Up.Bias}},
		{&l.downBias, nil, []block.Vector{b.Down.Bias}},
		{&l.attnNorm, nil, []block.Vector{b.AttnNorm}}, {&l.queryNorm, nil, []block.Vector{b.QueryNorm}},
		{&l.keyNorm, nil, []block.Vector{b.KeyNorm}}, {&l.attnPostNorm, nil, []block.Vector{b.AttnPostNorm}},
		{&l.mlpNorm, nil, []block.Vector{b.MLPNorm}}, {&l.mlpPostNorm, nil, []block.Vector{b.MLPPostNorm}},
		{&l.attnNormBias, nil, []block.Vector{b.AttnNormBias}}, {&l.mlpNormBias, nil, []block.Vector{b.MLPNormBias}},
	} {
		at, err := v.add(l.m, x.lengths, x.list...)
		if err != nil {
			return err
		}
		if at >= 0 {
			*x.into = address(4*at) + 1
		}
	}
	return nil
}

// settle adds the memory's own address to all that lies in it.
func (l *layer) settle() {
	for _, x := range l.matrices() {
		x.at += l.memory.at
	}
	for _, a := range []*address{&l.qkvBias, &l.outBias, &l.gateUpBias, &l.downBias, &l.attnNorm, &l.queryNorm, &l.keyNorm, &l.attnPostNorm,
		&l.mlpNorm, &l.mlpPostNorm, &l.attnNormBias, &l.mlpNormBias} {
		if *a != 0 {
			*a += l.memory.at - 1
		}
	}
}

// Fetch implements engine.Engine.
func (e *Engine) Fetch(m *model.Model, i int, o engine.LayerOptions) engine.Fetched {
	return engine.Begin(func(ctx context.Context) (engine.Layer, error) {
		if err := e.supports(o); err != nil {
			return nil, err
		}
		l, err := e.layer(ctx, m, i)
		if err != nil {
			return nil, err
		}
		return l, nil
	})
}

// supports refuses what this engine does not have.
func (e *Engine) supports(o engine.LayerOptions) error {
	if o.Store != engine.AsStored {
		return fmt.Errorf("weights kept as %s: %w (%s)", o.Store, engine.ErrUnsupported, e.info.Device)
	}
	return e.frozen(o.Options)
}

func (e *Engine) frozen(o engine.Options) error {
	if o.Trained != nil && len(o.Trained.Tensors)+len(o.Trained.Adapters) > 0 {
		return fmt.Errorf("training and adapters: %w (%s); use --device cpu", engine.ErrUnsupported, e.info.Device)
	}
	return nil
}

// layer queues the copies of a layer's weights.
func (e *Engine) layer(ctx context.Context, m *model.Model, i int) (_ *layer, err error) {
	const name = "Fetch"
	l, v, bytes, err := e.newLayer(m, i)
	if err != nil {
		return nil, err
	}
	if err := e.ready(name); err != nil {
		return nil, err
	}
	err = e.w.do(name, func() (err error) {
		l.memory, err = e.weightMemory(bytes)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.Release()
		}
	}()
	l.settle()
	if len(v.values) > 0 {
		if err := e.stage.up(ctx, name, e.copies, func(at int) address { return l.memory.from(int64(at)) }, bytesOf(v.values), 4, nil); err != nil {
			return nil, err
		}
	}
	for _, x := range l.matrices() {
		if err := e.bringMatrix(ctx, name, m, *x); err != nil {
			return nil, err
		}
	}
	for _, w := range m.Spec.LayerWeights(i) {
		m.Source.Release(w.Name)
	}
	return l, e.w.do(name, func() (err error) {
		l.ready, err = e.record(e.copies)
		return err
	})
}

// arrive makes the compute stream wait for a part's weights, once.
func (e *Engine) arrive(ready *uintptr) error {
	if *ready == 0 {
		return nil
	}
	event := *ready
	*ready = 0
	if !e.unwaited {
		if err := e.d.do(e.d.streamWait, e.compute, event, 0); err != nil {
			return err
		}
	}
	return e.d.do(e.d.eventDestroy, event)
}

// Release implements engine.Layer.
func (l *layer) Release() {
	_ = l.e.w.do("Layer.Release", func() error {
		err := errors.Join(l.e.arrive(&l.ready), l.e.letGo(l.memory))
		l.memory = buffer{}
		return err
	})
}
