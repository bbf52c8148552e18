package plot

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"regexp"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// note is a text that shows where a pointer rests on a place of the data.
type note struct {
	x, y float64
	text string
}

// Inline is a panel as an SVG element of a page, so many points wide: its colours
// are the page's properties --ink, --soft, --paper and --c0 … --c7, its notes show
// under the pointer. label says what it is to who cannot see it.
func Inline(p Panel, width float64, label string) (string, error) {
	made, err := p.draw()
	if err != nil {
		return "", err
	}
	w := vg.Length(width)
	h := p.height(w)
	svg := vgsvg.New(w, h)
	canvas := made.drawOn(draw.NewCanvas(svg, w, h))
	var raw bytes.Buffer
	if _, err := svg.WriteTo(&raw); err != nil {
		return "", err
	}
	body := themed(raw.String())
	_, body, _ = strings.Cut(body, "<svg")
	_, body, _ = strings.Cut(body, ">")
	body = strings.TrimSuffix(strings.TrimSpace(body), "</svg>")
	head := fmt.Sprintf(`<svg class="chart" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`, width, h.Points(), html.EscapeString(label))
	return head + body + made.hover(canvas, h) + "</svg>", nil
}

// hover lays circles that cannot be seen over what has a note.
func (p *picture) hover(c draw.Canvas, height vg.Length) string {
	var b strings.Builder
	for _, n := range p.notes {
		at := p.place(c, xy{n.x, n.y})
		fmt.Fprintf(&b, "<circle class=\"tip\" cx=\"%.1f\" cy=\"%.1f\" r=\"7\"><title>%s</title></circle>\n", at.X.Points(), (height - at.Y).Points(), html.EscapeString(n.text))
	}
	return b.String()
}

// themed names the page's colours, within tags: what stands between them is text.
func themed(svg string) string {
	names := map[string]string{hex(color.Black): "ink", hex(color.White): "paper"}
	for _, c := range []color.Color{grey().Color, color.Gray{Y: 90}, color.Gray{Y: 80}} {
		names[hex(c)] = "soft"
	}
	names[hex(faint())] = "faint"
	for i, s := range signs() {
		if i > 0 { // the first is ink
			names[hex(s.color)] = fmt.Sprintf("c%d", i)
		}
	}
	tag, colour := regexp.MustCompile(`<[^>]*>`), regexp.MustCompile(`(fill|stroke):(#[0-9A-F]{6})`)
	svg = tag.ReplaceAllStringFunc(svg, func(t string) string {
		t = strings.NewReplacer("font-family:Liberation Sans;", "", "font-variant:normal;", "", "font-weight:normal;", "", "font-style:normal;", "").Replace(t)
		return colour.ReplaceAllStringFunc(t, func(s string) string {
			property, value, _ := strings.Cut(s, ":")
			if name, ok := names[value]; ok {
				return property + ":var(--" + name + ")"
			}
			return s
		})
	})
	return svg
}

// hex is a colour as package vgsvg writes it.
func hex(c color.Color) string {
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02X%02X%02X", r>>8, g>>8, b>>8)
}
