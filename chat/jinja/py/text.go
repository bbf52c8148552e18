package py

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// RuneCount is the length of a string in code points, as Python counts.
func RuneCount(s string) int { return utf8.RuneCountInString(s) }

func compareNumbers(a, b float64) int { return cmp.Compare(a, b) }

// compareStrings orders by code point, which UTF-8 keeps.
func compareStrings(a, b string) int { return strings.Compare(a, b) }

// Str is Python's str(v), what {{ }} writes.
func (r *Env) Str(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case *Undefined:
		if r.Strict {
			return "", v.Err()
		}
		return "", nil
	}
	w := &writer{r: r}
	if err := w.repr(v); err != nil {
		return "", err
	}
	return w.String(), nil
}

// writer writes values within the limits of a run.
type writer struct {
	strings.Builder
	r     *Env
	depth int
}

func (w *writer) put(text string) error {
	w.WriteString(text)
	return w.r.Make(len(text))
}

func (w *writer) nest() error {
	if w.depth++; w.depth > maxDepth {
		return fmt.Errorf("%w: a value nested more than %d deep", ErrLimit, maxDepth)
	}
	return w.r.Step(1)
}

// repr writes Python's repr(v).
func (w *writer) repr(v any) error {
	switch v := v.(type) {
	case nil:
		return w.put("None")
	case bool:
		if v {
			return w.put("True")
		}
		return w.put("False")
	case int64:
		return w.put(strconv.FormatInt(v, 10))
	case float64:
		return w.put(floatText(v))
	case string:
		return w.put(quote(v))
	case *Undefined:
		return w.put("Undefined")
	case *List:
		return w.list(v)
	case *Dict:
		return w.dict(v)
	case *Namespace:
		return w.put("<Namespace>")
	case *Function:
		return w.put("<function " + v.Name + ">")
	}
	return w.put("<loop>")
}

func (w *writer) list(l *List) error {
	open, closing := "[", "]"
	if l.Tuple {
		open, closing = "(", ")"
		if len(l.Items) == 1 {
			closing = ",)"
		}
	}
	return w.block(open, closing, ", ", len(l.Items), nil, func(i int) error { return w.repr(l.Items[i]) })
}

func (w *writer) dict(d *Dict) error {
	return w.block("{", "}", ", ", len(d.Keys), nil, func(i int) error {
		if err := w.repr(d.Keys[i]); err != nil {
			return err
		}
		w.WriteString(": ")
		return w.repr(d.Values[i])
	})
}

// block writes what is between brackets, one level deeper. line, which may be nil,
// begins a line before each part and before the closing bracket.
func (w *writer) block(open, closing, comma string, n int, line func() error, each func(i int) error) error {
	if err := w.nest(); err != nil {
		return err
	}
	if err := w.put(open); err != nil {
		return err
	}
	if line == nil {
		line = func() error { return nil }
	}
	for i := range n {
		if i > 0 {
			w.WriteString(comma)
		}
		if err := line(); err != nil {
			return err
		}
		if err := each(i); err != nil {
			return err
		}
	}
	w.depth--
	if err := line(); err != nil {
		return err
	}
	return w.put(closing)
}

// floatText is Python's repr of a float: the shortest digits that read back, with a point or an exponent.
func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	text := strconv.FormatFloat(f, 'e', -1, 64)
	exponent, _ := strconv.Atoi(text[strings.IndexByte(text, 'e')+1:])
	if exponent < -4 || exponent >= 16 {
		return text
	}
	text = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// quote is Python's repr of a string.
func quote(s string) string {
	q := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	var out strings.Builder
	out.WriteRune(q)
	for _, c := range s {
		switch {
		case c == q || c == '\\':
			out.WriteRune('\\')
			out.WriteRune(c)
		case c == '\n':
			out.WriteString(`\n`)
		case c == '\r':
			out.WriteString(`\r`)
		case c == '\t':
			out.WriteString(`\t`)
		case c == ' ' || unicode.IsPrint(c):
			out.WriteRune(c)
		case c < 0x100:
			fmt.Fprintf(&out, `\x%02x`, c)
		case c < 0x10000:
			fmt.Fprintf(&out, `\u%04x`, c)
		default:
			fmt.Fprintf(&out, `\U%08x`, c)
		}
	}
	out.WriteRune(q)
	return out.String()
}

// IsSpace is white space as Python's strip sees it.
func IsSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
