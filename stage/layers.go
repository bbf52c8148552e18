package stage

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/prune"
)

// Layers choose a pruning that is run without being written, one field of the
// three; none is the whole model.
type Layers struct {
	Drop string `yaml:"drop"` // layers to leave out, such as 3,7,24-31
	Keep string `yaml:"keep"` // layers to keep
	Plan string `yaml:"plan"` // a plan file
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

// keep are the layers that are left; nil where all are.
func (f Layers) keep(spec *model.Spec) ([]int, error) {
	if !f.Given() {
		return nil, nil
	}
	p, err := f.choose(spec)
	if err != nil || len(p.Drop) == 0 {
		return nil, err
	}
	return p.Keep, nil
}

func readPlan(path string, spec *model.Spec) (prune.Plan, error) {
	p, err := prune.ReadPlan(path)
	var file *fs.PathError
	if errors.As(err, &file) {
		return p, fmt.Errorf("plan %s: %w", path, file.Err)
	}
	if err != nil {
		return p, err
	}
	if p.Layers != spec.Layers {
		return p, fmt.Errorf("plan %s is for a model of %d layers, and this one has %d", path, p.Layers, spec.Layers)
	}
	source := p.Source
	if source == "" {
		source = "--plan " + path
	}
	return prune.New(spec, p.Drop, source)
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
