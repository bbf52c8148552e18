package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/coppice-ml/coppice/internal/layerlist"
)

// Cell is one value of a table: Text for people, Plain for programs.
type Cell struct {
	Text  string
	Plain string
	Right bool // numbers are aligned at the right
}

// Table is a header and rows of as many cells.
type Table struct {
	Header []string
	Rows   [][]Cell
}

// Rule puts an empty line before the next row, for people.
func (t *Table) Rule() { t.Rows = append(t.Rows, nil) }

// Add appends a row.
func (t *Table) Add(cells ...Cell) { t.Rows = append(t.Rows, cells) }

// Fold cuts a table into several that are no wider than some columns of characters,
// where that can be. Each begins with the first column, and columns that belong
// together, so many at a time after the first, stay so.
func (t *Table) Fold(columns, together int) []*Table {
	var out []*Table
	width := t.widths()
	for at := 1; at < len(t.Header); {
		picked, total := []int{0}, width[0]
		for at < len(t.Header) {
			more := 0
			next := min(at+together, len(t.Header))
			for _, w := range width[at:next] {
				more += 2 + w
			}
			if len(picked) > 1 && total+more > columns {
				break
			}
			for ; at < next; at++ {
				picked = append(picked, at)
			}
			total += more
		}
		out = append(out, t.pick(picked))
	}
	return out
}

// pick is a table of some of the columns.
func (t *Table) pick(columns []int) *Table {
	out := &Table{}
	for _, c := range columns {
		out.Header = append(out.Header, t.Header[c])
	}
	for _, row := range t.Rows {
		var cells []Cell
		for _, c := range columns {
			cells = append(cells, row[c])
		}
		out.Rows = append(out.Rows, cells)
	}
	return out
}

// widths are those of the columns, in characters.
func (t *Table) widths() []int {
	width := make([]int, len(t.Header))
	for i, h := range t.Header {
		width[i] = utf8.RuneCountInString(h)
		for _, row := range t.Rows {
			if row != nil {
				width[i] = max(width[i], utf8.RuneCountInString(row[i].Text))
			}
		}
	}
	return width
}

// WriteAligned writes columns padded with blanks, for a terminal.
func (t *Table) WriteAligned(w io.Writer) error {
	width := t.widths()
	var b strings.Builder
	if t.titled() {
		header := make([]Cell, len(t.Header))
		for i, h := range t.Header {
			header[i] = Cell{Text: h, Right: len(t.Rows) > 0 && t.Rows[0][i].Right}
		}
		writeRow(&b, header, width)
	}
	for _, row := range t.Rows {
		writeRow(&b, row, width)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeRow(b *strings.Builder, row []Cell, width []int) {
	var line strings.Builder
	for i, c := range row {
		pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c.Text))
		if i > 0 {
			line.WriteString("  ")
		}
		if c.Right {
			line.WriteString(pad + c.Text)
		} else {
			line.WriteString(c.Text + pad)
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// WriteTSV writes a header and rows separated by tabs, for a pipe.
func (t *Table) WriteTSV(w io.Writer) error {
	var b strings.Builder
	if t.titled() {
		b.WriteString(strings.Join(t.Header, "\t") + "\n")
	}
	for _, row := range t.Rows {
		if row == nil {
			continue
		}
		for i, c := range row {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(tsv(c.Plain))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// titled is false for tables whose columns need no names.
func (t *Table) titled() bool { return strings.Join(t.Header, "") != "" }

func tsv(s string) string {
	return strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`).Replace(s)
}

// String is a cell of text.
func String(s string) Cell { return Cell{Text: s, Plain: s} }

// Int is a cell that shows every digit.
func Int[T ~int | ~int64](n T) Cell {
	s := strconv.FormatInt(int64(n), 10)
	return Cell{Text: s, Plain: s, Right: true}
}

// Float is a cell of a measured value.
func Float(n Number) Cell {
	plain := ""
	if n.Finite() {
		plain = strconv.FormatFloat(float64(n), 'g', -1, 64)
	}
	return Cell{Text: n.String(), Plain: plain, Right: true}
}

// Rounded is a cell of a measured value whose digits for people a format says.
func Rounded(n Number, format string) Cell {
	c := Float(n)
	if n.Finite() {
		c.Text = fmt.Sprintf(format, float64(n))
	}
	return c
}

// Count is a cell of a large number, such as parameters.
func Count(n int64) Cell {
	return Cell{Text: FormatCount(n), Plain: strconv.FormatInt(n, 10), Right: true}
}

// Bytes is a cell of a size.
func Bytes(n int64) Cell {
	return Cell{Text: FormatBytes(n), Plain: strconv.FormatInt(n, 10), Right: true}
}

// Layers is a cell of a list of layers.
func Layers(layers []int) Cell { s := FormatLayers(layers); return Cell{Text: s, Plain: s} }

// FormatCount shortens a number: 1.24 B, 26.7 M, 3.10 K.
func FormatCount(n int64) string {
	return scaled(float64(n), 1000, []string{"", " K", " M", " B", " T"})
}

// FormatBytes shortens a size in powers of 1024.
func FormatBytes(n int64) string {
	return scaled(float64(n), 1024, []string{" B", " KiB", " MiB", " GiB", " TiB"})
}

// Plural counts a noun: 1 layer, 2 layers.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func scaled(v, base float64, units []string) string {
	i := 0
	for ; v >= base && i < len(units)-1; i++ {
		v /= base
	}
	if i == 0 {
		return fmt.Sprintf("%.0f%s", v, units[i])
	}
	// 999.9 would round to four digits: the next unit says it in three.
	if v >= base-.5 && i < len(units)-1 {
		v, i = v/base, i+1
	}
	if v >= 1000 {
		return fmt.Sprintf("%.0f%s", v, units[i])
	}
	return fmt.Sprintf("%.3g%s", v, units[i])
}

// FormatLayers writes a list of layers the way flags take it: 0-3,7.
func FormatLayers(layers []int) string { return layerlist.Format(layers) }
