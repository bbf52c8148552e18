package plot

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
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
	heat := plotter.NewHeatMap(grid(m.ranks(sorted)), greys{})
	heat.Min, heat.Max = 0, 1
	out.Add(heat)
	if len(m.Values) <= maxNumbered {
		if err := m.addNumbers(out, sorted); err != nil {
			return nil, err
		}
	}
	out.X.Tick.Marker, out.Y.Tick.Marker = whole{}, whole{}
	out.bar = scale(sorted)
	return out, nil
}

// sorted are the values, each once.
func (m Matrix) sorted() (values []float64) {
	for _, row := range m.Values {
		for _, v := range row {
			if !math.IsNaN(v) {
				values = append(values, v)
			}
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// ranks are the places of the values among all, 0 to 1.
func (m Matrix) ranks(sorted []float64) [][]float64 {
	out := make([][]float64, len(m.Values))
	for i, row := range m.Values {
		for _, v := range row {
			out[i] = append(out[i], rank(v, sorted))
		}
	}
	return out
}

func rank(v float64, sorted []float64) float64 {
	at, found := slices.BinarySearch(sorted, v)
	if !found {
		return math.NaN()
	}
	return float64(at) / float64(max(1, len(sorted)-1))
}

// addNumbers writes the values into the cells, white where they are dark.
func (m Matrix) addNumbers(out *picture, sorted []float64) error {
	for i, row := range m.Values {
		for j, v := range row {
			if math.IsNaN(v) {
				continue
			}
			label, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: float64(j), Y: float64(i)}}, Labels: []string{fmt.Sprintf("%.2f", v)}})
			if err != nil {
				return err
			}
			style := &label.TextStyle[0]
			style.XAlign, style.YAlign, style.Font.Size = text.XCenter, text.YCenter, vg.Points(8)
			style.Font.Variant = "Sans"
			if rank(v, sorted) > .5 {
				style.Color = color.White
			}
			out.Add(label)
		}
	}
	return nil
}

// scale is the strip of greys with the values they stand for.
func scale(sorted []float64) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.Y.Tick.Label.Font.Variant = "Sans"
	p.HideX()
	strip := plotter.NewHeatMap(strip{}, greys{})
	strip.Min, strip.Max = 0, 1
	p.Add(strip)
	var ticks []plot.Tick
	const parts = 6
	for i := range parts + 1 {
		at := float64(i) / parts
		ticks = append(ticks, plot.Tick{Value: at, Label: fmt.Sprintf("%.3g", sorted[int(math.Round(at*float64(len(sorted)-1)))])})
	}
	p.Y.Tick.Marker = plot.ConstantTicks(ticks)
	p.Y.Min, p.Y.Max = 0, 1
	return p
}

// strip is a column of values from 0 to 1.
type strip struct{}

func (strip) Dims() (columns, rows int) { return 2, 33 }
func (strip) Z(_, r int) float64        { return float64(r) / 32 }
func (strip) X(c int) float64           { return float64(c) }
func (strip) Y(r int) float64           { return float64(r) / 32 }

// grid is a matrix as gonum reads it.
type grid [][]float64

func (g grid) Dims() (columns, rows int) { return len(g), len(g) }
func (g grid) Z(c, r int) float64        { return g[r][c] }
func (g grid) X(c int) float64           { return float64(c) }
func (g grid) Y(r int) float64           { return float64(r) }

// greys go from white to black.
type greys struct{}

func (greys) Colors() []color.Color {
	colors := make([]color.Color, 256)
	for i := range colors {
		colors[i] = color.Gray{Y: min(uint8(255-i)|1, 253)} // odd: never the ink and paper of a page
	}
	return colors
}
