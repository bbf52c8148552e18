//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"errors"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
)

// table is a stored matrix on the device, its values as they are stored.
type table struct {
	memory buffer
	dtype  int
	ready  uintptr // event of the copy stream
}

// embedding looks tokens up, and positions where they are learned.
type embedding struct {
	e         *Engine
	s         *model.Spec
	tokens    table
	positions *table // nil where they are not learned
}

// Embedding implements engine.Engine.
func (e *Engine) Embedding(m *model.Model, o engine.EmbeddingOptions) (engine.Embedding, error) {
	if err := e.frozen(o.Options); err != nil {
		return nil, err
	}
	x := &embedding{e: e, s: m.Spec}
	err := e.table(m, block.EmbeddingOf(m.Spec), &x.tokens)
	if w, learned := block.PositionsOf(m.Spec); learned && err == nil {
		x.positions = &table{}
		err = e.table(m, w, x.positions)
	}
	if err != nil {
		x.Release()
		return nil, err
	}
	return x, nil
}

// table brings a stored matrix to the device.
func (e *Engine) table(m *model.Model, w model.Weight, t *table) error {
	const name = "Embedding"
	raw, d, err := m.Stored(w)
	if err != nil {
		return err
	}
	t.dtype = storedDType(d)
	err = e.w.do(name, func() (err error) {
		t.memory, err = e.weightMemory(int64(len(raw)))
		return err
	})
	if err != nil {
		return err
	}
	if err := e.stage.up(context.Background(), name, e.copies, func(at int) address { return t.memory.from(int64(at)) }, raw, d.Size(), nil); err != nil {
		return err
	}
	m.Source.Release(w.Name)
	return e.w.do(name, func() (err error) {
		t.ready, err = e.record(e.copies)
		return err
	})
}

// Forward implements engine.Embedding.
func (x *embedding) Forward(ctx context.Context, b *engine.Batch, y engine.Hidden) error {
	const name = "Embedding.Forward"
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	n, d := b.Len(), x.s.Hidden
	out := x.e.states(y, n, d)
	if x.positions != nil {
		if err := b.Reach(x.s.MaxPositions); err != nil {
			return err
		}
	}
	x.e.calls.Lock()
	defer x.e.calls.Unlock()
	lists, err := x.e.upload(ctx, name, append(append(make([]int32, 0, 2*n), b.Tokens...), b.Positions...))
	if err != nil {
		return err
	}
	err = x.e.w.do(name, func() error {
		err := x.look(&x.tokens, out, lists.at, n, 0, float32(x.s.EmbedScale), 0)
		if x.positions != nil && err == nil {
			err = x.look(x.positions, out, lists.from(int64(4*n)), n, x.s.PositionOffset, 1, 1)
		}
		return errors.Join(err, x.e.pool.give(lists))
	})
	if err == nil {
		x.e.w.note(name)
	}
	return err
}

// look looks rows up.
func (x *embedding) look(t *table, y, ids address, n, offset int, scale float32, adds int) error {
	if err := x.e.arrive(&t.ready); err != nil {
		return err
	}
	return x.e.rowsOf("embed", n, y, t.memory, t.dtype, ids, n, x.s.Hidden, offset, scale, adds)
}

// Release implements engine.Embedding.
func (x *embedding) Release() {
	tables := []*table{&x.tokens}
	if x.positions != nil {
		tables = append(tables, x.positions)
	}
	_ = x.e.w.do("Embedding.Release", func() (err error) {
		for _, t := range tables {
			err = errors.Join(err, x.e.arrive(&t.ready), x.e.letGo(t.memory))
			t.memory = buffer{}
		}
		return err
	})
}
