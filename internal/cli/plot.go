package cli

import (
	"fmt"

	"github.com/coppice-ml/coppice/internal/plot"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
)

// drawRankings draws a profile for every metric, and the matrices.
func drawRankings(a *app, path string, force bool, rankings []score.Ranking) error {
	var panels []plot.Panel
	for _, r := range rankings {
		p := plot.Profile{
			Title: fmt.Sprintf("%s: the %s drops first", r.Metric, r.Direction), Label: r.Metric, Scores: r.Scores,
			First: r.Order[:min(len(r.Order), max(1, len(r.Scores)/4))],
		}
		if r.Block != nil {
			p.Title = fmt.Sprintf("%s of the %d layers from each one on: the lowest block drops", r.Metric, r.Block.Layers)
			p.Scores, p.First = r.Block.Scores, []int{r.Block.Best}
		}
		panels = append(panels, p)
	}
	for _, r := range rankings {
		if r.Matrix != nil {
			panels = append(panels, plot.Matrix{Title: r.Metric + " between depths", Label: "layers passed", Values: r.Matrix})
		}
	}
	if err := plot.Write(path, force, panels...); err != nil {
		return err
	}
	a.note("drawn: %s", path)
	return nil
}

// drawCurve draws the loss against the number of layers cut.
func drawCurve(a *app, path string, force bool, c report.Curve) error {
	values := make([]float64, len(c.Loss))
	for i, v := range c.Loss {
		values[i] = float64(v)
	}
	err := plot.Write(path, force, plot.Curve{Title: "loss without the first n layers to drop by " + c.Metric, X: "layers cut", Y: "loss (nats per token)", Values: values})
	if err != nil {
		return err
	}
	a.note("drawn: %s", path)
	return nil
}
