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

// drawCurve draws what is lost against the number of layers cut.
func drawCurve(a *app, path string, force bool, c report.Curve) error {
	if err := plot.Write(path, force, curvePanels(c)...); err != nil {
		return err
	}
	a.note("drawn: %s", path)
	return nil
}
