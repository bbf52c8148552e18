package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/heal/adapter"
	"github.com/coppice-ml/coppice/prune"
)

// adapt reads a PEFT adapter for the layers that run, on the engine that was
// started. The caller releases it when the runner is closed.
func (s *Session) adapt(ctx context.Context, dir string) (*heal.Set, error) {
	trainer, ok := s.Engine.(engine.Trainer)
	if !ok {
		return nil, failed("{device} %s: this engine runs no adapters", s.Engine.Info().Device).with("use {device} cpu, or merge the adapter with coppice merge-adapter")
	}
	a, err := s.readAdapter("adapter", dir)
	if err != nil {
		return nil, err
	}
	if s.adapterHash, err = hashAdapter(dir); err != nil {
		return nil, err
	}
	return heal.Frozen(ctx, trainer, a)
}

// readAdapter reads a PEFT adapter, which a field names, for the layers that run. It
// refuses one that was trained on other layers: its own count from 0 without gaps, and
// could be put on the wrong ones without a tensor that disagrees.
func (s *Session) readAdapter(field, dir string) (*adapter.Adapter, error) {
	p, err := prune.ReadPlan(filepath.Join(dir, prune.PlanFile))
	switch {
	case errors.Is(err, fs.ErrNotExist): // of a whole model, or made elsewhere
	case err != nil:
		return nil, failed("{"+field+"} %s: %w", dir, reason(err))
	case len(p.Drop) > 0 && !s.runs(p):
		drop := prune.FormatLayers(p.Drop)
		return nil, failed("{"+field+"} %s was trained on what is left of a model of %d layers without %s, and here %s run", dir, p.Layers, drop, s.running()).
			with("its base is what `coppice prune MODEL --drop %s --out DIR` writes; commands that run a model take --drop %[1]s beside {adapter}, too", drop)
	}
	a, err := adapter.Read(dir, s.Model.Spec, s.kept())
	if err != nil {
		return nil, failed("{"+field+"} %w", err)
	}
	return a, nil
}

// runs says whether the layers that run are those that a plan leaves. Of a checkpoint
// that does not say how it was pruned, their number has to do.
func (s *Session) runs(p prune.Plan) bool {
	before, err := prune.PlanOf(s.Checkpoint)
	if err != nil {
		return p.Leaves(s.Model.Spec.Layers, s.kept(), nil) || s.Keep == nil && s.Model.Spec.Layers == len(p.Keep)
	}
	return p.Leaves(s.Model.Spec.Layers, s.kept(), &before)
}

// running names the layers that run.
func (s *Session) running() string {
	if s.Keep == nil {
		return fmt.Sprintf("all %d", s.Model.Spec.Layers)
	}
	return fmt.Sprintf("%s of %d", prune.FormatLayers(s.Keep), s.Model.Spec.Layers)
}

// hashAdapter identifies an adapter: the SHA-256 of its two files.
func hashAdapter(dir string) (string, error) {
	h := sha256.New()
	for _, name := range []string{adapter.ConfigFile, adapter.WeightsFile} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", name, len(raw))
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
