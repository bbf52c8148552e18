//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"errors"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
)

// table is a stored matrix on the device, its values as they are stored: the
// embedding's, which a tied head projects with where products take it as it is.
type table struct {
	memory buffer
	dtype  int
	ready  uintptr // event of the copy stream
	key    tableKey
	users  int
}

type tableKey struct {
	m    *model.Model
	name string
}

// embedding looks tokens up, and positions where they are learned.
type embedding struct {
	e         *Engine
	s         *model.Spec
	tokens    *table
	positions *table // nil where they are not learned
}

// Embedding implements engine.Engine.
func (e *Engine) Embedding(m *model.Model, o engine.EmbeddingOptions) (engine.Embedding, error) {
	if err := e.frozen(o.Options); err != nil {
		return nil, err
	}
	x := &embedding{e: e, s: m.Spec}
	var err error
	x.tokens, err = e.table("Embedding", m, block.EmbeddingOf(m.Spec))
	if w, learned := block.PositionsOf(m.Spec); learned && err == nil {
		x.positions, err = e.table("Embedding", m, w)
	}
	if err != nil {
		x.Release()
		return nil, err
	}
	return x, nil
}

// table brings a stored matrix to the device, unless it is there.
func (e *Engine) table(name string, m *model.Model, w model.Weight) (*table, error) {
	e.sharing.Lock()
	defer e.sharing.Unlock()
	key := tableKey{m, w.Name}
	if t := e.tables[key]; t != nil {
		t.users++
		return t, nil
	}
	raw, d, err := m.Stored(w)
	if err != nil {
		return nil, err
	}
	t := &table{dtype: storedDType(d), key: key, users: 1}
	err = e.w.do(name, func() (err error) {
		t.memory, err = e.weightMemory(int64(len(raw)))
		return err
	})
	if err != nil {
		return nil, err
	}
	e.tables[key] = t
	err = e.stage.up(context.Background(), name, e.copies, func(at int) address { return t.memory.from(int64(at)) }, raw, d.Size(), nil)
	m.Source.Release(w.Name)
	if err == nil {
		err = e.w.do(name, func() (err error) {
			t.ready, err = e.record(e.copies)
			return err
		})
	}
	if err != nil {
		return nil, errors.Join(err, e.leave(name, t))
	}
	return t, nil
}

// release lets go of a table, which may be nil.
func (e *Engine) release(name string, t *table) {
	if t != nil {
		e.sharing.Lock()
		defer e.sharing.Unlock()
		_ = e.leave(name, t)
	}
}

// leave gives a table's memory back with the last of its users.
func (e *Engine) leave(name string, t *table) error {
	if t.users--; t.users > 0 {
		return nil
	}
	delete(e.tables, t.key)
	return e.w.do(name, func() error { return errors.Join(e.arrive(&t.ready), e.letGo(t.memory)) })
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
		err := x.look(x.tokens, out, lists.at, n, 0, float32(x.s.EmbedScale), 0)
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
	for _, t := range []**table{&x.tokens, &x.positions} {
		x.e.release("Embedding.Release", *t)
		*t = nil
	}
}
