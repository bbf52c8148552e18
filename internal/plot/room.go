package plot

import (
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// reach is how far something sticks out along an axis around a place of it, as a share
// of its range.
type reach struct {
	at       float64
	low, top vg.Length
}

// padX makes a canvas narrower until what lies at its sides fits. Labels of the axis
// need that at the right only: at the left there is the other axis' room.
func (p *chart) padX(c draw.Canvas) draw.Canvas {
	labels := []reach{across(.5, labelStyle().Rectangle(p.x.label))}
	for _, t := range p.x.marks() {
		labels = append(labels, across(p.x.share(t.value), below().Rectangle(t.label)))
	}
	var shapes []reach
	p.inside(func(x, _ float64, r vg.Rectangle) { shapes = append(shapes, across(x, r)) })
	c.Min.X, c.Max.X = pad(c.Min.X, c.Max.X, shapes, labels)
	return c
}

// padY makes it lower likewise.
func (p *chart) padY(c draw.Canvas) draw.Canvas {
	labels := []reach{along(.5, turnedStyle().Rectangle(p.y.label))}
	e := leftOf().FontExtents()
	for _, t := range p.y.marks() {
		r := leftOf().Rectangle(t.label)
		labels = append(labels, along(p.y.share(t.value), r.Add(vg.Point{Y: e.Height - e.Ascent})))
	}
	var shapes []reach
	p.inside(func(_, y float64, r vg.Rectangle) { shapes = append(shapes, along(y, r)) })
	c.Min.Y, c.Max.Y = pad(c.Min.Y, c.Max.Y, shapes, labels)
	return c
}

func across(at float64, r vg.Rectangle) reach { return reach{at, r.Min.X, r.Max.X} }
func along(at float64, r vg.Rectangle) reach  { return reach{at, r.Min.Y, r.Max.Y} }

// inside shows the points of shapes that lie within both ranges, and what is covered
// around each.
func (p *chart) inside(see func(x, y float64, around vg.Rectangle)) {
	for _, s := range p.above {
		for _, at := range s.points {
			if x, y := p.x.share(at.x), p.y.share(at.y); x >= 0 && x <= 1 && y >= 0 && y <= 1 {
				see(x, y, s.around)
			}
		}
	}
}

// pad moves the ends of a stretch inwards until what sticks out farthest at either fits:
// of some at both ends, of others at the upper.
func pad(low, top vg.Length, both, upper []reach) (vg.Length, vg.Length) {
	at := func(r reach) vg.Length { return low + vg.Length(r.at)*(top-low) }
	first, last := reach{}, reach{at: 1}
	for _, r := range both {
		if at(r)+r.low < at(first)+first.low {
			first = r
		}
	}
	for _, r := range append(both, upper...) {
		if at(r)+r.top > at(last)+last.top {
			last = r
		}
	}
	// Both places, moved, are their reach away from the ends.
	from, to := low-first.low, top-last.top
	each := (to - from) / vg.Length(last.at-first.at)
	return from - vg.Length(first.at)*each, to + vg.Length(1-last.at)*each
}
