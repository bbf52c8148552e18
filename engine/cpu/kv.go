package cpu

import (
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// kvCache holds one layer's keys and values [slots, K, capacity, HeadDim],
// rotated, with capacity rounded up to whole query tiles so that attention
// reads them where they lie.
type kvCache struct {
	k, v               []float32
	heads, rows, width int // K, capacity, HeadDim
	used               []int
}

// NewKV implements engine.Engine.
func (e *Engine) NewKV(m *model.Model, slots, capacity int) (engine.KV, error) {
	if slots < 1 || capacity < 1 {
		return nil, fmt.Errorf("kv cache of %d slots x %d tokens: want at least one of each", slots, capacity)
	}
	s := m.Spec
	c := &kvCache{heads: s.KVHeads, rows: roundUp(capacity, queryTile), width: s.HeadDim, used: make([]int, slots)}
	n := slots * c.heads * c.rows * c.width
	c.k, c.v = make([]float32, n), make([]float32, n)
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
		at := c.at(slot, h)
		clear(c.v[at+n*c.width : at+used*c.width])
	}
	c.used[slot] = n
}

func (c *kvCache) Release() { c.k, c.v, c.used = nil, nil, nil }

// at is where the keys or values of one head of a slot start.
func (c *kvCache) at(slot, head int) int { return (slot*c.heads + head) * c.rows * c.width }

// append stores a segment's keys and values, its rows of [N, K*HeadDim].
func (c *kvCache) append(s engine.Segment, k, v []float32) {
	stride := c.heads * c.width
	for h := range c.heads {
		to := c.at(s.Slot, h) + s.Past*c.width
		for i := s.Start; i < s.Start+s.Len; i++ {
			copy(c.k[to:to+c.width], k[i*stride+h*c.width:])
			copy(c.v[to:to+c.width], v[i*stride+h*c.width:])
			to += c.width
		}
	}
	c.used[s.Slot] = s.Past + s.Len
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
