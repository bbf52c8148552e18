package cpu

import (
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// kvCache holds one layer's keys and values, rotated, with capacity rounded up to
// whole query tiles so that attention reads them where they lie.
type kvCache struct {
	e                *Engine
	k, v             []float32 // [slots, K, capacity, HeadDim], or where tiles multiply
	keys, values     []uint16  // [slots, K] of headTiles
	heads, rows, dim int       // K, capacity, HeadDim
	width            int       // HeadDim, or the depth of headTiles
	used             []int
}

// NewKV implements engine.Engine.
func (e *Engine) NewKV(m *model.Model, slots, capacity int) (engine.KV, error) {
	if slots < 1 || capacity < 1 {
		return nil, fmt.Errorf("kv cache of %d slots x %d tokens: want at least one of each", slots, capacity)
	}
	s := m.Spec
	c := &kvCache{e: e, heads: s.KVHeads, rows: roundUp(capacity, queryTile), dim: s.HeadDim, width: int(e.headWidth(s)), used: make([]int, slots)}
	n := slots * c.heads * c.rows * c.width
	if e.tiled() {
		c.keys, c.values = make([]uint16, n), make([]uint16, n)
	} else {
		c.k, c.v = make([]float32, n), make([]float32, n)
	}
	return c, nil
}

// Truncate implements engine.KV. Attention's products meet values that are not there
// yet with weights of zero, which hide no NaN or infinity of a sequence before.
func (c *kvCache) Truncate(slot, n int) {
	used := c.used[slot]
	if used <= n {
		return
	}
	for h := range c.heads {
		if c.e.tiled() {
			x := c.tiles(slot, h)
			for place := n; place < used; place++ {
				x.forget(place)
			}
			continue
		}
		at := c.at(slot, h)
		clear(c.v[at+n*c.width : at+used*c.width])
	}
	c.used[slot] = n
}

func (c *kvCache) Release() { c.k, c.v, c.keys, c.values, c.used = nil, nil, nil, nil, nil }

// at is where the keys or values of one head of a slot start.
func (c *kvCache) at(slot, head int) int { return (slot*c.heads + head) * c.rows * c.width }

// tiles are the keys and values of one head of a slot.
func (c *kvCache) tiles(slot, head int) headTiles {
	at, n := c.at(slot, head), c.rows*c.width
	return headTiles{keys: c.keys[at : at+n], values: c.values[at : at+n], places: c.rows, depth: c.width}
}

// append stores a segment's keys and values, its rows of [N, K*HeadDim].
func (c *kvCache) append(w *worker, s engine.Segment, k, v []float32) {
	for h := range c.heads {
		c.appendHead(w, s, h, k, v)
	}
	c.advance(s)
}

// advance counts what has been stored of a segment.
func (c *kvCache) advance(s engine.Segment) { c.used[s.Slot] = s.Past + s.Len }

// appendHead stores those of one head.
func (c *kvCache) appendHead(w *worker, s engine.Segment, head int, k, v []float32) {
	if c.e.tiled() {
		c.appendTiles(w, s, head, k, v)
		return
	}
	to, stride := c.at(s.Slot, head)+s.Past*c.width, c.heads*c.dim
	for i := s.Start; i < s.Start+s.Len; i++ {
		copy(c.k[to:to+c.width], k[i*stride+head*c.width:])
		copy(c.v[to:to+c.width], v[i*stride+head*c.width:])
		to += c.width
	}
}

// appendTiles is appendHead where tiles multiply.
func (c *kvCache) appendTiles(w *worker, s engine.Segment, head int, k, v []float32) {
	x, rows := c.tiles(s.Slot, head), w.row.halves(2*c.width)
	key, value := rows[:c.width], rows[c.width:]
	clear(rows)
	for i := range s.Len {
		at := ((s.Start+i)*c.heads + head) * c.dim
		c.e.k.pack(key[:c.dim], k[at:at+c.dim])
		c.e.k.pack(value[:c.dim], v[at:at+c.dim])
		x.put(s.Past+i, key, value)
	}
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
