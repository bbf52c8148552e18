package cpu

import (
	"context"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// embedding looks rows up where the checkpoint is mapped.
type embedding struct {
	e            *Engine
	raw          []byte
	dtype        safetensors.DType
	width        int
	scale        float32
	learned      *embedding // looks up positions; nil where they are not learned
	most, offset int        // of learned positions: how many there are, what is added to them
	// trained holds the table where it trains, else it is nil.
	trained *trainable
	// leave lets the table's pages go; passed does so after every call, where they
	// stream, else it is nil.
	leave, passed func()
}

// Embedding implements engine.Engine.
func (e *Engine) Embedding(m *model.Model, o engine.EmbeddingOptions) (engine.Embedding, error) {
	x, err := e.table(m, block.EmbeddingOf(m.Spec), o)
	if err != nil {
		return nil, err
	}
	x.scale = float32(m.Spec.EmbedScale)
	if w, ok := block.PositionsOf(m.Spec); ok {
		x.most, x.offset = m.Spec.MaxPositions, m.Spec.PositionOffset
		x.learned, err = e.table(m, w, o)
	}
	return x, err
}

// table opens one table of rows.
func (e *Engine) table(m *model.Model, w model.Weight, o engine.EmbeddingOptions) (*embedding, error) {
	t, _, err := trainedParts(o.Trained, w)
	if err != nil {
		return nil, err
	}
	if t != nil {
		return &embedding{e: e, trained: t, width: m.Spec.Hidden, scale: 1}, nil
	}
	raw, d, err := m.Stored(w)
	if err != nil {
		return nil, err
	}
	x := &embedding{e: e, raw: raw, dtype: d, width: m.Spec.Hidden, scale: 1}
	x.leave = func() { m.Source.Release(w.Name) }
	if o.Streams {
		x.passed = x.leave
	}
	return x, nil
}

func (x *embedding) Forward(ctx context.Context, b *engine.Batch, y engine.Hidden) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	out := floats(y, b.Len(), x.width)
	for i, token := range b.Tokens {
		x.row(out[i*x.width:][:x.width], int(token))
	}
	if x.passed != nil {
		x.passed()
	}
	if x.learned == nil {
		return nil
	}
	if err := b.Reach(x.most); err != nil {
		return err
	}
	place := make([]float32, x.width)
	for i, p := range b.Positions {
		x.learned.row(place, int(p)+x.offset)
		x.e.k.add(out[i*x.width:][:x.width], out[i*x.width:][:x.width], place)
	}
	if x.learned.passed != nil {
		x.learned.passed()
	}
	return nil
}

// row looks up row i.
func (x *embedding) row(dst []float32, i int) {
	if x.trained != nil {
		copy(dst, x.trained.master[i*x.width:])
	} else {
		x.e.widen(dst, x.raw[i*x.width*x.dtype.Size():], x.dtype)
	}
	if x.scale != 1 {
		x.e.k.scale(dst, x.scale)
	}
}

func (x *embedding) Release() {
	if x.raw != nil {
		x.raw = nil
		x.leave()
	}
	if x.learned != nil {
		x.learned.Release()
	}
}

var _ engine.TrainEmbedding = (*embedding)(nil)

// Backward implements engine.TrainEmbedding. Workers share the columns, so that a
// token's rows are added in the order of the batch.
func (x *embedding) Backward(ctx context.Context, b *engine.Batch, dy engine.Hidden) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	d := floats(dy, b.Len(), x.width)
	if err := x.back(b.Tokens, 0, d); err != nil || x.learned == nil {
		return err
	}
	return x.learned.back(b.Positions, x.offset, d)
}

// back adds rows of d to the gradients of rows at of the table, if it trains.
func (x *embedding) back(at []int32, offset int, d []float32) error {
	if x.trained == nil {
		return nil
	}
	x.trained.fill()
	return x.e.pool.split(x.width, 256, 16, func(w *worker, lo, hi int) {
		row := w.row.floats(hi - lo)
		for i, r := range at {
			copy(row, d[i*x.width+lo:])
			x.e.k.scale(row, x.scale)
			grad := x.trained.grad[(int(r)+offset)*x.width+lo:][:hi-lo]
			x.e.k.add(grad, grad, row)
		}
	})
}
