package slow

import (
	"context"
	"errors"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// tape keeps a whole pass, if it has rows enough.
type tape struct {
	e     *Engine
	rows  int
	price int64
	p     *pass
}

// NewTape implements engine.Trainer.
func (e *Engine) NewTape(m *model.Model, rows int, _ engine.LayerOptions) (engine.Tape, error) {
	t := &tape{e: e, rows: rows, price: int64(rows) * int64(perRow(m.Spec)) * value}
	e.meter.take(t.price)
	return t, nil
}

func (t *tape) keep(p *pass, rows int) {
	if t.p = p; rows > t.rows {
		t.p = nil
	}
}

func (t *tape) Release() {
	t.e.drain()
	t.e.meter.take(-t.price)
	t.p, t.price = nil, 0
}

// Backward implements engine.TrainLayer.
func (l *layer) Backward(ctx context.Context, c *engine.Call, x, dy, dx engine.Hidden) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.KV != nil {
		return errors.New("a backward call with a cache: gradients do not go through it")
	}
	n := c.Batch.Len()
	k, err := l.take(c)
	if err != nil {
		return err
	}
	in, from, to := l.e.states(x, n, l.s.Hidden), l.e.states(dy, n, l.s.Hidden), l.e.states(dx, n, l.s.Hidden)
	kept, _ := c.Tape.(*tape)
	gradients := l.gradients()
	t := task{name: "Layer.Backward", in: append(l.faults(), in.faults), out: append(gradients, to.faults)}
	t.in = append(append(t.in, gradients...), pick(from.faults, k.rows)...)
	t.do = func() error {
		p := (*pass)(nil)
		if kept != nil {
			p = kept.p
		}
		if p == nil {
			p = l.pass(&k, in.v)
		}
		l.e.meter.take(2 * p.bytes())
		defer l.e.meter.take(-2 * p.bytes())
		copy(to.v, l.back(&k, p, gather(from.v, k.rows, l.s.Hidden)))
		return nil
	}
	return l.e.enqueue(ctx, t)
}

// back adds up the gradients of a pass and returns dL/dx [N, D] of dL/dy [W, D].
func (l *layer) back(c *call, p *pass, dy []float64) []float64 {
	s, eps := l.s, l.s.NormEps
	dact := l.down.back(p.act, l.mask(l.down, c, c.rows), backNorm(l.mlpPostNorm, p.down, scaled(dy, s.Residual()), eps))
	dgate, dup := make([]float64, len(dact)), make([]float64, len(dact))
	for i, d := range dact {
		a, slope := activate(s.Activation, p.gate[i])
		dgate[i], dup[i] = d*p.up[i]*slope, d*a
	}
	dnormed := l.gate.back(p.normedH, l.mask(l.gate, c, c.rows), dgate)
	if l.up != nil {
		dnormed = sum(dnormed, l.up.back(p.normedH, l.mask(l.up, c, c.rows), dup))
	}
	dh := dy
	if !s.Parallel {
		dh = sum(dy, l.second().back(p.h, dnormed))
	}

	datt := l.out.back(p.att, l.mask(l.out, c, c.rows), backNorm(l.attnPostNorm, p.o, scaled(dh, s.Residual()), eps))
	dq, dk, dv := make([]float64, len(p.q)), make([]float64, len(p.k)), make([]float64, len(p.v))
	parallel(s.KVHeads, func(kv int) {
		for i := range c.rows {
			seen := l.sees(c, c.rows[i])
			for h := range s.Heads / s.KVHeads {
				l.backAttend(c, p, &seen, i, kv*(s.Heads/s.KVHeads)+h, datt, dq, dk, dv)
			}
		}
	})
	all := c.every()
	dq = backNorm(l.queryNorm, p.rawQ, l.rotate(dq, c, c.rows, s.Heads, -1), eps)
	dk = backNorm(l.keyNorm, p.rawK, l.rotate(dk, c, all, s.KVHeads, -1), eps)
	dn := sum(l.key.back(p.normed, l.mask(l.key, c, all), dk), l.value.back(p.normed, l.mask(l.value, c, all), dv))
	dwanted := l.query.back(p.wanted, l.mask(l.query, c, c.rows), dq)
	for i, r := range c.rows {
		addScaled(dn[r*s.Hidden:][:s.Hidden], 1, dwanted[i*s.Hidden:][:s.Hidden])
		if s.Parallel {
			addScaled(dn[r*s.Hidden:][:s.Hidden], 1, dnormed[i*s.Hidden:][:s.Hidden])
		}
	}
	dx := l.first().back(p.x, dn)
	for i, r := range c.rows {
		addScaled(dx[r*s.Hidden:][:s.Hidden], 1, dh[i*s.Hidden:][:s.Hidden])
	}
	return dx
}
