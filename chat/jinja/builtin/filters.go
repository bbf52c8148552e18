package builtin

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

// Filter is a filter; the value is the first of the plain arguments.
type Filter func(r *py.Env, a py.Args) (any, error)

// FilterNamed finds a filter. Those that make HTML or draw at random are left out.
func FilterNamed(name string) (Filter, bool) {
	if f, ok := textFilter(name); ok {
		return f, true
	}
	if f, ok := listFilter(name); ok {
		return f, true
	}
	switch name {
	case "tojson":
		return filterToJSON, true
	case "default", "d":
		return filterDefault, true
	case "length", "count":
		return func(_ *py.Env, a py.Args) (any, error) {
			n, err := py.Length(a.Plain[0])
			return int64(n), err
		}, true
	case "abs":
		return filterAbs, true
	case "int":
		return filterInt, true
	case "float":
		return filterFloat, true
	case "round":
		return filterRound, true
	case "attr":
		return filterAttr, true
	case "safe":
		return func(_ *py.Env, a py.Args) (any, error) { return a.Plain[0], nil }, true
	}
	return nil, false
}

// textFilter are the filters that work on str(value).
func textFilter(name string) (Filter, bool) {
	var f func(r *py.Env, text string, a py.Args) (any, error)
	switch name {
	case "string":
		f = func(_ *py.Env, text string, _ py.Args) (any, error) { return text, nil }
	case "upper", "lower", "capitalize":
		f = recase(name)
	case "title":
		f = func(r *py.Env, text string, _ py.Args) (any, error) { return titleFilter(text), r.Make(len(text)) }
	case "trim":
		f = strip("strip")
	case "replace":
		f = replaceFilter
	case "indent":
		f = indent
	case "center":
		f = func(r *py.Env, text string, a py.Args) (any, error) {
			v, err := a.Bind(name, "width")
			if err != nil {
				return nil, err
			}
			return pad("center")(r, text, py.Args{Plain: []any{py.Given(v[0], int64(80))}})
		}
	case "escape", "e", "forceescape":
		f = func(r *py.Env, text string, _ py.Args) (any, error) {
			if err := r.Make(5 * len(text)); err != nil {
				return nil, err
			}
			return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(text), nil
		}
	case "wordcount":
		f = func(_ *py.Env, text string, _ py.Args) (any, error) {
			return int64(len(strings.FieldsFunc(text, func(c rune) bool { return !isWord(c) }))), nil
		}
	case "format":
		f = func(r *py.Env, text string, a py.Args) (any, error) {
			return r.Percent(text, &py.List{Items: a.Plain, Tuple: true})
		}
	default:
		return nil, false
	}
	return func(r *py.Env, a py.Args) (any, error) {
		text, err := r.Str(a.Plain[0])
		if err != nil {
			return nil, err
		}
		if err := r.Step(len(text) / 16); err != nil {
			return nil, err
		}
		a.Plain = a.Plain[1:]
		return f(r, text, a)
	}, true
}

func replaceFilter(r *py.Env, text string, a py.Args) (any, error) {
	v, err := a.Bind("replace", "old", "new", "count")
	if err != nil {
		return nil, err
	}
	old, err := r.Str(v[0])
	if err != nil {
		return nil, err
	}
	with, err := r.Str(v[1])
	if err != nil {
		return nil, err
	}
	most := int64(-1)
	if n, ok := py.Integer(py.Given(v[2], nil)); ok {
		most = n
	}
	return replace(r, text, old, with, int(most))
}

func indent(r *py.Env, text string, a py.Args) (any, error) {
	v, err := a.Bind("indent", "width", "first", "blank")
	if err != nil {
		return nil, err
	}
	by, ok := py.Given(v[0], int64(4)).(string)
	if !ok {
		n, ok := py.Integer(py.Given(v[0], int64(4)))
		if !ok || n > 1000 {
			return nil, fmt.Errorf("indent: a width of type %s, or above 1000", py.TypeName(v[0]))
		}
		by = strings.Repeat(" ", int(max(n, 0)))
	}
	if err := r.Make(24 * strings.Count(text, "\n")); err != nil {
		return nil, err
	}
	lines := splitLines(text + "\n")
	if len(lines) > r.Bytes/(len(by)+1) {
		return nil, r.Make(math.MaxInt)
	}
	if err := r.Make(len(text) + len(lines)*(len(by)+1)); err != nil {
		return nil, err
	}
	blank, first := py.Truth(py.Given(v[2], false)), py.Truth(py.Given(v[1], false))
	for i, line := range lines {
		if i == 0 && first || i > 0 && (line != "" || blank) {
			lines[i] = by + line
		}
	}
	return strings.Join(lines, "\n"), nil
}

func filterDefault(_ *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("default", "value", "default_value", "boolean")
	if err != nil {
		return nil, err
	}
	_, missing := v[0].(*py.Undefined)
	if missing || py.Truth(py.Given(v[2], false)) && !py.Truth(v[0]) {
		return py.Given(v[1], ""), nil
	}
	return v[0], nil
}

func filterAbs(_ *py.Env, a py.Args) (any, error) {
	if n, ok := py.Integer(a.Plain[0]); ok {
		return max(n, -n), nil
	}
	f, ok := py.Number(a.Plain[0])
	if !ok {
		return nil, fmt.Errorf("bad operand type for abs(): '%s'", py.TypeName(a.Plain[0]))
	}
	return math.Abs(f), nil
}

func filterInt(_ *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("int", "value", "default", "base")
	if err != nil {
		return nil, err
	}
	if n, ok := py.Integer(v[0]); ok {
		return n, nil
	}
	base, _ := py.Integer(py.Given(v[2], int64(10)))
	f, isFloat := v[0].(float64)
	if s, ok := v[0].(string); ok {
		s = strings.TrimFunc(s, py.IsSpace)
		if base == 0 || base >= 2 && base <= 36 {
			if n, err := strconv.ParseInt(s, int(base), 64); err == nil {
				return n, nil
			}
		}
		f, err = strconv.ParseFloat(s, 64)
		isFloat = err == nil
	}
	if !isFloat || math.IsNaN(f) || math.Abs(f) >= 1<<63 {
		return py.Given(v[1], int64(0)), nil
	}
	return int64(f), nil
}

func filterFloat(_ *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("float", "value", "default")
	if err != nil {
		return nil, err
	}
	if f, ok := py.Number(v[0]); ok {
		return f, nil
	}
	if s, ok := v[0].(string); ok {
		if f, err := strconv.ParseFloat(strings.TrimFunc(s, py.IsSpace), 64); err == nil {
			return f, nil
		}
	}
	return py.Given(v[1], 0.0), nil
}

func filterRound(_ *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("round", "value", "precision", "method")
	if err != nil {
		return nil, err
	}
	f, ok := py.Number(v[0])
	digits, okDigits := py.Integer(py.Given(v[1], int64(0)))
	if !ok || !okDigits || digits > 300 || digits < -300 {
		return nil, fmt.Errorf("round: not for '%s'", py.TypeName(v[0]))
	}
	scale := math.Pow(10, float64(digits))
	switch py.Given(v[2], "common") {
	case "ceil":
		return math.Ceil(f*scale) / scale, nil
	case "floor":
		return math.Floor(f*scale) / scale, nil
	case "common":
	default:
		return nil, fmt.Errorf("method must be common, ceil or floor")
	}
	if n, isInt := v[0].(int64); isInt && digits >= 0 {
		return n, nil
	}
	if digits < 0 {
		return math.RoundToEven(f*scale) / scale, nil
	}
	return strconv.ParseFloat(fmt.Sprintf("%.*f", digits, f), 64) // exact halves go to even, as Python's round
}

func filterAttr(r *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("attr", "value", "name")
	if err != nil {
		return nil, err
	}
	name, _ := py.Given(v[1], "").(string)
	if m, ok := Member(r, v[0], name); ok {
		return m, nil
	}
	return Missing(v[0], name), nil
}

// own makes a filter of a caller's function.
func ownFilter(f func(text string, args []string) (string, error)) Filter {
	return func(r *py.Env, a py.Args) (any, error) {
		texts := make([]string, len(a.Plain))
		for i, v := range a.Plain {
			var err error
			if texts[i], err = r.Str(v); err != nil {
				return nil, err
			}
		}
		if len(a.Named) > 0 {
			return nil, fmt.Errorf("arguments by name are not taken here")
		}
		out, err := f(texts[0], texts[1:])
		if err != nil {
			return nil, err
		}
		return out, r.Make(len(out))
	}
}
