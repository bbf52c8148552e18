package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// filter is a filter; the value is the first of the plain arguments.
type filter func(r *run, a args) (any, error)

// filterNamed finds a filter. Those that make HTML or draw at random are left out.
func filterNamed(name string) (filter, bool) {
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
		return func(_ *run, a args) (any, error) {
			n, err := length(a.plain[0])
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
		return func(_ *run, a args) (any, error) { return a.plain[0], nil }, true
	}
	return nil, false
}

// textFilter are the filters that work on str(value).
func textFilter(name string) (filter, bool) {
	var f func(r *run, text string, a args) (any, error)
	switch name {
	case "string":
		f = func(_ *run, text string, _ args) (any, error) { return text, nil }
	case "upper", "lower", "capitalize":
		f = recase(name)
	case "title":
		f = func(r *run, text string, _ args) (any, error) { return titleFilter(text), r.make(len(text)) }
	case "trim":
		f = strip("strip")
	case "replace":
		f = replaceFilter
	case "indent":
		f = indent
	case "center":
		f = func(r *run, text string, a args) (any, error) {
			v, err := a.bind(name, "width")
			if err != nil {
				return nil, err
			}
			return pad("center")(r, text, args{plain: []any{given(v[0], int64(80))}})
		}
	case "escape", "e", "forceescape":
		f = func(r *run, text string, _ args) (any, error) {
			if err := r.make(5 * len(text)); err != nil {
				return nil, err
			}
			return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(text), nil
		}
	case "wordcount":
		f = func(_ *run, text string, _ args) (any, error) {
			return int64(len(strings.FieldsFunc(text, func(c rune) bool { return !isWord(c) }))), nil
		}
	case "format":
		f = func(r *run, text string, a args) (any, error) { return r.percent(text, &list{a.plain, true}) }
	default:
		return nil, false
	}
	return func(r *run, a args) (any, error) {
		text, err := r.str(a.plain[0])
		if err != nil {
			return nil, err
		}
		if err := r.step(len(text) / 16); err != nil {
			return nil, err
		}
		a.plain = a.plain[1:]
		return f(r, text, a)
	}, true
}

func replaceFilter(r *run, text string, a args) (any, error) {
	v, err := a.bind("replace", "old", "new", "count")
	if err != nil {
		return nil, err
	}
	old, err := r.str(v[0])
	if err != nil {
		return nil, err
	}
	with, err := r.str(v[1])
	if err != nil {
		return nil, err
	}
	most := int64(-1)
	if n, ok := integer(given(v[2], nil)); ok {
		most = n
	}
	return r.replace(text, old, with, int(most))
}

func indent(r *run, text string, a args) (any, error) {
	v, err := a.bind("indent", "width", "first", "blank")
	if err != nil {
		return nil, err
	}
	by, ok := given(v[0], int64(4)).(string)
	if !ok {
		n, ok := integer(given(v[0], int64(4)))
		if !ok || n > 1000 {
			return nil, errorf("indent: a width of type %s, or above 1000", typeName(v[0]))
		}
		by = strings.Repeat(" ", int(max(n, 0)))
	}
	if err := r.make(24 * strings.Count(text, "\n")); err != nil {
		return nil, err
	}
	lines := splitLines(text + "\n")
	if len(lines) > r.bytes/(len(by)+1) {
		return nil, r.make(math.MaxInt)
	}
	if err := r.make(len(text) + len(lines)*(len(by)+1)); err != nil {
		return nil, err
	}
	blank, first := truth(given(v[2], false)), truth(given(v[1], false))
	for i, line := range lines {
		if i == 0 && first || i > 0 && (line != "" || blank) {
			lines[i] = by + line
		}
	}
	return strings.Join(lines, "\n"), nil
}

func filterDefault(_ *run, a args) (any, error) {
	v, err := a.bind("default", "value", "default_value", "boolean")
	if err != nil {
		return nil, err
	}
	_, missing := v[0].(*undefined)
	if missing || truth(given(v[2], false)) && !truth(v[0]) {
		return given(v[1], ""), nil
	}
	return v[0], nil
}

func filterAbs(_ *run, a args) (any, error) {
	if n, ok := integer(a.plain[0]); ok {
		return max(n, -n), nil
	}
	f, ok := number(a.plain[0])
	if !ok {
		return nil, errorf("bad operand type for abs(): '%s'", typeName(a.plain[0]))
	}
	return math.Abs(f), nil
}

func filterInt(_ *run, a args) (any, error) {
	v, err := a.bind("int", "value", "default", "base")
	if err != nil {
		return nil, err
	}
	if n, ok := integer(v[0]); ok {
		return n, nil
	}
	base, _ := integer(given(v[2], int64(10)))
	f, isFloat := v[0].(float64)
	if s, ok := v[0].(string); ok {
		s = strings.TrimFunc(s, isSpace)
		if base == 0 || base >= 2 && base <= 36 {
			if n, err := strconv.ParseInt(s, int(base), 64); err == nil {
				return n, nil
			}
		}
		f, err = strconv.ParseFloat(s, 64)
		isFloat = err == nil
	}
	if !isFloat || math.IsNaN(f) || math.Abs(f) >= 1<<63 {
		return given(v[1], int64(0)), nil
	}
	return int64(f), nil
}

func filterFloat(_ *run, a args) (any, error) {
	v, err := a.bind("float", "value", "default")
	if err != nil {
		return nil, err
	}
	if f, ok := number(v[0]); ok {
		return f, nil
	}
	if s, ok := v[0].(string); ok {
		if f, err := strconv.ParseFloat(strings.TrimFunc(s, isSpace), 64); err == nil {
			return f, nil
		}
	}
	return given(v[1], 0.0), nil
}

func filterRound(_ *run, a args) (any, error) {
	v, err := a.bind("round", "value", "precision", "method")
	if err != nil {
		return nil, err
	}
	f, ok := number(v[0])
	digits, okDigits := integer(given(v[1], int64(0)))
	if !ok || !okDigits || digits > 300 || digits < -300 {
		return nil, errorf("round: not for '%s'", typeName(v[0]))
	}
	scale := math.Pow(10, float64(digits))
	switch given(v[2], "common") {
	case "ceil":
		return math.Ceil(f*scale) / scale, nil
	case "floor":
		return math.Floor(f*scale) / scale, nil
	case "common":
	default:
		return nil, errorf("method must be common, ceil or floor")
	}
	if n, isInt := v[0].(int64); isInt && digits >= 0 {
		return n, nil
	}
	if digits < 0 {
		return math.RoundToEven(f*scale) / scale, nil
	}
	return strconv.ParseFloat(fmt.Sprintf("%.*f", digits, f), 64) // exact halves go to even, as Python's round
}

func filterAttr(r *run, a args) (any, error) {
	v, err := a.bind("attr", "value", "name")
	if err != nil {
		return nil, err
	}
	name, _ := given(v[1], "").(string)
	if m, ok := r.member(v[0], name); ok {
		return m, nil
	}
	return missing(v[0], name), nil
}

// own makes a filter of a caller's function.
func (r *run) own(f func(text string, args []string) (string, error)) filter {
	return func(r *run, a args) (any, error) {
		texts := make([]string, len(a.plain))
		for i, v := range a.plain {
			var err error
			if texts[i], err = r.str(v); err != nil {
				return nil, err
			}
		}
		if len(a.named) > 0 {
			return nil, errorf("arguments by name are not taken here")
		}
		out, err := f(texts[0], texts[1:])
		if err != nil {
			return nil, err
		}
		return out, r.make(len(out))
	}
}
