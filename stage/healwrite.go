package stage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/heal/overlay"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/resident"
	"github.com/coppice-ml/coppice/safetensors"
)

// finish writes what training came to, and evaluates it as it was written.
func (j *healJob) finish(ctx context.Context, result *heal.Result) (*report.Healed, error) {
	done := &report.Healed{
		Path: j.Out, Method: j.Method, Steps: result.Steps, Kept: result.Kept, Trainable: j.chosen.Parameters(j.Rank), LossFirst: optional(result.First), LossBest: optional(result.Loss),
		Samples: len(j.data.train), HeldOut: len(j.data.valid), Skipped: j.data.skipped, Data: j.data.source, SHA256: j.data.sha256, Compute: j.s.Compute(),
	}
	made := filepath.Join(j.dir.state(), "result")
	if err := os.RemoveAll(made); err != nil {
		return nil, err
	}
	var err error
	switch {
	case j.Method == heal.LoRA:
		err = j.writeAdapter(ctx, made, done)
	case j.Result == ResultTrained:
		err = j.writeTrained(ctx, made)
	default:
		err = j.writeCheckpoint(ctx, made, done)
		if err == nil && len(j.data.valid) > 0 {
			err = j.evaluateWritten(ctx, made, done)
		}
	}
	if err != nil {
		return nil, err
	}
	done.Seconds = seconds(j.started)
	if j.Result != ResultTrained {
		if err := heal.SaveMasters(ctx, j.dir.state(), j.set); err != nil {
			return nil, err
		}
	}
	if err := j.dir.finish(made, done); err != nil {
		return nil, err
	}
	return done, heal.RemoveCheckpoints(j.dir.state())
}

// optional is a value for a line, if there is one.
func optional(x *float64) *report.Number {
	if x == nil {
		return nil
	}
	n := report.Number(*x)
	return &n
}

// plan is the pruning that was healed; ok is false where there was none.
func (j *healJob) plan() (prune.Plan, bool, error) {
	p, err := Layers{Cut: j.Layers}.choose(j.stored)
	return p, len(p.Drop) > 0, err
}

// writeCheckpoint writes the healed model as a checkpoint of its own.
func (j *healJob) writeCheckpoint(ctx context.Context, dir string, done *report.Healed) error {
	c := j.s.Checkpoint
	s := checkpoint.Surgery{Config: c.Config(), Card: string(c.Beside("README.md"))}
	p, pruned, err := j.plan()
	if err != nil {
		return err
	}
	if pruned {
		hash, err := j.hash(ctx)
		if err != nil {
			return err
		}
		if s, err = prune.Surgery(c, j.stored, p, prune.Options{Version: j.env.Version, SourceName: modelName(j.Model), ModelHash: hash, Healed: true}); err != nil {
			return err
		}
	}
	if raw := c.Beside(prune.PlanFile); raw != nil && !pruned {
		if raw, err = prune.HealedPlan(raw); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(c.Dir(), prune.PlanFile), err)
		}
		s.Card, s.Extra = prune.HealedCard(s.Card), map[string][]byte{prune.PlanFile: raw}
	}
	dtype := ""
	if j.SaveDType == "float32" {
		dtype = "float32"
	}
	if s.Config, err = j.stored.HealedConfig(s.Config, j.Untie, dtype); err != nil {
		return err
	}
	s.Replace = j.set.Replacements(ctx, j.s.Model, j.kept, dtype != "")
	s.Card = j.card(s.Card, done)
	tell, end := j.env.Talk.Progress("writing", Bytes)
	defer end()
	_, err = checkpoint.Write(ctx, c, dir, s, checkpoint.WriteOptions{Progress: tell})
	return err
}

// writeTrained writes the trained tensors alone, rounded as a checkpoint has them.
func (j *healJob) writeTrained(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return j.set.WriteTrained(ctx, filepath.Join(dir, overlay.FileName), func(name string) safetensors.DType {
		if t, ok := j.s.stored(name); ok && j.SaveDType != "float32" {
			return t.DType
		}
		return safetensors.F32
	})
}

// stored is a tensor as the checkpoint has it, whatever was trained since; an
// untied head is stored as the embedding is.
func (s *Session) stored(name string) (checkpoint.TensorInfo, bool) {
	if t, ok := s.Checkpoint.Tensor(name); ok {
		return t, true
	}
	return s.Model.Source.Tensor(name)
}

// card says how the model was healed, behind what its card said before.
func (j *healJob) card(old string, done *report.Healed) string {
	var b strings.Builder
	if old == "" {
		fmt.Fprintf(&b, "# %s, healed\n", filepath.Base(j.Model))
	}
	b.WriteString(strings.TrimRight(old, "\n"))
	fmt.Fprintf(&b, "\n\n## Healing\n\nFine-tuned with Coppice %s: %s, %d parameters trained in %s of %s.\n\n", j.env.Version, j.Method, done.Trainable, report.Plural(done.Steps, "step"), report.Plural(j.options.BatchSize, "sample"))
	fmt.Fprintf(&b, "- data: %s, %s, %d held out\n- learning rate %g, %s schedule, %d warm-up steps, seed %d\n", j.data.source, report.Plural(done.Samples, "sample"), done.HeldOut, j.options.LR, j.options.Schedule, j.options.WarmupSteps, j.options.Seed)
	if done.LossFirst != nil && done.LossBest != nil {
		fmt.Fprintf(&b, "- loss on the held-out samples: %.4f before, %.4f after\n", float64(*done.LossFirst), float64(*done.LossBest))
	}
	return b.String()
}

// evaluateWritten is the loss of the checkpoint as it was written: rounding to
// the model's dtype moves it a little.
func (j *healJob) evaluateWritten(ctx context.Context, dir string, done *report.Healed) error {
	j.releaseParts()
	c, err := checkpoint.Open(dir)
	if err != nil {
		return err
	}
	defer c.Close()
	m, err := model.Open(c)
	if err != nil {
		return err
	}
	layers := make([]int, m.Spec.Layers)
	for i := range layers {
		layers[i] = i
	}
	parts := j.residents(m, nil)
	defer parts.Close()
	parts.Use(parts.Plan(resident.Need{Layers: layers, Head: true, Tokens: int64(j.fit.group), Longest: j.fit.Rows, Batch: j.fit.Rows, States: 1}))
	loss, err := heal.MeanLoss(ctx, j.s.Engine, m, layers, parts, j.data.valid, j.options.MicroTokens, j.fit.group)
	if err != nil {
		return err
	}
	n := report.Number(loss)
	done.LossSaved = &n
	return nil
}
