package py

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
	JSONForm
}

// JSONForm says how JSON is written.
type JSONForm struct {
	ASCII, Sorted bool
	Indent        string
	Pretty        bool // lines, indented
	Comma, Colon  string
}

// JSON is Python's json.dumps(v).
func (r *Env) JSON(v any, form JSONForm) (string, error) {
	w := &jsonWriter{writer{r: r}, form}
	if err := w.json(v); err != nil {
		return "", err
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
	case *List:
		return w.block("[", "]", len(v.Items), func(i int) error { return w.json(v.Items[i]) })
	case *Dict:
		return w.object(v)
	}
	return fmt.Errorf("Object of type %s is not JSON serializable", TypeName(v))
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
	keys := make([]string, len(d.Keys))
	order := make([]int, len(d.Keys))
	for i, key := range d.Keys {
		order[i] = i
		switch key := key.(type) {
		case string:
			keys[i] = key
		case nil:
			keys[i] = "null"
		case bool:
			keys[i] = strconv.FormatBool(key)
		default:
			text, err := w.r.Str(key)
			if err != nil {
				return err
			}
			keys[i] = text
		}
	}
	if w.Sorted {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(keys[a], keys[b]) })
	}
	return w.block("{", "}", len(order), func(i int) error {
		if err := w.text(keys[order[i]]); err != nil {
			return err
		}
		if err := w.put(w.Colon); err != nil {
			return err
		}
		return w.json(d.Values[order[i]])
	})
}

// block writes what is between brackets, on lines of its own with an indent.
func (w *jsonWriter) block(open, closing string, n int, each func(i int) error) error {
	if n == 0 {
		return w.put(open + closing)
	}
	return w.writer.block(open, closing, w.Comma, n, w.newline, each)
}

func (w *jsonWriter) newline() error {
	if !w.Pretty {
		return nil
	}
	if err := w.put("\n"); err != nil {
		return err
	}
	for range w.depth {
		if err := w.put(w.Indent); err != nil {
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
		case c < ' ' || w.ASCII && c > 0x7e:
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
