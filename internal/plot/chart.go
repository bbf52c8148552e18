package plot

import (
	"image/color"
	"math"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// chart is a pair of axes and what is drawn between them, laid out as gonum's own are,
// whose package does much before any program begins.
type chart struct {
	title string
	x, y  axis
	under []shape // below everything else; the axes take no notice of them
	above []shape
}

// xy is a place of the data.
type xy struct{ x, y float64 }

// shape is drawn at points of the data.
type shape struct {
	points []xy
	around vg.Rectangle // what it covers about each of them: there is room for that
	draw   func(c *draw.Canvas, at []vg.Point)
}

// axis is the range of a chart one way, and what says so beside it.
type axis struct {
	min, max float64 // the wrong way round until something is drawn
	label    string
	ticks    func(lo, hi float64) []tick
	bare     bool // no line, and no strokes at the ticks
}

// tick is a mark on an axis; those without a label are short.
type tick struct {
	value float64
	label string
}

// Measures of axes.
const (
	strokeWidth   = vg.Length(.5)
	strokeLength  = vg.Length(8)
	axisGap       = vg.Length(5) // to the data
	labelGap      = vg.Length(3) // below a label
	titleGap      = vg.Length(6)
	axisTextSize  = vg.Length(10)
	titleTextSize = vg.Length(11)
)

func emptyAxis(label string) axis {
	return axis{min: math.Inf(1), max: math.Inf(-1), label: label, ticks: fixed(nil)}
}

// fixed are ticks that are the same for every range.
func fixed(ticks []tick) func(lo, hi float64) []tick {
	return func(float64, float64) []tick { return ticks }
}

// add draws shapes, for whose points the axes make room.
func (p *chart) add(shapes ...shape) {
	for _, s := range shapes {
		for _, at := range s.points {
			p.x.min, p.x.max = min(p.x.min, at.x), max(p.x.max, at.x)
			p.y.min, p.y.max = min(p.y.min, at.y), max(p.y.max, at.y)
		}
	}
	p.above = append(p.above, shapes...)
}

// drawOn draws the chart and returns where its data lie.
func (p *chart) drawOn(c draw.Canvas) draw.Canvas {
	style := aligned(titleTextSize, text.XCenter, text.YTop)
	at := vg.Point{X: c.Center().X, Y: c.Max.Y + style.FontExtents().Descent}
	if p.title != "" {
		c.Max.Y -= style.Rectangle(p.title).Size().Y + titleGap
	}
	left, below := p.y.width(), p.x.height()
	horizontal, vertical := p.padX(draw.Crop(c, left, 0, 0, 0)), p.padY(draw.Crop(c, 0, 0, below, 0))
	data := p.padY(p.padX(draw.Crop(c, left, 0, below, 0)))
	p.shapes(data, p.under)
	write(c, style, at, p.title)
	p.x.drawBelow(horizontal)
	p.y.drawLeft(vertical)
	p.shapes(data, p.above)
	return data
}

func (p *chart) shapes(c draw.Canvas, shapes []shape) {
	for _, s := range shapes {
		at := make([]vg.Point, len(s.points))
		for i, point := range s.points {
			at[i] = p.place(c, point)
		}
		s.draw(&c, at)
	}
}

// place is where a point lies.
func (p *chart) place(c draw.Canvas, at xy) vg.Point {
	return vg.Point{X: c.X(p.x.share(at.x)), Y: c.Y(p.y.share(at.y))}
}

// share is how far along its range a value is.
func (a axis) share(v float64) float64 {
	lo, hi := a.limits()
	return (v - lo) / (hi - lo)
}

// limits are the ends of the range, which is never empty.
func (a axis) limits() (lo, hi float64) {
	switch {
	case a.min > a.max:
		return -1, 1
	case a.min == a.max:
		return a.min - 1, a.max + 1
	}
	return a.min, a.max
}

func (a axis) marks() []tick {
	lo, hi := a.limits()
	var in []tick
	for _, t := range a.ticks(lo, hi) {
		if at := a.share(t.value); at >= 0 && at <= 1 {
			in = append(in, t)
		}
	}
	return in
}

// aligned is text of a size beside its point.
func aligned(size vg.Length, x text.XAlignment, y text.YAlignment) text.Style {
	s := styled(size)
	s.XAlign, s.YAlign = x, y
	return s
}

// Styles of an axis' label, and of ticks' labels below and at the left of the data.
func labelStyle() text.Style { return aligned(axisTextSize, text.XCenter, text.YBottom) }
func below() text.Style      { return aligned(axisTextSize, text.XCenter, text.YTop) }
func leftOf() text.Style     { return aligned(axisTextSize, text.XRight, text.YCenter) }

func turnedStyle() text.Style {
	s := labelStyle()
	s.Rotation = math.Pi / 2
	return s
}

func write(c draw.Canvas, style text.Style, at vg.Point, s string) {
	if s != "" {
		c.FillText(style, at, s)
	}
}

// largest is the size of the largest label of some ticks.
func largest(style text.Style, ticks []tick) (size vg.Point) {
	for _, t := range ticks {
		if t.label != "" {
			r := style.Rectangle(t.label).Size()
			size.X, size.Y = max(size.X, r.X), max(size.Y, r.Y)
		}
	}
	return size
}

// strokes is how long the strokes at the ticks are.
func (a axis) strokes(ticks []tick) vg.Length {
	if a.bare || len(ticks) == 0 {
		return 0
	}
	return strokeLength
}

// labelled is the room that the axis' label takes.
func (a axis) labelled() vg.Length {
	if a.label == "" {
		return 0
	}
	return labelStyle().Height(a.label) + labelGap
}

// height is that of an axis below its data.
func (a axis) height() vg.Length {
	ticks := a.marks()
	return a.labelled() + a.strokes(ticks) + largest(below(), ticks).Y + a.edge()
}

// width is that of an axis at the left of its data.
func (a axis) width() vg.Length {
	ticks := a.marks()
	w := a.labelled() + a.strokes(ticks) + a.edge()
	if a.label != "" {
		w += labelStyle().FontExtents().Descent
	}
	if most := largest(leftOf(), ticks).X; most > 0 {
		w += most + leftOf().Width(" ")
	}
	return w
}

func (a axis) edge() vg.Length {
	if a.bare {
		return axisGap
	}
	return axisGap + strokeWidth/2
}

func stroke() draw.LineStyle { return draw.LineStyle{Color: color.Black, Width: strokeWidth} }

// drawBelow draws the axis at the bottom of a canvas, upwards from its label.
func (a axis) drawBelow(c draw.Canvas) {
	ticks, style := a.marks(), below()
	write(c, labelStyle(), vg.Point{X: c.Center().X, Y: c.Min.Y + labelStyle().FontExtents().Descent}, a.label)
	y := c.Min.Y + a.labelled() + largest(style, ticks).Y
	for _, t := range ticks {
		write(c, style, vg.Point{X: c.X(a.share(t.value)), Y: y + style.FontExtents().Descent}, t.label)
	}
	end := y + a.strokes(ticks)
	if a.bare {
		return
	}
	for _, t := range ticks {
		x := c.X(a.share(t.value))
		c.StrokeLine2(stroke(), x, t.start(y, end), x, end)
	}
	c.StrokeLine2(stroke(), c.Min.X, end, c.Max.X, end)
}

// drawLeft draws the axis at the left of a canvas.
func (a axis) drawLeft(c draw.Canvas) {
	ticks, style := a.marks(), leftOf()
	x := c.Min.X + a.labelled()
	if a.label != "" {
		turned := turnedStyle()
		write(c, turned, vg.Point{X: x - labelGap - turned.FontExtents().Descent, Y: c.Center().Y}, a.label)
		x += turned.FontExtents().Descent
	}
	most := largest(style, ticks).X
	x += most
	for _, t := range ticks {
		write(c, style, vg.Point{X: x, Y: c.Y(a.share(t.value)) + style.FontExtents().Descent}, t.label)
	}
	if most > 0 {
		x += style.Width(" ")
	}
	end := x + a.strokes(ticks)
	if a.bare {
		return
	}
	for _, t := range ticks {
		y := c.Y(a.share(t.value))
		c.StrokeLine2(stroke(), t.start(x, end), y, end, y)
	}
	c.StrokeLine2(stroke(), end, c.Min.Y, end, c.Max.Y)
}

// start is where a tick's stroke begins.
func (t tick) start(from, end vg.Length) vg.Length {
	if t.label == "" {
		return from + (end-from)/2
	}
	return from
}
