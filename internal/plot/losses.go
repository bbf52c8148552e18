package plot

import (
	"fmt"

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
	batches, held := points(l.Steps, l.Training), points(l.Evaluated, l.Validation)
	if len(batches)+len(held) == 0 {
		return nil, fmt.Errorf("%s: there are no steps", l.Title)
	}
	switch len(batches) {
	case 0:
	case 1: // through which no line goes
		addPoints(out, batches, draw.RingGlyph{}, "training, a batch")
	default:
		out.add(line(grey(), batches...))
		out.legend = append(out.legend, mark{line: grey(), text: "training, a batch"})
	}
	addPoints(out, held, draw.BoxGlyph{}, "validation")
	out.x.ticks, out.y.ticks = whole, decimal
	room(out)
	return out, nil
}

// points pairs coordinates, those that are not finite left out.
func points(xs, ys []float64) (out []xy) {
	for i, y := range ys {
		if finite(y) {
			out = append(out, xy{xs[i], y})
		}
	}
	return out
}
