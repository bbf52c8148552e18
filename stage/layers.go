package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/heal/overlay"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/prune"
)

// Layers choose a pruning that is run without being written, one field of the
// three; none is the whole model.
type Layers struct {
	Cut  `yaml:",inline"`
	Keep string `yaml:"keep"` // layers to keep
}

// Cut is Layers for stages in which keep means something else.
type Cut struct {
	Drop string `yaml:"drop"` // layers to leave out, such as 3,7,24-31
	Plan string `yaml:"plan"` // a plan file
	// Trained are directories of tensors that heal wrote by themselves, which take the
	// places of the model's; of several that have one, the last counts.
	Trained []string `yaml:"trained"`
}

// Given says that a pruning is chosen.
func (f Layers) Given() bool { return f.Drop != "" || f.Keep != "" || f.Plan != "" }

// choose is the plan the fields spell out.
func (f Layers) choose(spec *model.Spec) (prune.Plan, error) {
	var drop []int
	var err error
	source, field := "", "drop"
	switch {
	case f.Plan != "":
		return readPlan(f.Plan, spec)
	case f.Keep != "":
		var keep []int
		if keep, err = prune.ParseLayers(f.Keep, spec.Layers); err != nil {
			return prune.Plan{}, wrong("{keep} %s: %w", f.Keep, err)
		}
		drop, source, field = prune.Complement(keep, spec.Layers), "--keep "+f.Keep, "keep"
	case f.Drop != "":
		if drop, err = prune.ParseLayers(f.Drop, spec.Layers); err != nil {
			return prune.Plan{}, wrong("{drop} %s: %w", f.Drop, err)
		}
		source = "--drop " + f.Drop
	}
	p, err := prune.New(spec, drop, source)
	if err != nil {
		return p, wrong("{"+field+"} %s: %w", f.Drop+f.Keep, err)
	}
	return p, nil
}

// narrow leaves out what a pruning drops, and puts in what was trained.
func (s *Session) narrow(ctx context.Context, f Layers) error {
	if err := s.replace(f.Trained); err != nil {
		return err
	}
	if !f.Given() {
		return nil
	}
	p, err := f.choose(s.Model.Spec)
	if err != nil {
		return err
	}
	if err := s.isFor(ctx, p); err != nil {
		return fmt.Errorf("plan %s: %w", f.Plan, err)
	}
	if len(p.Drop) > 0 {
		s.Keep = p.Keep
	}
	return nil
}

// replace puts trained tensors in the places of the model's.
func (s *Session) replace(dirs []string) (err error) {
	if len(dirs) == 0 {
		return nil
	}
	if s.trained, err = overlay.Open(dirs); err != nil {
		return failed("{trained}: %w", err)
	}
	if s.Model, err = s.trained.Into(s.Model); err != nil {
		return failed("{trained} %s: %w", strings.Join(dirs, ", "), err)
	}
	return nil
}

// isFor compares the model that a plan names, if it does, with this one.
func (s *Session) isFor(ctx context.Context, p prune.Plan) error {
	if p.ModelHash == "" {
		return nil
	}
	hash, err := s.Checkpoint.Hash(ctx)
	if err != nil {
		return err
	}
	return p.IsFor(hash)
}

// readPlanFor reads a plan for this model.
func (s *Session) readPlanFor(ctx context.Context, path string) (prune.Plan, error) {
	p, err := readPlan(path, s.Model.Spec)
	if err != nil {
		return p, err
	}
	if err := s.isFor(ctx, p); err != nil {
		return p, fmt.Errorf("plan %s: %w", path, err)
	}
	return p, nil
}

func readPlan(path string, spec *model.Spec) (prune.Plan, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() { // a pruned checkpoint
		path = filepath.Join(path, prune.PlanFile)
	}
	p, err := prune.ReadPlan(path)
	var file *fs.PathError
	if errors.Is(err, fs.ErrNotExist) {
		return p, failed("plan %s: there is no such file", path).with("`coppice prune MODEL --dry-run --json` prints one, and prune --out leaves one in what it writes")
	}
	if errors.As(err, &file) {
		return p, fmt.Errorf("plan %s: %w", path, file.Err)
	}
	if err != nil {
		return p, err
	}
	if p.Layers != spec.Layers {
		return p, fmt.Errorf("plan %s is for a model of %d layers, and this one has %d", path, p.Layers, spec.Layers)
	}
	if p.Source == "" {
		p.Source = "--plan " + path
	}
	if p, err = p.For(spec); err != nil {
		return p, fmt.Errorf("plan %s: %w", path, err)
	}
	return p, nil
}

// parseProtect reads layers that are never dropped.
func parseProtect(s string, layers int) ([]int, error) {
	if s == "" {
		return nil, nil
	}
	protect, err := prune.ParseLayers(s, layers)
	if err != nil {
		return nil, wrong("{protect} %s: %w", s, err)
	}
	if len(protect) == layers {
		return nil, wrong("{protect} %s: nothing is left to drop", s).with("protect fewer of the %d layers", layers)
	}
	return protect, nil
}
