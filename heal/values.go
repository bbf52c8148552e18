package heal

import (
	"context"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
)

// copyIn gives a Trainable the values that the model has.
func copyIn(ctx context.Context, m *model.Model, w model.Weight, t engine.Trainable) error {
	info, _ := m.Source.Tensor(w.Name)
	raw, err := m.Source.Data(w.Name)
	if err != nil {
		return err
	}
	values := make([]float32, w.Elements())
	number.Widen(values, raw, info.DType)
	m.Source.Release(w.Name)
	return t.Write(ctx, engine.Master, values)
}
