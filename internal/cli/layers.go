package cli

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/prune"
)

// layerFlags choose a pruning that is run without being written.
type layerFlags struct {
	drop, keep, plan string
}

func (f *layerFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.drop, "drop", "", "layers to leave out, such as 3,7,24-31")
	c.Flags().StringVar(&f.keep, "keep", "", "layers to keep; the rest is left out")
	c.Flags().StringVar(&f.plan, "plan", "", "a plan file, as prune writes it")
	nonEmpty(c, "drop", "keep", "plan")
	exclusive(c, "drop", "keep", "plan")
}

func (f layerFlags) given() bool { return f.drop != "" || f.keep != "" || f.plan != "" }

// choose is the plan the flags spell out.
func (f layerFlags) choose(spec *model.Spec) (prune.Plan, error) {
	var drop []int
	var err error
	source := ""
	switch {
	case f.plan != "":
		return readPlan(f.plan, spec)
	case f.keep != "":
		var keep []int
		if keep, err = prune.ParseLayers(f.keep, spec.Layers); err != nil {
			return prune.Plan{}, usage("--keep %s: %w", f.keep, err)
		}
		drop, source = prune.Complement(keep, spec.Layers), "--keep "+f.keep
	case f.drop != "":
		if drop, err = prune.ParseLayers(f.drop, spec.Layers); err != nil {
			return prune.Plan{}, usage("--drop %s: %w", f.drop, err)
		}
		source = "--drop " + f.drop
	}
	p, err := prune.New(spec, drop, source)
	if err != nil {
		return p, usage("%s: %w", source, err)
	}
	return p, nil
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

// open opens a model and narrows it to the chosen layers.
func (f layerFlags) open(dir string) (*session, error) {
	s, err := openModel(dir)
	if err != nil {
		return nil, err
	}
	if err := f.apply(s); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// apply narrows a session to the chosen layers.
func (f layerFlags) apply(s *session) error {
	if !f.given() {
		return nil
	}
	p, err := f.choose(s.m.Spec)
	if err != nil {
		return err
	}
	if len(p.Drop) > 0 {
		s.keep = p.Keep
	}
	return nil
}
