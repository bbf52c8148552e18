package cpu

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// fetched is a layer whose pages are read ahead; what products cannot use where
// it is mapped is converted by Wait, so that only one layer is there twice.
type fetched struct {
	e       *Engine
	m       *model.Model
	index   int
	options engine.LayerOptions
	err     error
	read    chan struct{} // closed when the pages have come
}

// Fetch implements engine.Engine.
func (e *Engine) Fetch(m *model.Model, i int, o engine.LayerOptions) engine.Fetched {
	f := &fetched{e: e, m: m, index: i, options: o, err: e.supports(o.Store), read: make(chan struct{})}
	if f.err != nil || !o.Streams {
		close(f.read)
		return f
	}
	ahead := m.Source.Populate
	if o.CacheOnly {
		ahead = m.Source.Prefetch
	}
	go func() {
		defer close(f.read)
		ahead(names(m.Spec.LayerWeights(i))...)
	}()
	return f
}

// supports refuses what this engine does not have.
func (e *Engine) supports(s engine.Store) error {
	if s != engine.AsStored {
		return fmt.Errorf("weights kept as %s: %w (%s)", s, engine.ErrUnsupported, e.info.Device)
	}
	return nil
}

// Wait implements engine.Fetched.
func (f *fetched) Wait(ctx context.Context) (engine.Layer, error) {
	select {
	case <-f.read:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if f.err != nil {
		return nil, f.err
	}
	return f.e.layer(f.m, f.index, f.options)
}

// Drop implements engine.Fetched.
func (f *fetched) Drop() {
	<-f.read
	f.m.Source.Release(names(f.m.Spec.LayerWeights(f.index))...)
}

func names(ws []model.Weight) []string {
	out := make([]string, len(ws))
	for i, w := range ws {
		out[i] = w.Name
	}
	return out
}
