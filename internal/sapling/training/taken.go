package training

import (
	"context"
	"math"
	"os"
	"path/filepath"

	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Taken are the texts that a stage trains on, in the order that it takes them: the
// samples that healing makes of the rows below dir, by its own order. Model has
// Sapling's tokenizer.
func (s Stage) Taken(ctx context.Context, model, dir string) ([]string, error) {
	h := stage.DefaultHeal()
	h.Model = model
	for _, name := range s.Rows {
		h.Data.Sources = append(h.Data.Sources, filepath.Join(dir, filepath.FromSlash(name)))
	}
	h.Data.MaxLength, h.Data.Validation, h.Data.Seed, h.Data.Preview = MaxLength, 0, s.Seed, math.MaxInt
	t, err := tokenizer.Load(model)
	if err != nil {
		return nil, err
	}
	var samples []string
	err = h.Show(ctx, stage.Env{Getenv: os.Getenv, Talk: stage.Silent{}}, func(p report.Preview) error {
		ids := make([]int, len(p.IDs))
		for i, id := range p.IDs {
			ids[i] = int(id)
		}
		samples = append(samples, t.Text(ids))
		return nil
	})
	if err != nil {
		return nil, err
	}
	o := heal.Defaults(heal.Partial)
	o.BatchSize, o.Seed = s.Batch, s.Seed
	order := o.Order(len(samples))
	var taken []string
	for step := range s.Steps {
		for _, i := range order.Step(step) {
			taken = append(taken, samples[i])
		}
	}
	return taken, nil
}
