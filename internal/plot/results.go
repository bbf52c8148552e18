package plot

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/report"
)

// Rankings are a profile for every metric, and the matrices.
func Rankings(rankings []report.Line) (panels []Panel) {
	var matrices []Panel
	for _, l := range rankings {
		switch r := l.(type) {
		case report.Blocks:
			panels = append(panels, Profile{
				Title: fmt.Sprintf("%s: distance across %s (the lowest block drops)", r.Metric, report.Plural(r.Block, "layer")), Label: r.Metric,
				X: "first layer of the block", Scores: report.Floats(r.Scores), First: []int{r.Best}, FirstFew: "block to drop",
			})
			matrices = append(matrices, matrixPanel(r.Metric+": distance between every two depths", r.Matrix)...)
		case report.Ranking:
			few := max(1, len(r.Scores)/4)
			panels = append(panels, Profile{
				Title: fmt.Sprintf("%s (the %s drops first)", r.Metric, r.Direction), Label: r.Metric, Scores: report.Floats(r.Scores),
				First: r.Order[:min(len(r.Order), few)], FirstFew: fmt.Sprintf("first quarter to drop (%d of %d)", few, len(r.Scores)),
			})
			matrices = append(matrices, matrixPanel(r.Metric+": similarity of every two depths", r.Matrix)...)
		}
	}
	return append(panels, matrices...)
}

func matrixPanel(title string, m report.Matrix) []Panel {
	if m == nil {
		return nil
	}
	return []Panel{Matrix{Title: title, Label: "layers passed", Values: m.Floats()}}
}

// Curves are the pictures of a curve: the loss, or those of its tasks that are named by
// place.
func Curves(c report.Curve, tasks []int) (panels []Panel) {
	blank := Curve{X: "layers cut" + orderText(c.Order), Mark: len(c.Dropped) / 4, MarkText: "a quarter of the layers"}
	if len(c.Tasks) == 0 {
		p := blank
		p.Title, p.Y, p.Values, p.Exp = "loss without the first n layers to drop by "+c.Metric, "loss, nats per token (perplexity)", report.Floats(c.Loss), true
		return []Panel{p}
	}
	for _, i := range tasks {
		t := c.Tasks[i]
		p := blank
		p.Title = fmt.Sprintf("%s %s without the first n layers to drop by %s", t.Task, t.Metric, c.Metric)
		p.Y, p.Values, p.Errors, p.Chance = fmt.Sprintf("%s (%s)", t.Metric, report.Plural(t.N, "document")), report.Floats(t.Values), report.Floats(t.StdErr), t.Chance
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
		return ": " + joined(order[:most]) + ", …"
	}
	return ": " + joined(order)
}

func joined(layers []int) string {
	out := make([]string, len(layers))
	for i, l := range layers {
		out[i] = strconv.Itoa(l)
	}
	return strings.Join(out, ", ")
}
