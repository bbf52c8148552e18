package jinja

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// jsonWriter writes JSON as Python's json.dumps does.
type jsonWriter struct {
	writer
	ascii  bool
	sorted bool
	indent string
	pretty bool
	comma  string
	colon  string
}

// filterToJSON is transformers' tojson: nothing is escaped for HTML, and characters stay as they are.
func filterToJSON(r *run, a args) (any, error) {
	v, err := a.bind("tojson", "value", "ensure_ascii", "indent", "separators", "sort_keys")
	if err != nil {
		return nil, err
	}
	w := &jsonWriter{writer: writer{r: r}, ascii: truth(given(v[1], false)), sorted: truth(given(v[4], false)), comma: ", ", colon: ": "}
	switch indent := given(v[2], nil).(type) {
	case nil:
	case string:
		w.indent, w.pretty = indent, true
	default:
		n, ok := integer(indent)
		if !ok || n > 100 {
			return nil, errorf("tojson: an indent of type %s, or above 100", typeName(indent))
		}
		w.indent, w.pretty = strings.Repeat(" ", int(max(n, 0))), true
	}
	if w.pretty {
		w.comma = ","
	}
	if l, ok := given(v[3], nil).(*list); ok && len(l.items) == 2 {
		comma, okComma := l.items[0].(string)
		colon, okColon := l.items[1].(string)
		if !okComma || !okColon {
			return nil, errorf("tojson: separators are two strings")
		}
		w.comma, w.colon = comma, colon
	}
	if err := w.json(v[0]); err != nil {
		return nil, err
	}
	return w.String(), nil
}

func (w *jsonWriter) json(v any) error {
	switch v := v.(type) {
	case nil:
		return w.put("null")
	case bool:
		return w.put(strconv.FormatBool(v))
	case int64:
		return w.put(strconv.FormatInt(v, 10))
	case float64:
		return w.put(jsonFloat(v))
	case string:
		return w.text(v)
	case *list:
		return w.block("[", "]", len(v.items), func(i int) error { return w.json(v.items[i]) })
	case *Dict:
		return w.object(v)
	}
	return errorf("Object of type %s is not JSON serializable", typeName(v))
}

func jsonFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case math.IsNaN(f):
		return "NaN"
	}
	return floatText(f)
}

func (w *jsonWriter) object(d *Dict) error {
	keys := make([]string, len(d.keys))
	order := make([]int, len(d.keys))
	for i, key := range d.keys {
		order[i] = i
		switch key := key.(type) {
		case string:
			keys[i] = key
		case nil:
			keys[i] = "null"
		case bool:
			keys[i] = strconv.FormatBool(key)
		default:
			text, err := w.r.str(key)
			if err != nil {
				return err
			}
			keys[i] = text
		}
	}
	if w.sorted {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(keys[a], keys[b]) })
	}
	return w.block("{", "}", len(order), func(i int) error {
		if err := w.text(keys[order[i]]); err != nil {
			return err
		}
		if err := w.put(w.colon); err != nil {
			return err
		}
		return w.json(d.values[order[i]])
	})
}

// block writes what is between brackets, on lines of its own with an indent.
func (w *jsonWriter) block(open, closing string, n int, each func(i int) error) error {
	if n == 0 {
		return w.put(open + closing)
	}
	if err := w.nest(); err != nil {
		return err
	}
	if err := w.put(open); err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			w.WriteString(w.comma)
		}
		if err := w.newline(w.depth); err != nil {
			return err
		}
		if err := each(i); err != nil {
			return err
		}
	}
	w.depth--
	if err := w.newline(w.depth); err != nil {
		return err
	}
	return w.put(closing)
}

func (w *jsonWriter) newline(depth int) error {
	if !w.pretty {
		return nil
	}
	if err := w.put("\n"); err != nil {
		return err
	}
	for range depth {
		if err := w.put(w.indent); err != nil {
			return err
		}
	}
	return nil
}

func (w *jsonWriter) text(s string) error {
	var out strings.Builder
	out.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			out.WriteByte('\\')
			out.WriteRune(c)
		case c == '\n':
			out.WriteString(`\n`)
		case c == '\r':
			out.WriteString(`\r`)
		case c == '\t':
			out.WriteString(`\t`)
		case c == '\b':
			out.WriteString(`\b`)
		case c == '\f':
			out.WriteString(`\f`)
		case c < ' ' || w.ascii && c > 0x7e:
			for _, unit := range utf16.Encode([]rune{c}) {
				fmt.Fprintf(&out, `\u%04x`, unit)
			}
		default:
			out.WriteRune(c)
		}
	}
	out.WriteByte('"')
	return w.put(out.String())
}
