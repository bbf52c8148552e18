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

// rankingPanels are a profile for every metric, and the matrices.
func rankingPanels(rankings []report.Line) (panels []plot.Panel) {
	var matrices []plot.Panel
	for _, l := range rankings {
		switch r := l.(type) {
		case report.Blocks:
			panels = append(panels, plot.Profile{
				Title: fmt.Sprintf("%s: distance across %s (the lowest block drops)", r.Metric, report.Plural(r.Block, "layer")), Label: r.Metric,
				X: "first layer of the block", Scores: floats(r.Scores), First: []int{r.Best}, FirstFew: "block to drop",
			})
			matrices = append(matrices, matrixPanel(r.Metric+": distance between every two depths", r.Matrix)...)
		case report.Ranking:
			few := max(1, len(r.Scores)/4)
			panels = append(panels, plot.Profile{
				Title: fmt.Sprintf("%s (the %s drops first)", r.Metric, r.Direction), Label: r.Metric, Scores: floats(r.Scores),
				First: r.Order[:min(len(r.Order), few)], FirstFew: fmt.Sprintf("first quarter to drop (%d of %d)", few, len(r.Scores)),
			})
			matrices = append(matrices, matrixPanel(r.Metric+": similarity of every two depths", r.Matrix)...)
		}
	}
	return append(panels, matrices...)
}

func matrixPanel(title string, m report.Matrix) []plot.Panel {
	if m == nil {
		return nil
	}
	values := make([][]float64, len(m))
	for i, row := range m {
		values[i] = floats(row)
	}
	return []plot.Panel{plot.Matrix{Title: title, Label: "layers passed", Values: values}}
}

// curvePanels are the pictures of a curve: the loss, or one of each task's metrics,
// of those that a table shows.
func curvePanels(c report.Curve, all bool) (panels []plot.Panel) {
	blank := plot.Curve{X: "layers cut" + orderText(c.Order), Mark: len(c.Dropped) / 4, MarkText: "a quarter of the layers"}
	if len(c.Tasks) == 0 {
		p := blank
		p.Title, p.Y, p.Values, p.Exp = "loss without the first n layers to drop by "+c.Metric, "loss, nats per token (perplexity)", floats(c.Loss), true
		return []plot.Panel{p}
	}
	for _, i := range outline(curveEntries(c), all).rows {
		t := c.Tasks[i]
		p := blank
		p.Title = fmt.Sprintf("%s %s without the first n layers to drop by %s", t.Task, t.Metric, c.Metric)
		p.Y, p.Values, p.Errors, p.Chance = fmt.Sprintf("%s (%s)", t.Metric, report.Plural(t.N, "document")), floats(t.Values), floats(t.StdErr), t.Chance
		panels = append(panels, p)
	}
	return panels
}

// orderText is the order in which layers go, as much of it as fits below a picture.
func orderText(order []int) string {
	const most = 16
	switch {
	case len(order) == 0:
		return ""
	case len(order) > most:
		return ": " + joined(order[:most], ", ") + ", …"
	}
	return ": " + joined(order, ", ")
}

func floats(values []report.Number) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}
