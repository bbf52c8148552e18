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
	// leave lets the table's pages go; passed does so after every call, where they
	// stream, else it is nil.
	leave, passed func()
}

// Embedding implements engine.Engine.
func (e *Engine) Embedding(m *model.Model, o engine.EmbeddingOptions) (engine.Embedding, error) {
	if err := e.supports(o.Options, engine.AsStored); err != nil {
		return nil, err
	}
	w := block.EmbeddingOf(m.Spec)
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
		x.e.widen(row, x.raw[int(token)*stride:], x.dtype)
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
