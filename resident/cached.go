package resident

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
)

// Cached is a list of layers with a cache of keys and values each, through which
// sequences grow: every cache has a slot for each of them.
type Cached struct {
	s      *Set
	layers []int
	kvs    []engine.KV // [layers]
	call   engine.Call
}

// Cached makes the caches of a list of layers, in the order they run, for slots
// sequences of up to capacity tokens each.
func (s *Set) Cached(layers []int, slots, capacity int) (*Cached, error) {
	c := &Cached{s: s, layers: layers}
	for range layers {
		kv, err := s.e.NewKV(s.m, slots, capacity)
		if err != nil {
			c.Release()
			return nil, err
		}
		c.kvs = append(c.kvs, kv)
	}
	return c, nil
}

// Forward takes a batch from its tokens through all layers, whose caches it
// continues, to x [N, D].
func (c *Cached) Forward(ctx context.Context, b *engine.Batch, x engine.Hidden) error {
	embedding, err := c.s.Embedding()
	if err != nil {
		return err
	}
	if err := embedding.Forward(ctx, b, x); err != nil {
		return fmt.Errorf("embedding: %w", err)
	}
	for depth, i := range c.layers {
		if err := c.step(ctx, depth, i, b, x); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cached) step(ctx context.Context, depth, i int, b *engine.Batch, x engine.Hidden) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	layer, err := c.s.Layer(ctx, i)
	if err != nil {
		return err
	}
	next := c.layers[(depth+1)%len(c.layers)] // the next batch begins anew
	c.s.Ahead(next)
	c.call = engine.Call{Batch: b, KV: c.kvs[depth]}
	if err := layer.Forward(ctx, &c.call, x, x); err != nil {
		return fmt.Errorf("layer %d at depth %d: %w", i, depth, err)
	}
	if next != i {
		c.s.Done(i)
	}
	return nil
}

// Logits writes the logits of rows of x to out [len(rows), V].
func (c *Cached) Logits(ctx context.Context, x engine.Hidden, rows []int, out []float32) error {
	head, err := c.s.Head()
	if err != nil {
		return err
	}
	if err := head.Logits(ctx, x, rows, out); err != nil {
		return fmt.Errorf("head: %w", err)
	}
	return nil
}

// Truncate forgets what a slot of every cache holds after its first n tokens.
func (c *Cached) Truncate(slot, n int) {
	for _, kv := range c.kvs {
		kv.Truncate(slot, n)
	}
}

// Release lets go of the caches; the layers are the Set's.
func (c *Cached) Release() {
	for _, kv := range c.kvs {
		kv.Release()
	}
	c.kvs = nil
}
