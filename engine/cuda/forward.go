//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Forward implements engine.Layer.
func (l *layer) Forward(ctx context.Context, c *engine.Call, x, y engine.Hidden) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	const name = "Layer.Forward"
	e, n := l.e, c.Batch.Len()
	p := &pass{scratch: scratch{e: e}, l: l, n: n, in: e.states(x, n, l.s.Hidden), out: e.states(y, n, l.s.Hidden)}
	if c.MLP != nil {
		p.mlp = e.states(c.MLP, n, l.s.Hidden)
	}
	e.calls.Lock()
	defer e.calls.Unlock()
	if c.KV != nil {
		p.kv = c.KV.(*kvCache)
		if err := c.Batch.Continues(p.kv.used, p.kv.capacity); err != nil {
			return err
		}
	}
	if c.Tape != nil {
		return e.frozen(engine.Options{Trained: &engine.Trained{Adapters: map[string]engine.Adapter{"": {}}}})
	}
	if err := p.t.take(l, c, p.kv); err != nil {
		return err
	}
	if err := e.anglesOf(ctx, p.t.rotary); err != nil {
		return err
	}
	lists, err := e.upload(ctx, name, p.t.numbers)
	if err != nil {
		return err
	}
	p.lists = lists
	err = e.w.do(name, func() error { return errors.Join(p.run(), p.end(), e.pool.give(lists)) })
	if err != nil {
		return err
	}
	e.w.note(name)
	if p.kv != nil {
		p.kv.grow(c.Batch)
	}
	return nil
}

// upload brings numbers to memory of the device that the caller gives back.
func (e *Engine) upload(ctx context.Context, name string, numbers []int32) (b buffer, err error) {
	err = e.w.do(name, func() (err error) {
		b, err = e.pool.take(work, int64(4*len(numbers)))
		return err
	})
	if err != nil {
		return b, err
	}
	return b, e.stage.up(ctx, name, e.compute, func(at int) address { return b.from(int64(at)) }, bytesOf(numbers), 4, nil)
}

// scratch is the memory of one call.
type scratch struct {
	e    *Engine
	held []buffer
}

// take returns memory for n values of so many bytes each.
func (s *scratch) take(n int, bytes int64) (buffer, error) {
	b, err := s.e.pool.take(work, int64(n)*bytes)
	if err == nil {
		s.held = append(s.held, b)
	}
	return b, err
}

// give gives one back before the call ends.
func (s *scratch) give(b buffer) error {
	for i, h := range s.held {
		if h.at == b.at {
			s.held = append(s.held[:i], s.held[i+1:]...)
			return s.e.pool.give(b)
		}
	}
	return nil
}

// end gives all back.
func (s *scratch) end() (err error) {
	for _, b := range s.held {
		err = errors.Join(err, s.e.pool.give(b))
	}
	s.held = nil
	return err
}

// pass is one call of a layer: W rows are wanted of N. Its methods run on the worker.
type pass struct {
	scratch
	l       *layer
	n       int     // N
	in, out address // [N, D]
	mlp     address // [N, D] or none
	kv      *kvCache
	t       tables
	lists   buffer // the tables' numbers on the device
}

// list is where one of the tables' lists begins.
func (p *pass) list(at int) address { return p.lists.from(int64(4 * at)) }

func (p *pass) run() error {
	if err := p.e.arrive(&p.l.ready); err != nil {
		return err
	}
	att, err := p.attention()
	if err != nil || p.t.outputs == 0 {
		return err
	}
	// In parallel blocks the feed-forward takes the norm of the layer's input, which
	// out may be about to replace.
	var x buffer
	if p.l.s.Parallel {
		if x, err = p.norm(p.in, p.list(p.t.rows), p.t.outputs, p.l.attnNorm, p.l.attnNormBias); err != nil {
			return err
		}
	}
	if err := p.add(p.l.out, att, p.in, p.l.outBias, p.l.attnPostNorm, 0); err != nil {
		return err
	}
	if !p.l.s.Parallel {
		if x, err = p.norm(p.out, p.list(p.t.rows), p.t.outputs, p.l.mlpNorm, p.l.mlpNormBias); err != nil {
			return err
		}
	}
	act, err := p.activated(x)
	if err != nil {
		return err
	}
	return p.add(p.l.down, act, p.out, p.l.downBias, p.l.mlpPostNorm, p.mlp)
}

// norm returns the norm of some rows of x [N, D] as products take them.
func (p *pass) norm(x, rows address, count int, weight, bias address) (buffer, error) {
	d := p.l.s.Hidden
	y, err := p.take(room(count)*d, p.e.inputBytes())
	if err != nil {
		return y, err
	}
	return y, p.e.rowsOf("norm_input", count, y, x, rows, count, d, weight, bias, flag(p.l.s.LayerNorm), float32(p.l.s.NormEps))
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// attention returns [W, H*HeadDim] as products take it; keys and values go to the
// cache, if there is one.
func (p *pass) attention() (att buffer, err error) {
	e, l, s := p.e, p.l, p.l.s
	x, err := p.norm(p.in, p.list(p.t.all), p.n, l.attnNorm, l.attnNormBias)
	if err != nil {
		return att, err
	}
	qkv, err := p.take(room(p.n)*l.qkv.out, 4)
	if err != nil {
		return att, err
	}
	if err := e.law.multiply(l.qkv.shape, p.n, l.qkv.at, x.at, qkv.at); err != nil {
		return att, err
	}
	if err := errors.Join(p.give(x), p.heads(qkv)); err != nil {
		return att, err
	}
	if qkv, err = p.asInputs(qkv); err != nil {
		return att, err
	}
	size := e.inputBytes()
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	keys, values, stride := qkv.from(size*int64(q)), qkv.from(size*int64(q+kv)), l.qkv.out
	if p.kv != nil {
		for cache, part := range map[address]address{p.kv.k.at: keys, p.kv.v.at: values} {
			if err := e.each("append", p.n*kv, cache, part, p.n, l.qkv.out, kv, p.list(p.t.places)); err != nil {
				return att, err
			}
		}
		keys, values, stride = p.kv.k.at, p.kv.v.at, kv
	}
	if p.t.outputs == 0 {
		return att, nil
	}
	if att, err = p.take(room(p.t.outputs)*q, size); err != nil {
		return att, err
	}
	return att, errors.Join(p.attend(att, qkv, keys, values, stride), p.give(qkv))
}

// asInputs rounds queries, keys and values to what products take.
func (p *pass) asInputs(qkv buffer) (buffer, error) {
	if !p.e.half {
		return qkv, nil
	}
	n := p.n * p.l.qkv.out
	x, err := p.take(n, 2)
	if err != nil {
		return x, err
	}
	return x, errors.Join(p.e.spread("convert", n, x, qkv, 0, uint64(n)), p.give(qkv))
}

// attend queues attention of wanted rows: on tensor cores where there is a kernel for
// heads of the model's width.
func (p *pass) attend(att, q buffer, keys, values address, stride int) error {
	s := p.l.s
	if kernel, ok := p.e.tensorCores(s.HeadDim); ok {
		return p.e.launch(p.e.compute, kernel, p.t.cut, s.Heads, att, q, p.l.qkv.out, keys, values, stride,
			p.list(p.t.rows), p.list(p.t.tiles), p.list(p.t.runs), s.Heads/s.KVHeads, p.l.window, float32(s.AttnScale), float32(s.AttnSoftCap))
	}
	return p.e.launch(p.e.compute, "attend", p.t.cut, s.Heads, att, q, p.l.qkv.out, keys, values, stride,
		p.list(p.t.rows), p.list(p.t.tiles), p.list(p.t.runs), s.Heads/s.KVHeads, s.HeadDim, p.l.window, float32(s.AttnScale), float32(s.AttnSoftCap))
}

// tensorCores names the kernel of tensor.cu for heads of a width, if there is one.
func (e *Engine) tensorCores(width int) (string, bool) {
	return fmt.Sprintf("attend_%d", width), e.half && slices.Contains([]int{64, 80, 96, 128}, width)
}

// queryTile is how many queries a tile of attention has: TILE of attend.cu, or four
// warps' 16 of tensor.cu.
func (e *Engine) queryTile(width int) int {
	if _, ok := e.tensorCores(width); ok {
		return 64
	}
	return 16
}

// heads makes of the product [N, q+2kv] rotated queries and keys, and values.
func (p *pass) heads(qkv buffer) error {
	e, l, s := p.e, p.l, p.l.s
	if l.qkvBias != 0 {
		if err := e.each("add_bias", p.n*l.qkv.out, qkv, p.n, l.qkv.out, l.qkv.out, l.qkvBias); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		first, heads int
		norm         address
	}{{0, s.Heads, l.queryNorm}, {s.Heads * s.HeadDim, s.KVHeads, l.keyNorm}} {
		x := qkv.from(int64(4 * part.first))
		if part.norm != 0 {
			groups, width := part.heads, s.HeadDim
			if s.WholeNorm {
				groups, width = 1, part.heads*s.HeadDim
			}
			if err := e.rowsOf("norm_parts", p.n*groups, x, x, p.n, l.qkv.out, groups, width, part.norm, address(0), 0, float32(s.NormEps)); err != nil {
				return err
			}
		}
		for i, table := range p.t.rotary {
			a := e.angles[table]
			err := e.each("rotate", p.n*part.heads*(l.rope.Dim/2), x, p.n, l.qkv.out, part.heads, s.HeadDim, l.rope.Dim, flag(table.Interleaved),
				p.list(p.t.positions), p.list(p.t.angles), i, a.cos, a.sin, table.Width)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// add multiplies x [W, in] by a map and adds what comes of it to the residual stream:
// out = from + scale * norm(product + bias). show, if there is one, gets what is added.
func (p *pass) add(by matrix, x buffer, from, bias, norm, show address) error {
	w, d := p.t.outputs, p.l.s.Hidden
	y, err := p.take(room(w)*d, 4)
	if err != nil {
		return err
	}
	if err := p.e.law.multiply(by.shape, w, by.at, x.at, y.at); err != nil {
		return err
	}
	err = p.e.rowsOf("add_residual", w, p.out, from, y, p.list(p.t.rows), w, d, bias, norm, float32(p.l.s.NormEps), float32(p.l.s.Residual()), show)
	return errors.Join(err, p.give(x), p.give(y))
}

// activated is what the feed-forward's last product takes, of its input x [W, D].
func (p *pass) activated(x buffer) (buffer, error) {
	w, l := p.t.outputs, p.l
	y, err := p.take(room(w)*l.gateUp.out, 4)
	if err != nil {
		return y, err
	}
	if err := p.e.law.multiply(l.gateUp.shape, w, l.gateUp.at, x.at, y.at); err != nil {
		return y, err
	}
	act, err := p.take(room(w)*l.s.FF, p.e.inputBytes())
	if err != nil {
		return act, err
	}
	err = p.e.each("gate", w*l.s.FF, act, y, w, l.s.FF, flag(!l.s.Ungated), activation(l.s.Activation), l.gateUpBias)
	return act, errors.Join(err, p.give(x), p.give(y))
}

// activation is an activation as gate.cu numbers it.
func activation(a model.Activation) int {
	switch a {
	case model.GELU:
		return 1
	case model.GELUTanh:
		return 2
	case model.ReLU:
		return 3
	case model.ReLU2:
		return 4
	}
	return 0
}
