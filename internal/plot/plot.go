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

// picture is a panel that is ready to be drawn: a chart, what its marks mean, and
// perhaps a scale beside it.
type picture struct {
	chart
	legend []mark
	bar    *chart
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
	shade(out, p.Protected)
	var all, first, rest []xy
	for l, v := range p.Scores {
		if !finite(v) {
			continue
		}
		at := xy{float64(l), v}
		all = append(all, at)
		if slices.Contains(p.First, l) {
			first = append(first, at)
		} else {
			rest = append(rest, at)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no layer has a score", p.Title)
	}
	out.add(line(grey(), all...))
	addPoints(out, first, draw.BoxGlyph{}, few)
	addPoints(out, rest, draw.RingGlyph{}, "others")
	out.x.min, out.x.max = -.5, float64(len(p.Scores))-.5
	out.x.ticks, out.y.ticks = whole, decimal
	room(out)
	return out, nil
}

// shade puts a grey band behind layers that may not drop.
func shade(out *picture, layers []int) {
	for _, l := range layers {
		out.under = append(out.under, column(faint(), float64(l)-.5, float64(l)+.5))
	}
	if len(layers) > 0 {
		out.legend = append(out.legend, mark{line: draw.LineStyle{Color: faint(), Width: vg.Points(8)}, text: "protected"})
	}
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
	var at []xy
	for n, v := range c.Values {
		if finite(v) {
			at = append(at, xy{float64(n), v})
		}
	}
	if len(at) == 0 {
		return nil, fmt.Errorf("%s: there is no value", c.Title)
	}
	out.add(line(grey(), at...))
	c.addErrors(out, at)
	addPoints(out, at, draw.CircleGlyph{}, "")
	out.x.min, out.x.max = -.5, float64(len(c.Values))-.5
	out.x.ticks, out.y.ticks = whole, decimal
	if c.Exp {
		out.y.ticks = exponential
	}
	if c.Chance > 0 {
		out.y.min, out.y.max = min(out.y.min, c.Chance), max(out.y.max, c.Chance)
	}
	room(out)
	c.addLines(out)
	return out, nil
}

// addErrors draws a standard error up and down from each point that has one.
func (c Curve) addErrors(out *picture, at []xy) {
	if c.Errors == nil {
		return
	}
	style := draw.LineStyle{Color: color.Gray{Y: 90}, Width: vg.Points(.75)}
	for _, p := range at {
		if n := int(p.x); n < len(c.Errors) && !math.IsNaN(c.Errors[n]) {
			out.add(errorBar(style, p, c.Errors[n]))
		}
	}
	out.legend = append(out.legend, mark{line: style, text: "± one standard error"})
}

// addLines draws what guessing comes to, and the n that is pointed out.
func (c Curve) addLines(out *picture) {
	style := draw.LineStyle{Color: color.Gray{Y: 90}, Width: vg.Points(.75), Dashes: []vg.Length{vg.Points(4), vg.Points(3)}}
	if c.Chance > 0 {
		out.add(line(style, xy{out.x.min, c.Chance}, xy{out.x.max, c.Chance}))
		out.legend = append(out.legend, mark{line: style, text: "guessing"})
	}
	if c.Mark > 0 {
		style.Dashes = []vg.Length{vg.Points(1), vg.Points(2)}
		out.add(line(style, xy{float64(c.Mark), out.y.min}, xy{float64(c.Mark), out.y.max}))
		out.legend = append(out.legend, mark{line: style, text: c.MarkText})
	}
}

func blank(title, x, y string) *picture {
	return &picture{chart: chart{title: title, x: emptyAxis(x), y: emptyAxis(y)}}
}

func grey() draw.LineStyle { return draw.LineStyle{Color: color.Gray{Y: 120}, Width: vg.Points(1)} }

func addPoints(p *picture, at []xy, shape draw.GlyphDrawer, name string) {
	if len(at) == 0 {
		return
	}
	p.add(scatter(draw.GlyphStyle{Color: color.Black, Radius: vg.Points(3), Shape: shape}, at...))
	if name != "" {
		p.legend = append(p.legend, mark{shape: shape, text: name})
	}
}

// room leaves a margin above and below, where the glyphs fit.
func room(p *picture) { p.y.widen(.06) }

// widen adds a share of the range at either end.
func (a *axis) widen(share float64) {
	span := a.max - a.min
	if span == 0 {
		span = math.Max(1e-9, math.Abs(a.max))
	}
	a.min -= share * span
	a.max += share * span
}

// whole puts ticks at whole numbers, round ones with labels: as many as there is room
// for, 16 at most.
func whole(lo, hi float64) (ticks []tick) {
	most := 16.
	if hi >= 100 {
		most = 10
	}
	step := 1
	for i := 0; (hi-lo)/float64(step) > most; i++ {
		step = step * []int{2, 5, 10}[i%3] / []int{1, 2, 5}[i%3]
	}
	short := max(1, step/5)
	for v := int(math.Ceil(lo/float64(short))) * short; float64(v) <= hi; v += short {
		t := tick{value: float64(v)}
		if v%step == 0 {
			t.label = fmt.Sprint(v)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// decimal puts some five to ten ticks at round numbers.
func decimal(lo, hi float64) (ticks []tick) {
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/5)))
	for _, factor := range []float64{5, 2} {
		if (hi-lo)/(step*factor) >= 4 {
			step *= factor
			break
		}
	}
	for v := math.Ceil(lo/step) + 0; v*step <= hi; v++ { // + 0: no minus zero
		ticks = append(ticks, tick{v * step, fmt.Sprintf("%.6g", v*step)})
	}
	return ticks
}

// exponential is decimal with the exponential of each number in brackets.
func exponential(lo, hi float64) []tick {
	ticks := decimal(lo, hi)
	for i, t := range ticks {
		format, v := " (%.3g)", math.Exp(t.value)
		if v >= 100 && v < 1e6 {
			format = " (%.0f)"
		}
		ticks[i].label += fmt.Sprintf(format, v)
	}
	return ticks
}
