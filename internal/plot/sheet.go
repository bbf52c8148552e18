package plot

import (
	"cmp"
	"fmt"
	"image/color"
	"strings"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// sheet is a grid of panels with a caption.
type sheet struct {
	panels        []Panel
	columns       int
	rows          []vg.Length // heights
	caption       []string    // lines
	width, height vg.Length
	panelWidth    vg.Length
}

// Sizes of text, and of lines of it.
const (
	captionSize = vg.Length(9)
	legendSize  = vg.Length(10)
	lineHeight  = 1.35
)

// newSheet makes one column of up to three panels, two of up to eight, else three.
func newSheet(caption string, panels []Panel) *sheet {
	s := &sheet{panels: panels, columns: 1, panelWidth: 6.5 * vg.Inch}
	switch n := len(panels); {
	case n > 8:
		s.columns, s.panelWidth = 3, 4.6*vg.Inch
	case n > 3:
		s.columns, s.panelWidth = 2, 5.4*vg.Inch
	}
	s.width = s.panelWidth * vg.Length(s.columns)
	for i, p := range panels {
		if i%s.columns == 0 {
			s.rows = append(s.rows, 0)
		}
		at := len(s.rows) - 1
		s.rows[at] = max(s.rows[at], p.height(s.panelWidth))
	}
	for _, h := range s.rows {
		s.height += h
	}
	s.caption = lines(caption, styled(captionSize), s.width-4*margin)
	if len(s.caption) > 0 {
		s.height += captionSize*lineHeight*vg.Length(len(s.caption)) + margin
	}
	return s
}

// canvasFor is paper of a size.
func canvasFor(extension string, width, height vg.Length) (vg.CanvasWriterTo, error) {
	switch strings.ToLower(extension) {
	case ".svg":
		return vgsvg.New(width, height), nil
	case ".png":
		return vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(144))}, nil
	}
	return nil, fmt.Errorf("%q: want a name that ends in .png or .svg", extension)
}

func (s *sheet) draw(c draw.Canvas) error {
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	top := c.Max.Y
	for i, p := range s.panels {
		made, err := p.draw()
		if err != nil {
			return err
		}
		column, row := i%s.columns, i/s.columns
		part := c
		part.Min.X = c.Min.X + s.panelWidth*vg.Length(column)
		part.Max.X = part.Min.X + s.panelWidth
		part.Max.Y, part.Min.Y = top, top-p.height(s.panelWidth)
		made.drawOn(draw.Crop(part, margin, -margin, margin, -margin))
		if column == s.columns-1 {
			top -= s.rows[row]
		}
	}
	style := styled(captionSize)
	style.Color = color.Gray{Y: 80}
	y := c.Min.Y + margin + captionSize*lineHeight*vg.Length(len(s.caption)-1)
	for _, line := range s.caption {
		c.FillText(style, vg.Point{X: c.Min.X + 2*margin, Y: y}, line)
		y -= captionSize * lineHeight
	}
	return nil
}

// drawOn draws the chart, and its legend in a strip of its own below, where no data
// are, and returns where the data lie.
func (p *picture) drawOn(c draw.Canvas) draw.Canvas {
	if rows := p.legendRows(c.Max.X - c.Min.X); len(rows) > 0 {
		line := legendSize * 1.6
		for i, row := range rows {
			top := c.Min.Y + line*vg.Length(len(rows)-i)
			drawLegend(draw.Crop(c, 0, 0, top-line-c.Min.Y, top-c.Max.Y), row)
		}
		c = draw.Crop(c, 0, 0, line*vg.Length(len(rows)), 0)
	}
	if p.bar != nil {
		const width, gap = vg.Length(76), vg.Length(14)
		p.bar.drawOn(draw.Crop(c, c.Max.X-c.Min.X-width, 0, 24, -24))
		c = draw.Crop(c, 0, -width-gap, 0, 0)
	}
	return p.chart.drawOn(c)
}

// Widths in a legend: of a sign, and between it and its text.
const (
	legendSign = vg.Length(18)
	legendGap  = vg.Length(6)
)

// legendWidth is that of a mark, with room for fonts that are wider.
func legendWidth(m mark) vg.Length {
	return legendSign + legendGap + styled(legendSize).Width(m.text)*1.2
}

// legendRows breaks the marks into lines that are no wider than the picture.
func (p *picture) legendRows(width vg.Length) (rows [][]mark) {
	used := width + 1
	for _, m := range p.legend {
		w := legendWidth(m)
		if used+w > width {
			rows, used = append(rows, nil), 0
		}
		last := len(rows) - 1
		rows[last], used = append(rows[last], m), used+w
	}
	return rows
}

// drawLegend draws marks one beside the other.
func drawLegend(c draw.Canvas, marks []mark) {
	style := styled(legendSize)
	total := vg.Length(0)
	for _, m := range marks {
		total += legendWidth(m)
	}
	x, y := max(c.Min.X, (c.Min.X+c.Max.X-total)/2), c.Min.Y+legendSize*.5
	for _, m := range marks {
		middle := y + legendSize*.3
		if m.shape == nil {
			c.StrokeLine2(m.line, x, middle, x+legendSign, middle)
		} else {
			c.DrawGlyph(draw.GlyphStyle{Color: cmp.Or[color.Color](m.color, color.Black), Radius: vg.Points(3), Shape: m.shape}, vg.Point{X: x + legendSign/2, Y: middle})
		}
		c.FillText(style, vg.Point{X: x + legendSign + legendGap/2, Y: y}, m.text)
		x += legendWidth(m)
	}
}

// styled is text of a size, at the left of its point and above it.
func styled(size vg.Length) text.Style {
	if sans := (font.Font{Typeface: "Liberation", Variant: "Sans"}); !font.DefaultCache.Has(sans) {
		font.DefaultCache.Add(liberation.Collection()) // not before something is drawn
	}
	return text.Style{
		Color: color.Black, Font: font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size),
		XAlign: text.XLeft, YAlign: text.YBottom, Handler: text.Plain{Fonts: font.DefaultCache},
	}
}

// lines breaks a text between words.
func lines(s string, style text.Style, width vg.Length) (out []string) {
	for _, word := range strings.Fields(s) {
		if n := len(out) - 1; n >= 0 && style.Width(out[n]+" "+word) <= width {
			out[n] += " " + word
		} else {
			out = append(out, word)
		}
	}
	return out
}
