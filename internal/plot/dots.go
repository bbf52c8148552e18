package plot

import (
	"fmt"

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
	var ticks []tick
	for i, name := range d.Rows {
		ticks = append(ticks, tick{float64(n - 1 - i), name})
	}
	drawn := 0
	for k, s := range d.Series {
		shift := 0.
		if !d.Loose && len(d.Series) > 1 {
			shift = .22 * (1 - 2*float64(k)/float64(len(d.Series)-1))
		}
		at := func(q Point) xy { return xy{q.X, float64(n-1) - q.Y + shift} }
		for _, q := range s.Points {
			if !finite(q.X) {
				continue
			}
			drawn++
			if q.ranged() {
				y := at(q).y
				out.add(line(spread(s.Sign), xy{q.Low, y}, xy{q.High, y}))
			}
		}
		s.add(out, at)
	}
	if drawn == 0 {
		return nil, fmt.Errorf("%s: there is no value", d.Title)
	}
	d.addChance(out)
	wide(out)
	out.x.ticks, out.y.ticks = decimal, fixed(ticks)
	out.y.min, out.y.max, out.y.bare = -.6, float64(n)-.4, true
	d.addRules(out)
	return out, nil
}

// addChance draws what guessing comes to as a stroke across each row.
func (d Dots) addChance(out *picture) {
	style := dashed()
	style.Dashes = []vg.Length{vg.Points(2), vg.Points(1.5)}
	any := false
	for i, v := range d.Chance {
		if v <= 0 || !finite(v) {
			continue
		}
		any = true
		y := float64(len(d.Rows) - 1 - i)
		out.add(line(style, xy{v, y - .42}, xy{v, y + .42}))
		out.notes = append(out.notes, note{v, y - .4, fmt.Sprintf("guessing: %.3f", v)})
	}
	if any {
		out.legend = append(out.legend, mark{line: style, text: "guessing"})
	}
}

// addRules leads the eye from a row's name to its points, below them.
func (d Dots) addRules(out *picture) {
	for i := range d.Rows {
		out.under = append(out.under, line(draw.LineStyle{Color: faint(), Width: vg.Points(.8)}, xy{out.x.min, float64(i)}, xy{out.x.max, float64(i)}))
	}
}
