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
	e     *Engine
	raw   []byte
	dtype safetensors.DType
	width int
	scale float32
	// trained holds the table where it trains, else it is nil.
	trained *trainable
	// leave lets the table's pages go; passed does so after every call, where they
	// stream, else it is nil.
	leave, passed func()
}

// Embedding implements engine.Engine.
func (e *Engine) Embedding(m *model.Model, o engine.EmbeddingOptions) (engine.Embedding, error) {
	w := block.EmbeddingOf(m.Spec)
	t, _, err := trainedParts(o.Trained, w)
	if err != nil {
		return nil, err
	}
	if t != nil {
		return &embedding{e: e, trained: t, width: m.Spec.Hidden, scale: float32(m.Spec.EmbedScale)}, nil
	}
	raw, d, err := load(m, w)
	if err != nil {
		return nil, err
	}
	x := &embedding{e: e, raw: raw, dtype: d, width: m.Spec.Hidden, scale: float32(m.Spec.EmbedScale)}
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
	stride := x.width * x.dtype.Size()
	for i, token := range b.Tokens {
		row := out[i*x.width:][:x.width]
		if x.trained != nil {
			copy(row, x.trained.master[int(token)*x.width:])
		} else {
			x.e.widen(row, x.raw[int(token)*stride:], x.dtype)
		}
		if x.scale != 1 {
			x.e.k.scale(row, x.scale)
		}
	}
	if x.passed != nil {
		x.passed()
	}
	return nil
}

func (x *embedding) Release() {
	if x.raw != nil {
		x.raw = nil
		x.leave()
	}
}

var _ engine.TrainEmbedding = (*embedding)(nil)

// Backward implements engine.TrainEmbedding. Workers share the columns, so that a
// token's rows are added in the order of the batch.
func (x *embedding) Backward(ctx context.Context, b *engine.Batch, dy engine.Hidden) error {
	if err := ctx.Err(); err != nil || x.trained == nil {
		return context.Cause(ctx)
	}
	d := floats(dy, b.Len(), x.width)
	return x.e.pool.split(x.width, 256, 16, func(w *worker, lo, hi int) {
		row := w.floats(slotRow, hi-lo)
		for i, token := range b.Tokens {
			copy(row, d[i*x.width+lo:])
			x.e.k.scale(row, x.scale)
			grad := x.trained.grad[int(token)*x.width+lo:][:hi-lo]
			x.e.k.add(grad, grad, row)
		}
	})
}
