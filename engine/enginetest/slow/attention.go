package slow

import (
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// seen is what a query sees: rows of the cache, then rows of the batch, the last
// of which is its own.
type seen struct {
	slot   int
	cached [2]int // rows [lo, hi) of the slot
	rows   []int
}

// sees lists the keys of a row of the batch: its sequence's up to its own, of
// which a window leaves the last.
func (l *layer) sees(c *call, row int) (s seen) {
	at := c.segment(row)
	segment := c.batch.Segments[at]
	for r := row; r >= segment.Start; r-- {
		s.rows = append(s.rows, r)
	}
	for p := segment.Parent; p != engine.NoParent; p = c.batch.Segments[p].Parent {
		for r := c.batch.Segments[p].Len - 1; r >= 0; r-- {
			s.rows = append(s.rows, c.batch.Segments[p].Start+r)
		}
	}
	if l.window > 0 && len(s.rows) > l.window {
		s.rows = s.rows[:l.window]
	}
	slices.Reverse(s.rows)
	if c.kv != nil {
		s.slot = segment.Slot
		s.cached[1] = segment.Past
		if l.window > 0 {
			s.cached[0] = max(0, segment.Past+len(s.rows)-l.window)
		}
	}
	return s
}

func (s *seen) len() int { return s.cached[1] - s.cached[0] + len(s.rows) }

// head returns key or value number i of a head, from the cache or the batch.
func (s *seen) head(c *call, cache [][]float64, batch []float64, stride, at, width, i int) []float64 {
	if past := s.cached[1] - s.cached[0]; i < past {
		return cache[s.slot][(s.cached[0]+i)*stride+at:][:width]
	} else {
		return batch[s.rows[i-past]*stride+at:][:width]
	}
}

// attend computes the attention of wanted row i: softmax(cap(q kᵀ scale)) v.
func (l *layer) attend(c *call, p *pass, i int) {
	s := l.sees(c, c.rows[i])
	d := l.s.HeadDim
	for h := range l.s.Heads {
		weights, _ := l.weights(c, p, &s, i, h)
		out := p.att[(i*l.s.Heads+h)*d:][:d]
		for j, w := range weights {
			addScaled(out, w, l.valueOf(c, p, &s, h, j))
		}
	}
}

// weights are the probabilities with which head h of wanted row i sees its keys,
// and what the cap's slope and the scale make of a score's derivative.
func (l *layer) weights(c *call, p *pass, s *seen, i, h int) (weights, slopes []float64) {
	d := l.s.HeadDim
	q := p.q[(i*l.s.Heads+h)*d:][:d]
	weights, slopes = make([]float64, s.len()), make([]float64, s.len())
	for j := range weights {
		score, slope := capped(dot(q, l.keyOf(c, p, s, h, j))*l.s.AttnScale, l.s.AttnSoftCap)
		weights[j], slopes[j] = score, slope*l.s.AttnScale
	}
	softmax(weights)
	return weights, slopes
}

func (l *layer) keyOf(c *call, p *pass, s *seen, h, j int) []float64 {
	var cache [][]float64
	if c.kv != nil {
		cache = c.kv.k
	}
	return s.head(c, cache, p.k, l.s.KVHeads*l.s.HeadDim, l.of(h), l.s.HeadDim, j)
}

func (l *layer) valueOf(c *call, p *pass, s *seen, h, j int) []float64 {
	var cache [][]float64
	if c.kv != nil {
		cache = c.kv.v
	}
	return s.head(c, cache, p.v, l.s.KVHeads*l.s.HeadDim, l.of(h), l.s.HeadDim, j)
}

// of is the first column of the key/value head that query head h shares.
func (l *layer) of(h int) int { return h / (l.s.Heads / l.s.KVHeads) * l.s.HeadDim }

// backAttend adds the gradients of queries, keys and values of head h for
// wanted row i, given those of the attention's output.
func (l *layer) backAttend(c *call, p *pass, s *seen, i, h int, datt, dq, dk, dv []float64) {
	d, stride := l.s.HeadDim, l.s.KVHeads*l.s.HeadDim
	weights, slopes := l.weights(c, p, s, i, h)
	at := (i*l.s.Heads + h) * d
	out := datt[at:][:d]
	mean := dot(out, p.att[at:][:d])
	for j, w := range weights {
		to := s.rows[j]*stride + l.of(h)
		ds := w * (dot(out, p.v[to:][:d]) - mean) * slopes[j]
		addScaled(dq[at:][:d], ds, p.k[to:][:d])
		addScaled(dk[to:][:d], ds, p.q[at:][:d])
		addScaled(dv[to:][:d], w, out)
	}
}

// kvCache holds keys and values [slot][capacity, K*HeadDim]. What is in use is
// known as calls are queued, not as they run.
type kvCache struct {
	e        *Engine
	k, v     [][]float64
	used     []int
	capacity int
	stride   int
	faults   faults
}

// NewKV implements engine.Engine.
func (e *Engine) NewKV(m *model.Model, slots, capacity int) (engine.KV, error) {
	if slots < 1 || capacity < 1 {
		return nil, fmt.Errorf("kv cache of %d slots x %d tokens: want at least one of each", slots, capacity)
	}
	c := &kvCache{e: e, used: make([]int, slots), capacity: capacity, stride: m.Spec.KVHeads * m.Spec.HeadDim, faults: make(faults, 1)}
	for range slots {
		c.k = append(c.k, make([]float64, capacity*c.stride))
		c.v = append(c.v, make([]float64, capacity*c.stride))
	}
	e.meter.take(c.bytes())
	return c, nil
}

func (c *kvCache) bytes() int64 { return int64(2*len(c.used)*c.capacity*c.stride) * value }

func (c *kvCache) Truncate(slot, n int) { c.used[slot] = min(c.used[slot], n) }

func (c *kvCache) Release() {
	c.e.drain()
	c.e.meter.take(-c.bytes())
	c.k, c.v, c.used = nil, nil, nil
}

// check makes sure that a batch continues what the cache holds, and takes note of it.
func (c *kvCache) check(b *engine.Batch) error {
	if err := b.Continues(c.used, c.capacity); err != nil {
		return err
	}
	for _, s := range b.Segments {
		c.used[s.Slot] = s.Past + s.Len
	}
	return nil
}

func (c *kvCache) append(b *engine.Batch, k, v []float64) {
	for _, s := range b.Segments {
		copy(c.k[s.Slot][s.Past*c.stride:], k[s.Start*c.stride:][:s.Len*c.stride])
		copy(c.v[s.Slot][s.Past*c.stride:], v[s.Start*c.stride:][:s.Len*c.stride])
	}
}
