package prune

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/model"
)

// PlanFile is the name of the plan in a checkpoint that Write made.
const PlanFile = "coppice_plan.json"

// Options of Write.
type Options struct {
	// Force replaces an output that exists, if it looks like a checkpoint.
	Force bool
	// Progress, which may be nil, counts bytes written, from one goroutine at a time.
	Progress func(done, total int64)
	// Version of Coppice, for the plan and the model card.
	Version string
	// ModelHash is the checkpoint's Hash, where the caller has it; Write works it
	// out, Surgery leaves it out of the plan.
	ModelHash string
	// Healed says that the weights that are left are trained on.
	Healed bool
	// SourceName is what the card calls the model that was pruned: a hub id
	// ("org/name"), which then also becomes the card's base_model, or any other
	// name. Empty means the name of the checkpoint's directory.
	SourceName string
}

// Write writes the checkpoint that plan leaves of c to the directory out. Kept
// tensors keep their bytes and dtype and take the names of their new places, a
// layer's buffers with them; of config.json just the keys that hold layer counts,
// indices or patterns change; the plan lies beside them as PlanFile, and a new
// README.md says what was cut, under the original card's licence. The directory
// appears complete or not at all. It fails when the plan is for another model, and
// with the errors of [checkpoint.Write].
func Write(ctx context.Context, c *checkpoint.Checkpoint, spec *model.Spec, plan Plan, out string, opt Options) (checkpoint.Written, error) {
	var err error
	if opt.ModelHash == "" {
		if opt.ModelHash, err = c.Hash(ctx); err != nil {
			return checkpoint.Written{}, fmt.Errorf("prune %s: %w", c.Dir(), err)
		}
	}
	surgery, err := Surgery(c, spec, plan, opt)
	if err != nil {
		return checkpoint.Written{}, fmt.Errorf("prune %s: %w", c.Dir(), err)
	}
	return checkpoint.Write(ctx, c, out, surgery, checkpoint.WriteOptions{Force: opt.Force, Progress: opt.Progress})
}

// Surgery is what Write does to a checkpoint, for those who change more of it.
func Surgery(c *checkpoint.Checkpoint, spec *model.Spec, plan Plan, opt Options) (checkpoint.Surgery, error) {
	if opt.SourceName == "" {
		opt.SourceName = dirName(c.Dir())
	}
	if err := plan.Complete(c, spec, opt); err != nil {
		return checkpoint.Surgery{}, err
	}
	config, err := spec.PruneConfig(c.Config(), plan.Keep)
	if err != nil {
		return checkpoint.Surgery{}, err
	}
	file, err := planFile(plan)
	if err != nil {
		return checkpoint.Surgery{}, err
	}
	return checkpoint.Surgery{
		Rename: spec.Renamer(plan.Keep),
		Config: config,
		Card:   card(plan, spec.PruneNote(plan.Keep), c, opt),
		Extra:  map[string][]byte{PlanFile: file},
	}, nil
}

// Complete checks the plan against the model and fills in what a plan file may
// leave out, and what it is from: opt's names and hash.
func (p *Plan) Complete(c *checkpoint.Checkpoint, spec *model.Spec, opt Options) error {
	if err := p.IsFor(opt.ModelHash); err != nil {
		return err
	}
	full, err := p.For(spec)
	if err != nil {
		return err
	}
	*p = full
	p.Model, p.ModelHash, p.Version, p.Origin = opt.SourceName, opt.ModelHash, opt.Version, originOf(c, full)
	p.Healed = opt.Healed
	return p.Measure(c)
}

// HealedPlan is the plan file of a pruning whose weights were trained on since.
func HealedPlan(raw []byte) ([]byte, error) {
	p, err := parsePlan(raw)
	if err != nil {
		return nil, err
	}
	p.Healed = true
	return planFile(p)
}

// HealedCard is the card of a pruning whose weights were trained on since: it does
// not say any longer that they are the original's.
func HealedCard(card string) string { return strings.Replace(card, untouched, trained, 1) }

// planFile is the plan as ReadPlan reads it.
func planFile(p Plan) ([]byte, error) {
	raw, err := json.MarshalIndent(struct {
		Type string `json:"type"`
		Plan
	}{"plan", p}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the plan: %w", err)
	}
	return append(raw, '\n'), nil
}

// dirName is the last part of a path, also of ".".
func dirName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return filepath.Base(dir)
}
