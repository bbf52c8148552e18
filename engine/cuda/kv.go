//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// kvCache holds one layer's keys and values [slots * capacity, K*HeadDim], rotated, as
// products take them.
// What is in use is known as calls are queued.
type kvCache struct {
	e        *Engine
	k, v     buffer
	width    int // K*HeadDim
	capacity int
	used     []int
}

// NewKV implements engine.Engine.
func (e *Engine) NewKV(m *model.Model, slots, capacity int) (engine.KV, error) {
	if slots < 1 || capacity < 1 {
		return nil, fmt.Errorf("kv cache of %d slots x %d tokens: want at least one of each", slots, capacity)
	}
	c := &kvCache{e: e, width: m.Spec.KVHeads * m.Spec.HeadDim, capacity: capacity, used: make([]int, slots)}
	err := e.w.do("NewKV", func() (err error) {
		bytes := int64(slots*capacity*c.width) * e.inputBytes()
		if c.k, err = e.pool.take(work, bytes); err != nil {
			return err
		}
		if c.v, err = e.pool.take(work, bytes); err != nil {
			return errors.Join(err, e.pool.give(c.k))
		}
		return nil
	})
	return c, err
}

// Truncate implements engine.KV.
func (c *kvCache) Truncate(slot, n int) { c.used[slot] = min(c.used[slot], n) }

// Release implements engine.KV.
func (c *kvCache) Release() {
	if c.used == nil {
		return
	}
	_ = c.e.w.do("KV.Release", func() error { return errors.Join(c.e.pool.give(c.k), c.e.pool.give(c.v)) })
	c.used = nil
}

// grow takes note of a batch that was queued.
func (c *kvCache) grow(b *engine.Batch) {
	for _, s := range b.Segments {
		c.used[s.Slot] = s.Past + s.Len
	}
}
