package heal

import (
	"context"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
)

// chunk is how many values are copied at a time: tensors can be large.
const chunk = 1 << 20

// copyIn gives a Trainable the values that the model has.
func copyIn(ctx context.Context, m *model.Model, w model.Weight, t engine.Trainable) error {
	info, _ := m.Source.Tensor(w.Name)
	raw, err := m.Source.Data(w.Name)
	if err != nil {
		return err
	}
	values := make([]float32, min(chunk, int(w.Elements())))
	size := info.DType.Size()
	for at := 0; at < int(w.Elements()); at += len(values) {
		values = values[:min(len(values), int(w.Elements())-at)]
		number.Widen(values, raw[at*size:], info.DType)
		if err := t.Write(ctx, engine.Master, at, values); err != nil {
			return err
		}
	}
	m.Source.Release(w.Name)
	return nil
}
