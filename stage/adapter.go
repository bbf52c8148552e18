package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/heal/adapter"
)

// adapt reads a PEFT adapter for the layers that run, on the engine that was
// started. The caller releases it when the runner is closed.
func (s *Session) adapt(ctx context.Context, dir string) (*heal.Set, error) {
	trainer, ok := s.Engine.(engine.Trainer)
	if !ok {
		return nil, failed("{device} %s: this engine runs no adapters", s.Engine.Info().Device).with("use {device} cpu, or merge the adapter with coppice merge-adapter")
	}
	a, err := adapter.Read(dir, s.Model.Spec, s.kept())
	if err != nil {
		return nil, failed("{adapter} %w", err)
	}
	if s.adapterHash, err = hashAdapter(dir); err != nil {
		return nil, err
	}
	return heal.Frozen(ctx, trainer, a)
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
