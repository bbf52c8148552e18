package stage

import (
	"context"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/heal/adapter"
)

// adapt reads a PEFT adapter for the layers that run, on the engine that was
// started. The caller releases it when the runner is closed.
func (s *Session) adapt(ctx context.Context, dir string) (*heal.Set, error) {
	trainer, ok := s.Engine.(engine.Trainer)
	if !ok {
		return nil, failed("{device} %s: this engine runs no adapters", s.Engine.Info().Device).with("merge the adapter with coppice merge-adapter")
	}
	a, err := adapter.Read(dir, s.Model.Spec, s.kept())
	if err != nil {
		return nil, failed("{adapter} %w", err)
	}
	return heal.Frozen(ctx, trainer, a)
}
