package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/report"
)

// Table is one that every form of a report can write: text, not markup.
type Table struct {
	Caption string
	Note    string // what marks mean
	Columns []Column
	Rows    [][]Cell
	Filter  bool // there may be many rows
}

// Column is a table's.
type Column struct {
	Name   string
	Number bool // aligned at the right, sorted by value
	Rule   bool // a line stands before it
}

// Cell is a value as people read it.
type Cell struct {
	Text  string
	Sort  float64 // NaN: by text
	Bold  bool    // the best, or not to be told apart from it
	Weak  bool    // at chance, or missing
	Title string  // shown under the pointer
	First bool    // of a row that begins a group
}

// SortKey is what the page sorts a cell by.
func (c Cell) SortKey() string {
	if math.IsNaN(c.Sort) {
		return ""
	}
	return strconv.FormatFloat(c.Sort, 'g', -1, 64)
}

func text(s string) Cell { return Cell{Text: s, Sort: math.NaN()} }

func missing() Cell { return Cell{Text: "–", Sort: math.Inf(-1), Weak: true} }

func number(v report.Number, format string) Cell {
	if !v.Finite() {
		return Cell{Text: "NaN", Sort: math.Inf(-1), Weak: true, Title: "not a number"}
	}
	return Cell{Text: fmt.Sprintf(format, float64(v)), Sort: float64(v)}
}

// share writes a value between 0 and 1 without the zero before the point.
func share(v report.Number, digits int) string {
	if !v.Finite() {
		return "NaN"
	}
	s := strconv.FormatFloat(math.Abs(float64(v)), 'f', digits, 64)
	s = strings.TrimPrefix(s, "0")
	if strings.HasPrefix(s, ".") && strings.Trim(s, ".0") == "" {
		s = "." + strings.Repeat("0", digits)
	} else if v < 0 {
		s = "−" + s
	}
	return s
}

// points writes a difference of shares in percentage points.
func points(v report.Number) string {
	if !v.Finite() {
		return "NaN"
	}
	s := strconv.FormatFloat(math.Abs(float64(v))*100, 'f', 1, 64)
	switch {
	case s == "0.0":
		return "±0.0"
	case v < 0:
		return "−" + s
	}
	return "+" + s
}

func percent(v float64) string {
	return strings.Replace(fmt.Sprintf("%.0f\u00a0%%", v*100), "-", "−", 1)
}

// duration writes seconds as people say them.
func duration(seconds float64) string {
	s := int64(math.Round(seconds))
	switch {
	case seconds < 9.95:
		return fmt.Sprintf("%.1f s", seconds)
	case s < 100:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	case s < 48*3600:
		return fmt.Sprintf("%d h %02d min", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d days %d h", s/86400, s%86400/3600)
}

// rate writes tokens a second.
func rate(v report.Number) string {
	switch {
	case !v.Finite():
		return "–"
	case v >= 1000:
		return thousands(int64(math.Round(float64(v))))
	case v >= 100:
		return fmt.Sprintf("%.0f", float64(v))
	}
	return fmt.Sprintf("%.3g", float64(v))
}

// thousands writes a number with its digits in groups.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plain is a text on one line, without characters that no one sees.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
