package cli

import (
	"fmt"
	"os"
	"strings"

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

// draw draws, if a picture is asked for.
func (f plotFlags) draw(a *app, panels []plot.Panel) error {
	if f.path == "" {
		return nil
	}
	if err := plot.Write(f.path, f.force, panels...); err != nil {
		return err
	}
	a.note("drawn: %s", f.path)
	return nil
}

// rankingPanels are a profile for every metric, and the matrices.
func rankingPanels(rankings []report.Line) (panels []plot.Panel) {
	var matrices []plot.Panel
	for _, l := range rankings {
		switch r := l.(type) {
		case report.Blocks:
			panels = append(panels, plot.Profile{
				Title: fmt.Sprintf("%s of the %d layers from each one on: the lowest block drops", r.Metric, r.Block), Label: r.Metric,
				Scores: floats(r.Scores), First: []int{r.Best},
			})
			matrices = append(matrices, matrixPanel(r.Metric, r.Matrix)...)
		case report.Ranking:
			panels = append(panels, plot.Profile{
				Title: fmt.Sprintf("%s: the %s drops first", r.Metric, r.Direction), Label: r.Metric,
				Scores: floats(r.Scores), First: r.Order[:min(len(r.Order), max(1, len(r.Scores)/4))],
			})
			matrices = append(matrices, matrixPanel(r.Metric, r.Matrix)...)
		}
	}
	return append(panels, matrices...)
}

func matrixPanel(metric string, m report.Matrix) []plot.Panel {
	if m == nil {
		return nil
	}
	values := make([][]float64, len(m))
	for i, row := range m {
		values[i] = floats(row)
	}
	return []plot.Panel{plot.Matrix{Title: metric + " between depths", Label: "layers passed", Values: values}}
}

// curvePanels are the pictures of a curve: the loss, or one of each task's metrics.
func curvePanels(c report.Curve) (panels []plot.Panel) {
	panel := func(what, unit string, values []report.Number) {
		panels = append(panels, plot.Curve{
			Title: fmt.Sprintf("%s without the first n layers to drop by %s", what, c.Metric), X: "layers cut", Y: unit, Values: floats(values),
		})
	}
	for _, t := range c.Tasks {
		panel(t.Task+" "+t.Metric, t.Metric, t.Values)
	}
	if len(c.Tasks) == 0 {
		panel("loss", "loss (nats per token)", c.Loss)
	}
	return panels
}

func floats(values []report.Number) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}
