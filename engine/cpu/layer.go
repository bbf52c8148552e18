package cpu

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Scratch slots of a worker; those of phases that never overlap share numbers.
const (
	slotConvert = iota
	slotRow
	slotInput
	slotGate
	slotUp
	slotAct
)

const (
	slotQuery = iota
	slotScores
	slotPart
	slotAcc
	slotState
	slotKeys
	slotValues
)

// rowTile is how many rows go through a chain of products together: enough to
// use the weights well while they are in cache, few enough for the
// intermediate results to stay in cache too.
const rowTile = 192

// layer is one resident decoder block.
type layer struct {
	e *Engine
	s *model.Spec

	attnNorm, mlpNorm                      []float32
	query, key, value, out, gate, up, down *matrix
	queryBias, keyBias, valueBias, outBias []float32
	gateBias, upBias, downBias             []float32
}

// Layer implements engine.Engine.
func (e *Engine) Layer(m *model.Model, i int) (engine.Layer, error) {
	l := &layer{e: e, s: m.Spec}
	matrices := map[model.Role]**matrix{
		model.Query: &l.query, model.Key: &l.key, model.Value: &l.value, model.Out: &l.out,
		model.Gate: &l.gate, model.Up: &l.up, model.Down: &l.down,
	}
	vectors := map[model.Role]*[]float32{
		model.AttnNorm: &l.attnNorm, model.MLPNorm: &l.mlpNorm,
		model.QueryBias: &l.queryBias, model.KeyBias: &l.keyBias, model.ValueBias: &l.valueBias, model.OutProjBias: &l.outBias,
		model.GateBias: &l.gateBias, model.UpBias: &l.upBias, model.DownBias: &l.downBias,
	}
	for _, w := range m.Spec.LayerWeights(i) {
		var err error
		if into, ok := matrices[w.Role]; ok {
			*into, err = e.matrix(m, w)
		} else if into, ok := vectors[w.Role]; ok {
			*into, err = vector(m, w)
		} else {
			err = fmt.Errorf("tensor %s: role %s is not known to the cpu engine", w.Name, w.Role)
		}
		if err != nil {
			l.Release()
			return nil, err
		}
	}
	return l, nil
}

func (l *layer) Release() {
	for _, x := range []*matrix{l.query, l.key, l.value, l.out, l.gate, l.up, l.down} {
		x.release()
	}
}

// workspace is what one forward call holds for all its rows.
type workspace struct {
	q, k, v []float32
	att     operand
	tiles   []tile
}

func (e *Engine) workspace(rows, q, kv int) *workspace {
	ws, _ := e.scratch.Get().(*workspace)
	if ws == nil {
		ws = &workspace{}
	}
	rows = e.padded(rows)
	ws.q, ws.k, ws.v = grow(ws.q, rows*q), grow(ws.k, rows*kv), grow(ws.v, rows*kv)
	if e.half && cap(ws.att.bf16) < rows*q || !e.half && cap(ws.att.f32) < rows*q {
		ws.att = e.newOperand(rows * q)
	}
	return ws
}

func grow(xs []float32, n int) []float32 {
	if cap(xs) < n {
		return make([]float32, n)
	}
	return xs[:n]
}

// Forward implements engine.Layer.
func (l *layer) Forward(ctx context.Context, b *engine.Batch, x, y engine.Hidden, kv engine.KV) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	n, d := b.Len(), l.s.Hidden
	in, out := floats(x, n, d), floats(y, n, d)
	var cache *kvCache
	if kv != nil {
		cache = kv.(*kvCache)
		if err := cache.check(b); err != nil {
			return err
		}
	}
	ws := l.e.workspace(n, l.query.out, l.key.out)
	defer l.e.scratch.Put(ws)
	rope := l.e.rope(l.s.Rope, maxPosition(b))
	q := l.e.mul.quantum()

	l.e.pool.split(n, rowTile, q, func(w *worker, lo, hi int) { l.project(w, b, rope, in, ws, lo, hi) })
	if cache != nil {
		cache.append(b, ws.k, ws.v)
	}
	a := attention{e: l.e, s: l.s, b: b, q: ws.q, k: ws.k, v: ws.v, kv: cache, out: ws.att}
	ws.tiles = a.run(ws.tiles)
	l.e.pool.split(n, rowTile, q, func(w *worker, lo, hi int) { l.finish(w, in, out, ws, lo, hi) })
	return nil
}

func maxPosition(b *engine.Batch) int32 {
	var top int32
	for _, p := range b.Positions {
		top = max(top, p)
	}
	return top
}

// project computes rotated queries, keys and values of rows [lo, hi).
func (l *layer) project(w *worker, b *engine.Batch, rope *ropeTable, in []float32, ws *workspace, lo, hi int) {
	rows, d := hi-lo, l.s.Hidden
	x := l.e.input(w, slotInput, l.e.padded(rows)*d)
	l.normRows(w, x, in[lo*d:hi*d], l.attnNorm)
	for _, p := range []struct {
		m    *matrix
		bias []float32
		dst  []float32
	}{{l.query, l.queryBias, ws.q}, {l.key, l.keyBias, ws.k}, {l.value, l.valueBias, ws.v}} {
		dst := p.dst[lo*p.m.out:]
		l.e.mul.product(w.id, p.m.shape(), rows, x, p.m.operand, dst)
		addRows(dst[:rows*p.m.out], p.bias)
	}
	for i := lo; i < hi; i++ {
		cos, sin := rope.at(b.Positions[i])
		rotateHeads(ws.q[i*l.query.out:][:l.query.out], l.s.HeadDim, cos, sin)
		rotateHeads(ws.k[i*l.key.out:][:l.key.out], l.s.HeadDim, cos, sin)
	}
}

func rotateHeads(row []float32, headDim int, cos, sin []float32) {
	for ; len(row) > 0; row = row[headDim:] {
		rotate(row[:headDim], cos, sin)
	}
}

// normRows writes the norm of every row of x [rows, D] as matrix input.
func (l *layer) normRows(w *worker, dst operand, x, weight []float32) {
	l.e.normRows(w, dst, x, weight, l.s.NormEps)
}

func (e *Engine) normRows(w *worker, dst operand, x, weight []float32, eps float64) {
	d := len(weight)
	row := w.floats(slotRow, d)
	for i := 0; i*d < len(x); i++ {
		rmsNorm(row, x[i*d:][:d], weight, eps)
		e.pack(dst.from(i*d), row)
	}
}

// finish adds attention and feed-forward of rows [lo, hi) to the residual stream.
func (l *layer) finish(w *worker, in, out []float32, ws *workspace, lo, hi int) {
	rows, d, f := hi-lo, l.s.Hidden, l.s.FF
	padded := l.e.padded(rows)
	in, out = in[lo*d:hi*d], out[lo*d:hi*d]

	// gate's scratch is free until the feed-forward products
	gate := w.floats(slotGate, padded*max(f, d))
	l.e.mul.product(w.id, l.out.shape(), rows, ws.att.from(lo*l.out.in), l.out.operand, gate)
	addRows(gate[:rows*d], l.outBias)
	add(out, in, gate[:rows*d])

	x := l.e.input(w, slotInput, padded*d)
	l.normRows(w, x, out, l.mlpNorm)
	up := w.floats(slotUp, padded*max(f, d))
	l.e.mul.product(w.id, l.gate.shape(), rows, x, l.gate.operand, gate)
	l.e.mul.product(w.id, l.up.shape(), rows, x, l.up.operand, up)
	addRows(gate[:rows*f], l.gateBias)
	addRows(up[:rows*f], l.upBias)
	act := l.activate(w, gate[:rows*f], up[:rows*f], padded*f)
	l.e.mul.product(w.id, l.down.shape(), rows, act, l.down.operand, up)
	addRows(up[:rows*d], l.downBias)
	add(out, out, up[:rows*d])
}

// activate returns silu(gate) * up as matrix input; gate is overwritten.
func (l *layer) activate(w *worker, gate, up []float32, room int) operand {
	siluMul(gate, gate, up)
	if !l.e.half && !l.e.round {
		return operand{f32: gate[:room]}
	}
	act := l.e.input(w, slotAct, room)
	l.e.pack(act, gate)
	return act
}
