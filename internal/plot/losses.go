package plot

import (
	"fmt"
	"math"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Losses are the losses of training: of every step's batch as a line, and on the
// validation set as points.
type Losses struct {
	Title      string
	Steps      []float64 // X of Training
	Training   []float64
	Evaluated  []float64 // X of Validation
	Validation []float64
}

func (Losses) height(width vg.Length) vg.Length { return width / 2 }

func (l Losses) draw() (*picture, error) {
	out := blank(l.Title, "step", "loss")
	line, points := points(l.Steps, l.Training), points(l.Evaluated, l.Validation)
	if len(line)+len(points) == 0 {
		return nil, fmt.Errorf("%s: there are no steps", l.Title)
	}
	if len(line) > 0 {
		if err := addLine(out, line); err != nil {
			return nil, err
		}
		out.legend = append(out.legend, mark{line: grey(), text: "training, a batch"})
	}
	if err := addPoints(out, points, draw.BoxGlyph{}, "validation"); err != nil {
		return nil, err
	}
	out.X.Tick.Marker, out.Y.Tick.Marker = whole{}, decimal{}
	room(out)
	return out, nil
}

// points pairs coordinates, those that are not finite left out.
func points(xs, ys []float64) (out plotter.XYs) {
	for i, y := range ys {
		if !math.IsNaN(y) && !math.IsInf(y, 0) {
			out = append(out, plotter.XY{X: xs[i], Y: y})
		}
	}
	return out
}
