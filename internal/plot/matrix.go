package plot

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/palette"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// Matrix is a square of values, the first row at the bottom: black is the
// largest, white the smallest.
type Matrix struct {
	Title, Label string // Label is of both axes
	Values       [][]float64
}

func (m Matrix) height() vg.Length { return 5.9 * vg.Inch }

func (m Matrix) draw() (*plot.Plot, error) {
	lo, hi := m.bounds()
	if lo > hi {
		return nil, fmt.Errorf("%s: there is no value", m.Title)
	}
	if lo == hi {
		hi = lo + 1
	}
	out := blank(fmt.Sprintf("%s (white %.3g, black %.3g)", m.Title, lo, hi), m.Label, m.Label)
	heat := plotter.NewHeatMap(grid(m.Values), greys{})
	heat.Min, heat.Max = lo, hi
	out.Add(heat)
	out.X.Tick.Marker, out.Y.Tick.Marker = whole{}, whole{}
	return out, nil
}

func (m Matrix) bounds() (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, row := range m.Values {
		for _, v := range row {
			if !math.IsNaN(v) {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
	}
	return lo, hi
}

// grid is a matrix as gonum reads it.
type grid [][]float64

func (g grid) Dims() (columns, rows int) { return len(g), len(g) }
func (g grid) Z(c, r int) float64        { return g[r][c] }
func (g grid) X(c int) float64           { return float64(c) }
func (g grid) Y(r int) float64           { return float64(r) }

// greys go from white to black.
type greys struct{}

var _ palette.Palette = greys{}

func (greys) Colors() []color.Color {
	colors := make([]color.Color, 256)
	for i := range colors {
		colors[i] = color.Gray{Y: uint8(255 - i)}
	}
	return colors
}
