package plot

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Point is a value with its interval: of Y in Lines, of X in Dots. Low and High are
// NaN, or alike, where there is none.
type Point struct {
	X, Y      float64
	Low, High float64
	Note      string // shown under the pointer on a page
}

// Series are points of one kind; the sign says which, from 0, by shape, dash and
// colour.
type Series struct {
	Name   string
	Sign   int
	Line   bool // through the points
	Bare   bool // a line alone, without points
	Points []Point
}

// sign tells series apart, with or without colour.
type sign struct {
	shape  draw.GlyphDrawer
	color  color.Color
	dashes []vg.Length
}

// signs are as many series as can be told apart; the colours are Okabe and Ito's.
func signs() []sign {
	pt := func(lengths ...float64) (out []vg.Length) {
		for _, l := range lengths {
			out = append(out, vg.Points(l))
		}
		return out
	}
	return []sign{
		{ring{}, color.Black, nil},
		{draw.PyramidGlyph{}, color.RGBA{R: 0xd5, G: 0x5e, A: 255}, pt(6, 3)},
		{draw.CircleGlyph{}, color.RGBA{G: 0x72, B: 0xb2, A: 255}, nil},
		{draw.BoxGlyph{}, color.RGBA{G: 0x9e, B: 0x73, A: 255}, pt(2, 2)},
		{draw.CrossGlyph{}, color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 255}, pt(8, 2, 2, 2)},
		{draw.SquareGlyph{}, color.RGBA{R: 0xe6, G: 0x9f, A: 255}, pt(4, 2)},
		{draw.TriangleGlyph{}, color.RGBA{R: 0x56, G: 0xb4, B: 0xe9, A: 255}, pt(1, 2)},
		{draw.PlusGlyph{}, color.RGBA{R: 0x8c, G: 0x51, B: 0x0a, A: 255}, pt(10, 3)},
	}
}

// ring is a circle that can be seen over lines.
type ring struct{}

// DrawGlyph implements draw.GlyphDrawer.
func (ring) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, at vg.Point) {
	path := vg.Path{}
	path.Move(vg.Point{X: at.X + style.Radius, Y: at.Y})
	path.Arc(at, style.Radius, 0, 2*math.Pi)
	path.Close()
	c.SetColor(color.White)
	c.Fill(path)
	c.SetLineStyle(draw.LineStyle{Color: style.Color, Width: vg.Points(1.2)})
	c.Stroke(path)
}

// Signs is how many series can be told apart.
const Signs = 8

func signOf(i int) sign { return signs()[i%Signs] }

// faint is for lines that lead the eye.
func faint() color.Color { return color.Gray{Y: 226} }

// add draws the series over what is there; at says where a point lies.
func (s Series) add(p *picture, at func(Point) xy) {
	var points []xy
	for _, q := range s.Points {
		if at := at(q); finite(at.x) && finite(at.y) {
			points = append(points, at)
			if q.Note != "" {
				p.notes = append(p.notes, note{at.x, at.y, q.Note})
			}
		}
	}
	if len(points) == 0 {
		return
	}
	look := signOf(s.Sign)
	stroke := draw.LineStyle{Color: look.color, Width: vg.Points(1.3), Dashes: look.dashes}
	if s.Line || s.Bare {
		p.add(line(stroke, points...))
	}
	m := mark{text: s.Name, color: look.color, line: stroke}
	if !s.Bare {
		p.add(scatter(draw.GlyphStyle{Color: look.color, Radius: vg.Points(3.2), Shape: look.shape}, points...))
		m.shape = look.shape
	}
	if s.Name != "" {
		p.legend = append(p.legend, m)
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func (q Point) ranged() bool { return finite(q.Low) && finite(q.High) && q.Low < q.High }

// Level is a line across a picture.
type Level struct {
	Value float64
	Name  string
}

// Lines are series over two axes.
type Lines struct {
	Title, X, Y string
	Series      []Series
	Levels      []Level // of Y
	Whole       bool    // X counts something
	Tall        float64 // height as a share of the width; 0: .6
}

func (l Lines) height(width vg.Length) vg.Length {
	if l.Tall > 0 {
		return width * vg.Length(l.Tall)
	}
	return width * .6
}

func (l Lines) draw() (*picture, error) {
	out := blank(l.Title, l.X, l.Y)
	out.x.ticks, out.y.ticks = decimal, decimal
	if l.Whole {
		out.x.ticks = whole
	}
	n := 0
	for _, s := range l.Series {
		for _, q := range s.Points {
			if !finite(q.X) || !finite(q.Y) {
				continue
			}
			n++
			if q.ranged() {
				out.add(line(spread(s.Sign), xy{q.X, q.Low}, xy{q.X, q.High}))
			}
		}
		s.add(out, func(q Point) xy { return xy{q.X, q.Y} })
	}
	if n == 0 {
		return nil, fmt.Errorf("%s: there is no value", l.Title)
	}
	wide(out)
	for _, level := range l.Levels {
		style := dashed()
		out.add(line(style, xy{out.x.min, level.Value}, xy{out.x.max, level.Value}))
		out.legend = append(out.legend, mark{line: style, text: level.Name})
	}
	room(out)
	return out, nil
}

// wide leaves a margin at the sides, where the glyphs fit.
func wide(p *picture) { p.x.widen(.04) }

// spread is an interval's line.
func spread(sign int) draw.LineStyle {
	return draw.LineStyle{Color: signOf(sign).color, Width: vg.Points(1)}
}

func dashed() draw.LineStyle {
	return draw.LineStyle{Color: color.Gray{Y: 90}, Width: vg.Points(.9), Dashes: []vg.Length{vg.Points(4), vg.Points(3)}}
}
