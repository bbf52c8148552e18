package plot

import (
	"image/color"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// line goes through points.
func line(style draw.LineStyle, points ...xy) shape {
	return shape{points, square(style.Width / 2), func(c *draw.Canvas, at []vg.Point) {
		c.StrokeLines(style, c.ClipLinesXY(at)...)
	}}
}

// scatter is a glyph at each point.
func scatter(style draw.GlyphStyle, points ...xy) shape {
	return shape{points, square(style.Radius), func(c *draw.Canvas, at []vg.Point) {
		for _, p := range at {
			c.DrawGlyph(style, p)
		}
	}}
}

// errorBar goes up and down from a point, with a cap at either end.
func errorBar(style draw.LineStyle, p xy, by float64) shape {
	const half = vg.Length(2.5)
	around := vg.Rectangle{Min: vg.Point{X: -half, Y: -style.Width / 2}, Max: vg.Point{X: half, Y: style.Width / 2}}
	return shape{[]xy{{p.x, p.y - by}, {p.x, p.y + by}}, around, func(c *draw.Canvas, at []vg.Point) {
		c.StrokeLines(style, at)
		for _, end := range at {
			c.StrokeLine2(style, end.X-half, end.Y, end.X+half, end.Y)
		}
	}}
}

// cell is a rectangle between two corners, and so much more of paper beyond the second.
func cell(fill color.Color, low, high xy, more vg.Point) shape {
	return shape{[]xy{low, high}, vg.Rectangle{}, func(c *draw.Canvas, at []vg.Point) {
		c.SetColor(fill)
		c.Fill(vg.Rectangle{Min: at[0], Max: at[1].Add(more)}.Path())
	}}
}

// column is a band from the bottom of a chart to its top.
func column(fill color.Color, from, to float64) shape {
	return shape{[]xy{{x: from}, {x: to}}, vg.Rectangle{}, func(c *draw.Canvas, at []vg.Point) {
		c.SetColor(fill)
		c.Fill(vg.Rectangle{Min: vg.Point{X: at[0].X, Y: c.Min.Y}, Max: vg.Point{X: at[1].X, Y: c.Max.Y}}.Path())
	}}
}

// words stand at a point.
func words(style text.Style, p xy, s string) shape {
	return shape{[]xy{p}, style.Rectangle(s), func(c *draw.Canvas, at []vg.Point) { c.FillText(style, at[0], s) }}
}

func square(r vg.Length) vg.Rectangle {
	return vg.Rectangle{Min: vg.Point{X: -r, Y: -r}, Max: vg.Point{X: r, Y: r}}
}
