package plot

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// Matrix is a square of values, the first row at the bottom: black is the largest,
// white the smallest. Greys follow the rank among the values, not their size, so that
// what differs can be seen where most are alike; a scale beside it says which is which.
type Matrix struct {
	Title, Label string // Label is of both axes
	Values       [][]float64
}

// maxNumbered is the largest matrix whose values stand in its cells.
const maxNumbered = 10

func (Matrix) height(width vg.Length) vg.Length { return width * .86 }

func (m Matrix) draw() (*picture, error) {
	sorted := m.sorted()
	if len(sorted) == 0 {
		return nil, fmt.Errorf("%s: there is no value", m.Title)
	}
	out := blank(m.Title, m.Label, m.Label)
	for i, row := range m.Values {
		for j, v := range row {
			if !math.IsNaN(v) {
				at := xy{float64(j), float64(i)}
				out.add(cell(greyOf(rank(v, sorted)), xy{at.x - .5, at.y - .5}, xy{at.x + .5, at.y + .5}, m.under(i, j)))
			}
		}
	}
	if len(m.Values) <= maxNumbered {
		m.addNumbers(out, sorted)
	}
	last := float64(len(m.Values)) - .5
	out.x.min, out.x.max, out.y.min, out.y.max = -.5, last, -.5, last
	out.x.ticks, out.y.ticks = whole, whole
	out.bar = scale(sorted)
	return out, nil
}

// under is how far a cell goes on below those that are drawn over it, so that no paper
// shines through where their edges meet within a pixel.
func (m Matrix) under(i, j int) (more vg.Point) {
	if j+1 < len(m.Values[i]) && !math.IsNaN(m.Values[i][j+1]) {
		more.X = 1
	}
	if i+1 < len(m.Values) && j < len(m.Values[i+1]) && !math.IsNaN(m.Values[i+1][j]) {
		more.Y = 1
	}
	return more
}

// sorted are the values, each once.
func (m Matrix) sorted() (values []float64) {
	for _, row := range m.Values {
		for _, v := range row {
			if !math.IsNaN(v) {
				values = append(values, exact(v))
			}
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// exact takes the last digits from a value, which differ where the same was computed in
// another order: similarities of a depth with itself have one grey.
func exact(v float64) float64 { return math.Round(v*1e12) / 1e12 }

// rank is the place of a value among all, 0 to 1.
func rank(v float64, sorted []float64) float64 {
	at, found := slices.BinarySearch(sorted, exact(v))
	if !found {
		return math.NaN()
	}
	return float64(at) / float64(max(1, len(sorted)-1))
}

// addNumbers writes the values into the cells, white where they are dark.
func (m Matrix) addNumbers(out *picture, sorted []float64) {
	style := aligned(8, text.XCenter, text.YCenter)
	for i, row := range m.Values {
		for j, v := range row {
			if math.IsNaN(v) {
				continue
			}
			style.Color = color.Black
			if rank(v, sorted) > .5 {
				style.Color = color.White
			}
			out.add(words(style, xy{float64(j), float64(i)}, fmt.Sprintf("%.2f", v)))
		}
	}
}

// scale is the strip of greys with the values they stand for.
func scale(sorted []float64) *chart {
	p := &chart{x: emptyAxis(""), y: emptyAxis("")}
	p.x.bare = true
	const steps, parts = 32, 6
	for i := range steps + 1 {
		at := float64(i) / steps
		p.add(cell(greyOf(at), xy{0, max(0, at-.5/steps)}, xy{1, 1}, vg.Point{})) // the next one covers the rest
	}
	var ticks []tick
	for i := range parts + 1 {
		at := float64(i) / parts
		ticks = append(ticks, tick{at, fmt.Sprintf("%.3g", sorted[int(math.Round(at*float64(len(sorted)-1)))])})
	}
	p.y.ticks = fixed(ticks)
	return p
}

// greyOf is white for 0 and black for 1.
func greyOf(share float64) color.Color {
	return color.Gray{Y: min(uint8(255-int(share*255+.5))|1, 253)} // odd: never the ink and paper of a page
}
