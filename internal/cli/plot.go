package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/internal/plot"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

// plotFlags ask for a picture.
type plotFlags struct {
	path  string
	force bool
}

func (f *plotFlags) register(c *cobra.Command, what string) {
	c.Flags().StringVar(&f.path, "plot", "", "draw "+what+" to a .png or .svg file")
	c.Flags().BoolVar(&f.force, "force", false, "replace a --plot that exists")
	nonEmpty(c, "plot")
}

// check finds what can be wrong before any work is done.
func (f plotFlags) check() error {
	if f.path == "" {
		return nil
	}
	if !strings.HasSuffix(f.path, ".png") && !strings.HasSuffix(f.path, ".svg") {
		return usage("--plot %s: want a name that ends in .png or .svg", f.path)
	}
	if _, err := os.Stat(f.path); err == nil && !f.force {
		return failed("%s exists", f.path).withHint("name another --plot, or replace it with --force")
	}
	return stage.Writable("plot", f.path)
}

// draw draws, if a picture is asked for, with what it is of below it.
func (f plotFlags) draw(a *app, caption string, panels []plot.Panel) error {
	if f.path == "" {
		return nil
	}
	if err := plot.Write(f.path, f.force, caption, panels...); err != nil {
		return err
	}
	a.note("drawn: %s", f.path)
	return nil
}

// caption says of a picture what it is of and when it was made; d and c may be nil.
func caption(model string, d *report.Data, c *report.Compute, more ...string) string {
	if _, err := os.Stat(model); err == nil {
		if abs, err := filepath.Abs(model); err == nil {
			model = filepath.Base(abs)
		}
	}
	parts := []string{"Model: " + model}
	if d != nil {
		parts = append(parts, "data: "+dataCaption(*d))
	}
	parts = append(parts, more...)
	if c != nil {
		parts = append(parts, fmt.Sprintf("%s by %s", c.DType, c.Provider))
	}
	return strings.Join(append(parts, "coppice "+version().Version, time.Now().Format(time.DateOnly)), " · ")
}

func dataCaption(d report.Data) string {
	if d.Samples == 0 {
		return d.Source
	}
	text := fmt.Sprintf("%d x %d tokens of %s", d.Samples, d.Length, d.Source)
	if d.Seed != nil {
		text += fmt.Sprintf(", seed %d", *d.Seed)
	}
	return text
}

// rankingCaption is of the first ranking that a model was run for, or of any.
func rankingCaption(model string, rankings []report.Line) string {
	for _, l := range rankings {
		switch r := l.(type) {
		case report.Blocks:
			return caption(model, r.Data, r.Compute)
		case report.Ranking:
			if r.Data != nil {
				return caption(model, r.Data, r.Compute)
			}
		}
	}
	return caption(model, nil, nil)
}
