package plot

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Panel is one picture; several are drawn one below the other.
type Panel interface {
	draw() (*plot.Plot, error)
	height() vg.Length
}

// width of every panel, and the margin around its content.
const (
	width  = 6.5 * vg.Inch
	margin = vg.Length(8)
)

// Write draws the panels to a .png or .svg file, which appears complete or not
// at all. An existing one is replaced only with force.
func Write(path string, force bool, panels ...Panel) error {
	if len(panels) == 0 {
		return fmt.Errorf("%s: there is nothing to draw", path)
	}
	if _, err := os.Stat(path); err == nil && !force {
		return fmt.Errorf("%s: %w", path, os.ErrExist)
	}
	var picture bytes.Buffer
	if err := encode(&picture, filepath.Ext(path), panels); err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	return replace(path, picture.Bytes())
}

// replace writes a file under a temporary name and renames it.
func replace(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

func encode(w io.Writer, extension string, panels []Panel) error {
	var total vg.Length
	for _, p := range panels {
		total += p.height()
	}
	var canvas vg.CanvasWriterTo
	switch strings.ToLower(extension) {
	case ".svg":
		c := vgsvg.New(width, total)
		canvas = c
	case ".png":
		c := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, total), vgimg.UseDPI(144))}
		canvas = c
	default:
		return fmt.Errorf("%q: want a name that ends in .png or .svg", extension)
	}
	area := draw.NewCanvas(canvas, width, total)
	top := area.Max.Y
	for _, p := range panels {
		picture, err := p.draw()
		if err != nil {
			return err
		}
		part := area
		part.Min.Y, part.Max.Y = top-p.height(), top
		part = draw.Crop(part, margin, -margin, margin, -margin)
		top -= p.height()
		picture.Draw(part)
	}
	_, err := canvas.WriteTo(w)
	return err
}

// Profile is a score a layer. What drops first is filled black.
type Profile struct {
	Title  string
	Label  string    // of the scores
	Scores []float64 // [L]; NaN is left out
	First  []int     // layers to mark as first to drop
}

func (p Profile) height() vg.Length { return 2.4 * vg.Inch }

func (p Profile) draw() (*plot.Plot, error) {
	out := blank(p.Title, "layer", p.Label)
	line, first, rest := plotter.XYs{}, plotter.XYs{}, plotter.XYs{}
	for l, v := range p.Scores {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		at := plotter.XY{X: float64(l), Y: v}
		line = append(line, at)
		if contains(p.First, l) {
			first = append(first, at)
		} else {
			rest = append(rest, at)
		}
	}
	if len(line) == 0 {
		return nil, fmt.Errorf("%s: no layer has a score", p.Title)
	}
	if err := addLine(out, line); err != nil {
		return nil, err
	}
	if err := addPoints(out, first, draw.BoxGlyph{}, "first to drop"); err != nil {
		return nil, err
	}
	if err := addPoints(out, rest, draw.RingGlyph{}, "others"); err != nil {
		return nil, err
	}
	out.X.Min, out.X.Max = -.5, float64(len(p.Scores))-.5
	out.X.Tick.Marker = whole{}
	room(out)
	return out, nil
}

// Curve is a value for n = 0, 1, …
type Curve struct {
	Title, X, Y string
	Values      []float64
}

func (c Curve) height() vg.Length { return 3.2 * vg.Inch }

func (c Curve) draw() (*plot.Plot, error) {
	out := blank(c.Title, c.X, c.Y)
	line := plotter.XYs{}
	for n, v := range c.Values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			line = append(line, plotter.XY{X: float64(n), Y: v})
		}
	}
	if len(line) == 0 {
		return nil, fmt.Errorf("%s: there is no value", c.Title)
	}
	if err := addLine(out, line); err != nil {
		return nil, err
	}
	if err := addPoints(out, line, draw.CircleGlyph{}, ""); err != nil {
		return nil, err
	}
	out.X.Min, out.X.Max = -.5, float64(len(c.Values))-.5
	out.X.Tick.Marker = whole{}
	room(out)
	return out, nil
}

func blank(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle.Font.Size = vg.Points(11)
	p.Title.Padding = vg.Points(6)
	p.Legend.Top, p.Legend.XOffs = true, -margin
	p.BackgroundColor = color.White
	return p
}

func addLine(p *plot.Plot, at plotter.XYs) error {
	line, err := plotter.NewLine(at)
	if err != nil {
		return err
	}
	line.Color, line.Width = color.Gray{Y: 120}, vg.Points(1)
	p.Add(line)
	return nil
}

func addPoints(p *plot.Plot, at plotter.XYs, shape draw.GlyphDrawer, name string) error {
	if len(at) == 0 {
		return nil
	}
	points, err := plotter.NewScatter(at)
	if err != nil {
		return err
	}
	points.GlyphStyle = draw.GlyphStyle{Color: color.Black, Radius: vg.Points(3), Shape: shape}
	p.Add(points)
	if name != "" {
		p.Legend.Add(name, points)
	}
	return nil
}

// room leaves a margin above and below, where the legend and the glyphs fit.
func room(p *plot.Plot) {
	span := p.Y.Max - p.Y.Min
	if span == 0 {
		span = math.Max(1e-9, math.Abs(p.Y.Max))
	}
	p.Y.Min -= .06 * span
	p.Y.Max += .25 * span
}

// whole puts ticks at whole numbers, about a dozen of them with labels.
type whole struct{}

func (whole) Ticks(lo, hi float64) (ticks []plot.Tick) {
	step := max(1, int(math.Ceil((hi-lo)/16)))
	for v := int(math.Ceil(lo)); float64(v) <= hi; v++ {
		tick := plot.Tick{Value: float64(v)}
		if v%step == 0 {
			tick.Label = fmt.Sprint(v)
		}
		ticks = append(ticks, tick)
	}
	return ticks
}

func contains(list []int, v int) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}
