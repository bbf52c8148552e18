package plot

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/coppice-ml/coppice/internal/wholefile"
)

// Panel is one picture of a sheet.
type Panel interface {
	draw() (*picture, error)
	// height of a panel that is so wide.
	height(width vg.Length) vg.Length
}

// picture is a panel that is ready to be drawn: a plot, what its marks mean, and
// perhaps a scale beside it.
type picture struct {
	*plot.Plot
	legend []mark
	bar    *plot.Plot
	first  []plot.Plotter // below everything else
	notes  []note
}

// mark is a sign and what it means.
type mark struct {
	shape draw.GlyphDrawer // nil: a line
	color color.Color      // of the shape; nil: black
	line  draw.LineStyle
	text  string
}

// margin is around the content of every panel.
const margin = vg.Length(8)

// Write draws the panels to a .png or .svg file, which appears complete or not
// at all, with the caption below: what the picture is of. An existing file is
// replaced only with force.
func Write(path string, force bool, caption string, panels ...Panel) error {
	if len(panels) == 0 {
		return fmt.Errorf("%s: there is nothing to draw", path)
	}
	if _, err := os.Stat(path); err == nil && !force {
		return fmt.Errorf("%s: %w", path, os.ErrExist)
	}
	var picture bytes.Buffer
	if err := encode(&picture, filepath.Ext(path), caption, panels); err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	return wholefile.Bytes(path, picture.Bytes())
}

func encode(w io.Writer, extension, caption string, panels []Panel) error {
	s := newSheet(caption, panels)
	canvas, err := canvasFor(extension, s.width, s.height)
	if err != nil {
		return err
	}
	if err := s.draw(draw.NewCanvas(canvas, s.width, s.height)); err != nil {
		return err
	}
	if strings.ToLower(extension) != ".svg" {
		_, err = canvas.WriteTo(w)
		return err
	}
	var raw bytes.Buffer
	if _, err := canvas.WriteTo(&raw); err != nil {
		return err
	}
	// Whoever has no Liberation Sans has one that is as wide.
	_, err = w.Write(bytes.ReplaceAll(raw.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")))
	return err
}

// Profile is a score a layer. What drops first is filled black.
type Profile struct {
	Title    string
	X        string    // what is counted; "": layer
	Label    string    // of the scores
	Scores   []float64 // [L]; NaN is left out
	First    []int     // layers to mark as first to drop
	FirstFew string    // what they are called in the legend; "": first to drop

	Protected []int // layers that may not drop: shaded
}

func (Profile) height(width vg.Length) vg.Length { return max(width*.42, 2.4*vg.Inch) }

func (p Profile) draw() (*picture, error) {
	x, few := p.X, p.FirstFew
	if x == "" {
		x = "layer"
	}
	if few == "" {
		few = "first to drop"
	}
	out := blank(p.Title, x, p.Label)
	if err := shade(out, p.Protected); err != nil {
		return nil, err
	}
	line, first, rest := plotter.XYs{}, plotter.XYs{}, plotter.XYs{}
	for l, v := range p.Scores {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		at := plotter.XY{X: float64(l), Y: v}
		line = append(line, at)
		if slices.Contains(p.First, l) {
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
	if err := addPoints(out, first, draw.BoxGlyph{}, few); err != nil {
		return nil, err
	}
	if err := addPoints(out, rest, draw.RingGlyph{}, "others"); err != nil {
		return nil, err
	}
	out.X.Min, out.X.Max = -.5, float64(len(p.Scores))-.5
	out.X.Tick.Marker, out.Y.Tick.Marker = whole{}, decimal{}
	room(out)
	return out, nil
}

// shade puts a grey band behind layers that may not drop.
func shade(out *picture, layers []int) error {
	for _, l := range layers {
		band, err := plotter.NewPolygon(plotter.XYs{{X: float64(l) - .5}, {X: float64(l) + .5}, {X: float64(l) + .5}, {X: float64(l) - .5}})
		if err != nil {
			return err
		}
		band.Color, band.LineStyle.Width = faint(), 0
		out.first = append(out.first, &column{Polygon: band})
	}
	if len(layers) > 0 {
		out.legend = append(out.legend, mark{line: draw.LineStyle{Color: faint(), Width: vg.Points(8)}, text: "protected"})
	}
	return nil
}

// column is a polygon from the bottom of a plot to its top.
type column struct{ *plotter.Polygon }

// Plot implements plot.Plotter.
func (c *column) Plot(canvas draw.Canvas, p *plot.Plot) {
	at := c.XYs[0]
	at[0].Y, at[1].Y, at[2].Y, at[3].Y = p.Y.Min, p.Y.Min, p.Y.Max, p.Y.Max
	c.Polygon.Plot(canvas, p)
}

// Curve is a value for n = 0, 1, …
type Curve struct {
	Title, X, Y string
	Values      []float64
	Errors      []float64 // standard errors; nil, or NaN where there is none
	Chance      float64   // what guessing comes to; 0: not known
	Mark        int       // an n to point out; 0: none
	MarkText    string
	Exp         bool // ticks have the exponential in brackets: perplexity beside loss
}

func (Curve) height(width vg.Length) vg.Length { return max(width*.5, 2.8*vg.Inch) }

func (c Curve) draw() (*picture, error) {
	out := blank(c.Title, c.X, c.Y)
	line := errorPoints{}
	for n, v := range c.Values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		line.XYs = append(line.XYs, plotter.XY{X: float64(n), Y: v})
		e := 0.
		if n < len(c.Errors) && !math.IsNaN(c.Errors[n]) {
			e = c.Errors[n]
		}
		line.errors = append(line.errors, e)
	}
	if len(line.XYs) == 0 {
		return nil, fmt.Errorf("%s: there is no value", c.Title)
	}
	if err := addLine(out, line.XYs); err != nil {
		return nil, err
	}
	if err := c.addErrors(out, line); err != nil {
		return nil, err
	}
	if err := addPoints(out, line.XYs, draw.CircleGlyph{}, ""); err != nil {
		return nil, err
	}
	out.X.Min, out.X.Max = -.5, float64(len(c.Values))-.5
	out.X.Tick.Marker = whole{}
	out.Y.Tick.Marker = decimal{exp: c.Exp}
	if c.Chance > 0 {
		out.Y.Min, out.Y.Max = min(out.Y.Min, c.Chance), max(out.Y.Max, c.Chance)
	}
	room(out)
	return out, c.addLines(out)
}

// addErrors draws a standard error up and down from each point.
func (c Curve) addErrors(out *picture, line errorPoints) error {
	if c.Errors == nil {
		return nil
	}
	bars, err := plotter.NewYErrorBars(line)
	if err != nil {
		return err
	}
	bars.LineStyle = draw.LineStyle{Color: color.Gray{Y: 90}, Width: vg.Points(.75)}
	out.Add(bars)
	out.legend = append(out.legend, mark{line: bars.LineStyle, text: "± one standard error"})
	return nil
}

// addLines draws what guessing comes to, and the n that is pointed out.
func (c Curve) addLines(out *picture) error {
	style := draw.LineStyle{Color: color.Gray{Y: 90}, Width: vg.Points(.75), Dashes: []vg.Length{vg.Points(4), vg.Points(3)}}
	if c.Chance > 0 {
		if err := addStyled(out, style, plotter.XY{X: out.X.Min, Y: c.Chance}, plotter.XY{X: out.X.Max, Y: c.Chance}); err != nil {
			return err
		}
		out.legend = append(out.legend, mark{line: style, text: "guessing"})
	}
	if c.Mark > 0 {
		style.Dashes = []vg.Length{vg.Points(1), vg.Points(2)}
		if err := addStyled(out, style, plotter.XY{X: float64(c.Mark), Y: out.Y.Min}, plotter.XY{X: float64(c.Mark), Y: out.Y.Max}); err != nil {
			return err
		}
		out.legend = append(out.legend, mark{line: style, text: c.MarkText})
	}
	return nil
}

func addStyled(out *picture, style draw.LineStyle, at ...plotter.XY) error {
	line, err := plotter.NewLine(plotter.XYs(at))
	if err != nil {
		return err
	}
	line.LineStyle = style
	out.Add(line)
	return nil
}

// errorPoints are points with an error up and down.
type errorPoints struct {
	plotter.XYs
	errors []float64
}

// YError implements plotter.YErrorer.
func (e errorPoints) YError(i int) (low, high float64) { return e.errors[i], e.errors[i] }

func blank(title, x, y string) *picture {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle.Font.Size = vg.Points(11)
	p.Title.Padding = vg.Points(6)
	p.X.Label.TextStyle.Font.Size, p.Y.Label.TextStyle.Font.Size = vg.Points(10), vg.Points(10)
	for _, f := range []*font.Font{&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font} {
		f.Variant = "Sans"
	}
	p.X.Label.Padding, p.Y.Label.Padding = vg.Points(3), vg.Points(3)
	p.BackgroundColor = nil // the sheet is white, and a page has a colour of its own
	return &picture{Plot: p}
}

func addLine(p *picture, at plotter.XYs) error {
	return addStyled(p, grey(), at...)
}

func grey() draw.LineStyle { return draw.LineStyle{Color: color.Gray{Y: 120}, Width: vg.Points(1)} }

func addPoints(p *picture, at plotter.XYs, shape draw.GlyphDrawer, name string) error {
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
		p.legend = append(p.legend, mark{shape: shape, text: name})
	}
	return nil
}

// room leaves a margin above and below, where the glyphs fit.
func room(p *picture) {
	span := p.Y.Max - p.Y.Min
	if span == 0 {
		span = math.Max(1e-9, math.Abs(p.Y.Max))
	}
	p.Y.Min -= .06 * span
	p.Y.Max += .06 * span
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

// decimal puts some five to ten ticks at round numbers; with exp the exponential
// stands in brackets.
type decimal struct{ exp bool }

func (d decimal) Ticks(lo, hi float64) (ticks []plot.Tick) {
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/5)))
	for _, factor := range []float64{5, 2} {
		if (hi-lo)/(step*factor) >= 4 {
			step *= factor
			break
		}
	}
	for v := math.Ceil(lo/step) + 0; v*step <= hi; v++ { // + 0: no minus zero
		label := fmt.Sprintf("%.6g", v*step)
		if d.exp {
			label += fmt.Sprintf(" (%.3g)", math.Exp(v*step))
		}
		ticks = append(ticks, plot.Tick{Value: v * step, Label: label})
	}
	return ticks
}
