package plot

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Dots are rows with a name, and in each a point of every series: X with its
// interval; Y is the row, from 0 at the top.
type Dots struct {
	Title, X string
	Rows     []string
	Series   []Series
	Chance   []float64 // by row: what guessing comes to; 0: not known
	Loose    bool      // series stand on their rows' lines, not beside each other
}

func (d Dots) height(vg.Length) vg.Length {
	row := vg.Length(26)
	if len(d.Rows) > 9 {
		row = 20
	}
	return row*vg.Length(len(d.Rows)) + 64
}

func (d Dots) draw() (*picture, error) {
	out := blank(d.Title, d.X, "")
	n := len(d.Rows)
	var ticks []plot.Tick
	for i, name := range d.Rows {
		ticks = append(ticks, plot.Tick{Value: float64(n - 1 - i), Label: name})
	}
	drawn := 0
	for k, s := range d.Series {
		shift := 0.
		if !d.Loose && len(d.Series) > 1 {
			shift = .22 * (1 - 2*float64(k)/float64(len(d.Series)-1))
		}
		at := func(q Point) plotter.XY { return plotter.XY{X: q.X, Y: float64(n-1) - q.Y + shift} }
		for _, q := range s.Points {
			if !finite(q.X) {
				continue
			}
			drawn++
			if q.ranged() {
				y := at(q).Y
				if err := addStyled(out, spread(s.Sign), plotter.XY{X: q.Low, Y: y}, plotter.XY{X: q.High, Y: y}); err != nil {
					return nil, err
				}
			}
		}
		if err := s.add(out, at); err != nil {
			return nil, err
		}
	}
	if drawn == 0 {
		return nil, fmt.Errorf("%s: there is no value", d.Title)
	}
	if err := d.addChance(out); err != nil {
		return nil, err
	}
	wide(out)
	out.X.Tick.Marker, out.Y.Tick.Marker = decimal{}, plot.ConstantTicks(ticks)
	out.Y.Min, out.Y.Max = -.6, float64(n)-.4
	out.Y.LineStyle.Width, out.Y.Tick.Length = 0, 0
	return out, d.addRules(out)
}

// addChance draws what guessing comes to as a stroke across each row.
func (d Dots) addChance(out *picture) error {
	style := dashed()
	style.Dashes = []vg.Length{vg.Points(2), vg.Points(1.5)}
	any := false
	for i, v := range d.Chance {
		if v <= 0 || !finite(v) {
			continue
		}
		any = true
		y := float64(len(d.Rows) - 1 - i)
		if err := addStyled(out, style, plotter.XY{X: v, Y: y - .42}, plotter.XY{X: v, Y: y + .42}); err != nil {
			return err
		}
		out.notes = append(out.notes, note{v, y - .4, fmt.Sprintf("guessing: %.3f", v)})
	}
	if any {
		out.legend = append(out.legend, mark{line: style, text: "guessing"})
	}
	return nil
}

// addRules leads the eye from a row's name to its points, below them.
func (d Dots) addRules(out *picture) error {
	var rules []plot.Plotter
	for i := range d.Rows {
		line, err := plotter.NewLine(plotter.XYs{{X: out.X.Min, Y: float64(i)}, {X: out.X.Max, Y: float64(i)}})
		if err != nil {
			return err
		}
		line.LineStyle = draw.LineStyle{Color: color.Color(faint()), Width: vg.Points(.8)}
		rules = append(rules, line)
	}
	out.first = rules
	return nil
}
