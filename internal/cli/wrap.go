package cli

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// defaultColumns is the width of what is printed where no terminal says another.
const defaultColumns = 80

// columns is how wide lines may be.
func (a *app) columns() int { return columnsOf(a.sys.Out) }

func columnsOf(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n >= 40 {
			return n
		}
	}
	return defaultColumns
}

// wrap breaks a line between words, so that none is wider than the columns unless a
// word is; lines after the first begin with the indent.
func wrap(text string, columns int, indent string) string {
	var b strings.Builder
	width := 0
	for i, word := range strings.Split(text, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case width+1+n > columns:
			b.WriteString("\n" + indent)
			width = utf8.RuneCountInString(indent)
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width += n
	}
	return b.String()
}
