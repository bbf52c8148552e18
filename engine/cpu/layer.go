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
	e      *Engine
	s      *model.Spec
	window int // keys a query sees; 0 for all

	attnNorm, queryNorm, keyNorm, attnPostNorm []float32 // nil where the family has none, as biases are
	mlpNorm, mlpPostNorm                       []float32
	query, key, value, out, gate, up, down     *matrix
	queryBias, keyBias, valueBias, outBias     []float32
	gateBias, upBias, downBias                 []float32
	owned                                      []*matrix
}

// Layer implements engine.Engine.
func (e *Engine) Layer(m *model.Model, i int) (engine.Layer, error) {
	l := &layer{e: e, s: m.Spec, window: m.Spec.Window(i)}
	for _, w := range m.Spec.LayerWeights(i) {
		if err := l.load(m, w); err != nil {
			l.Release()
			return nil, err
		}
	}
	return l, nil
}

// load brings one tensor in and puts it, or the parts of a fused one, where its
// role belongs.
func (l *layer) load(m *model.Model, w model.Weight) error {
	if into, ok := l.matrices()[w.Role]; ok {
		x, err := l.e.matrix(m, w)
		if err != nil {
			return err
		}
		l.owned = append(l.owned, x)
		row := 0
		for _, part := range into {
			*part.into = x.rows(row, row+part.rows)
			row += part.rows
		}
		return nil
	}
	into, ok := l.vectors()[w.Role]
	if !ok {
		return fmt.Errorf("tensor %s: role %s is not known to the cpu engine", w.Name, w.Role)
	}
	v, err := l.e.vector(m, w)
	if err != nil {
		return err
	}
	at := 0
	for _, part := range into {
		*part.into = v[at : at+part.rows]
		at += part.rows
	}
	return nil
}

// part is a run of rows of a tensor and where it goes.
type part[T any] struct {
	into *T
	rows int
}

// matrices lists the linear maps that tensors of each role hold.
func (l *layer) matrices() map[model.Role][]part[*matrix] {
	q, kv, f, d := l.s.Heads*l.s.HeadDim, l.s.KVHeads*l.s.HeadDim, l.s.FF, l.s.Hidden
	return map[model.Role][]part[*matrix]{
		model.QKV:    {{&l.query, q}, {&l.key, kv}, {&l.value, kv}},
		model.Query:  {{&l.query, q}},
		model.Key:    {{&l.key, kv}},
		model.Value:  {{&l.value, kv}},
		model.Out:    {{&l.out, d}},
		model.GateUp: {{&l.gate, f}, {&l.up, f}},
		model.Gate:   {{&l.gate, f}},
		model.Up:     {{&l.up, f}},
		model.Down:   {{&l.down, d}},
	}
}

// vectors does the same for norms and biases.
func (l *layer) vectors() map[model.Role][]part[[]float32] {
	q, kv, f, d := l.s.Heads*l.s.HeadDim, l.s.KVHeads*l.s.HeadDim, l.s.FF, l.s.Hidden
	return map[model.Role][]part[[]float32]{
		model.AttnNorm:     {{&l.attnNorm, d}},
		model.QueryNorm:    {{&l.queryNorm, l.s.HeadDim}},
		model.KeyNorm:      {{&l.keyNorm, l.s.HeadDim}},
		model.AttnPostNorm: {{&l.attnPostNorm, d}},
		model.MLPNorm:      {{&l.mlpNorm, d}},
		model.MLPPostNorm:  {{&l.mlpPostNorm, d}},
		model.QKVBias:      {{&l.queryBias, q}, {&l.keyBias, kv}, {&l.valueBias, kv}},
		model.QueryBias:    {{&l.queryBias, q}},
		model.KeyBias:      {{&l.keyBias, kv}},
		model.ValueBias:    {{&l.valueBias, kv}},
		model.OutProjBias:  {{&l.outBias, d}},
		model.GateUpBias:   {{&l.gateBias, f}, {&l.upBias, f}},
		model.GateBias:     {{&l.gateBias, f}},
		model.UpBias:       {{&l.upBias, f}},
		model.DownBias:     {{&l.downBias, d}},
	}
}

func (l *layer) Release() {
	for _, x := range l.owned {
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
	a := attention{e: l.e, s: l.s, window: l.window, b: b, q: ws.q, k: ws.k, v: ws.v, kv: cache, out: ws.att}
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
	l.e.normRows(w, x, in[lo*d:hi*d], l.attnNorm, l.s.NormEps)
	for _, p := range []struct {
		m    *matrix
		bias []float32
		dst  []float32
	}{{l.query, l.queryBias, ws.q}, {l.key, l.keyBias, ws.k}, {l.value, l.valueBias, ws.v}} {
		dst := p.dst[lo*p.m.out:]
		l.e.mul.product(w.id, p.m.shape(), rows, x, p.m.operand, dst)
		l.e.k.addRows(dst[:rows*p.m.out], p.bias)
	}
	for i := lo; i < hi; i++ {
		l.rotateHeads(ws.q[i*l.query.out:][:l.query.out], l.queryNorm, rope, b.Positions[i])
		l.rotateHeads(ws.k[i*l.key.out:][:l.key.out], l.keyNorm, rope, b.Positions[i])
	}
}

// rotateHeads normalises one row's heads, where the family does, and applies
// rotary embeddings.
func (l *layer) rotateHeads(row, norm []float32, rope *ropeTable, position int32) {
	for ; len(row) > 0; row = row[l.s.HeadDim:] {
		head := row[:l.s.HeadDim]
		if norm != nil {
			l.e.k.rmsNorm(head, head, norm, l.s.NormEps)
		}
		rope.rotate(l.e.k, head, position)
	}
}

// normRows writes the norm of every row of x [rows, D] as matrix input.
func (e *Engine) normRows(w *worker, dst operand, x, weight []float32, eps float64) {
	d := len(weight)
	row := w.floats(slotRow, d)
	for i := 0; i*d < len(x); i++ {
		e.k.rmsNorm(row, x[i*d:][:d], weight, eps)
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
	l.addTo(out, in, gate[:rows*d], l.outBias, l.attnPostNorm)

	x := l.e.input(w, slotInput, padded*d)
	l.e.normRows(w, x, out, l.mlpNorm, l.s.NormEps)
	up := w.floats(slotUp, padded*max(f, d))
	l.e.mul.product(w.id, l.gate.shape(), rows, x, l.gate.operand, gate)
	l.e.mul.product(w.id, l.up.shape(), rows, x, l.up.operand, up)
	act := l.e.input(w, slotAct, padded*f)
	for i := 0; i < rows*f; i += f {
		l.activate(act.from(i), gate[i:i+f], up[i:i+f])
	}
	l.e.mul.product(w.id, l.down.shape(), rows, act, l.down.operand, up)
	l.addTo(out, out, up[:rows*d], l.downBias, l.mlpPostNorm)
}

// addTo: out = in + norm(x + bias), row by row; x is overwritten.
func (l *layer) addTo(out, in, x, bias, norm []float32) {
	d := l.s.Hidden
	for i := 0; i < len(x); i += d {
		row := x[i : i+d]
		if bias != nil {
			l.e.k.add(row, row, bias)
		}
		if norm != nil {
			l.e.k.rmsNorm(row, row, norm, l.s.NormEps)
		}
		l.e.k.add(out[i:i+d], in[i:i+d], row)
	}
}

// activate writes activation(gate + bias) * (up + bias) of one row as matrix
// input; gate and up are overwritten.
func (l *layer) activate(dst operand, gate, up []float32) {
	k := l.e.k
	if l.gateBias != nil {
		k.add(gate, gate, l.gateBias)
	}
	if l.upBias != nil {
		k.add(up, up, l.upBias)
	}
	switch l.s.Activation {
	case model.GELU:
		gateErf(gate, gate, up)
	case model.GELUTanh:
		linear, cubic := geluCoefficients()
		k.gate(gate, gate, up, linear, cubic)
	default:
		k.gate(gate, gate, up, 1, 0)
	}
	l.e.pack(dst, gate)
}
