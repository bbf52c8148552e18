package builtin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

// Member is an attribute of a value that is none of its items. What would change a value is not there, as in
// transformers' sandbox, and neither is what begins with an underscore.
func Member(r *py.Env, v any, name string) (any, bool) {
	switch v := v.(type) {
	case string:
		m, ok := stringMethod(name)
		if !ok {
			return nil, false
		}
		return &py.Function{Name: name, Call: func(r *py.Env, a py.Args) (any, error) {
			if err := r.Step(len(v) / 16); err != nil {
				return nil, err
			}
			return m(r, v, a)
		}}, true
	case *py.Dict:
		return dictMember(v, name)
	case *py.List:
		return listMember(v, name)
	case *py.Namespace:
		value, ok := v.Vars[name]
		return value, ok
	case py.Object:
		return v.Attribute(name)
	}
	return nil, false
}

func dictMember(d *py.Dict, name string) (any, bool) {
	var f func(r *py.Env, a py.Args) (any, error)
	switch name {
	case "get":
		f = func(_ *py.Env, a py.Args) (any, error) {
			v, err := a.Bind("get", "key", "default")
			if err != nil {
				return nil, err
			}
			if value, ok := d.Get(v[0]); ok {
				return value, nil
			}
			return py.Given(v[1], nil), nil
		}
	case "items":
		f = func(r *py.Env, _ py.Args) (any, error) { return pairs(r, d) }
	case "keys":
		f = func(r *py.Env, _ py.Args) (any, error) {
			return &py.List{Items: slices.Clone(d.Keys)}, r.Make(16 * len(d.Keys))
		}
	case "values":
		f = func(r *py.Env, _ py.Args) (any, error) {
			return &py.List{Items: slices.Clone(d.Values)}, r.Make(16 * len(d.Values))
		}
	default:
		return nil, false
	}
	return &py.Function{Name: name, Call: f}, true
}

// pairs lists the items of a mapping.
func pairs(r *py.Env, d *py.Dict) (any, error) {
	out := &py.List{Items: make([]any, len(d.Keys))}
	for i, key := range d.Keys {
		out.Items[i] = &py.List{Items: []any{key, d.Values[i]}, Tuple: true}
	}
	return out, r.Make(64 * len(d.Keys))
}

func listMember(l *py.List, name string) (any, bool) {
	switch name {
	case "count", "index":
		return &py.Function{Name: name, Call: func(r *py.Env, a py.Args) (any, error) {
			v, err := a.Bind(name, "value")
			if err != nil {
				return nil, err
			}
			n := int64(0)
			for i, item := range l.Items {
				same, err := r.Equal(item, v[0])
				if err != nil {
					return nil, err
				}
				if same && name == "index" {
					return int64(i), nil
				}
				if same {
					n++
				}
			}
			if name == "index" {
				return nil, fmt.Errorf("the value is not in the list")
			}
			return n, nil
		}}, true
	}
	return nil, false
}

// method is a method of strings.
type method func(r *py.Env, s string, a py.Args) (any, error)

// stringMethod finds a method by name.
func stringMethod(name string) (method, bool) {
	switch name {
	case "strip", "lstrip", "rstrip":
		return strip(name), true
	case "startswith", "endswith":
		return affix(name), true
	case "removeprefix", "removesuffix":
		return remove(name), true
	case "upper", "lower", "title", "capitalize", "swapcase", "casefold":
		return recase(name), true
	case "split", "rsplit", "splitlines", "partition", "rpartition":
		return splitting(name)
	case "find", "rfind", "index", "rindex", "count":
		return search(name), true
	case "replace":
		return replaceMethod, true
	case "join":
		return joinMethod, true
	case "format":
		return formatMethod, true
	case "center", "ljust", "rjust", "zfill":
		return pad(name), true
	}
	if is, ok := stringTest(name); ok {
		return func(_ *py.Env, s string, _ py.Args) (any, error) { return is(s), nil }, true
	}
	return nil, false
}

// texts binds arguments that are strings; a nil or absent one is fallback.
func texts(a py.Args, function, fallback string, names ...string) ([]string, error) {
	v, err := a.Bind(function, names...)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(v))
	for i := range v {
		switch s := py.Given(v[i], nil).(type) {
		case nil:
			out[i] = fallback
		case string:
			out[i] = s
		default:
			return nil, fmt.Errorf("%s: %s must be str, not %s", function, names[i], py.TypeName(s))
		}
	}
	return out, nil
}

func strip(name string) method {
	return func(_ *py.Env, s string, a py.Args) (any, error) {
		v, err := a.Bind(name, "chars")
		if err != nil {
			return nil, err
		}
		in := py.IsSpace
		if chars, ok := py.Given(v[0], nil).(string); ok {
			in = func(c rune) bool { return strings.ContainsRune(chars, c) }
		} else if py.Given(v[0], nil) != nil {
			return nil, fmt.Errorf("%s arg must be None or str", name)
		}
		if name != "rstrip" {
			s = strings.TrimLeftFunc(s, in)
		}
		if name != "lstrip" {
			s = strings.TrimRightFunc(s, in)
		}
		return s, nil
	}
}

func affix(name string) method {
	has := strings.HasPrefix
	if name == "endswith" {
		has = strings.HasSuffix
	}
	return func(_ *py.Env, s string, a py.Args) (any, error) {
		v, err := a.Bind(name, "affix")
		if err != nil {
			return nil, err
		}
		options := []any{v[0]}
		if l, ok := v[0].(*py.List); ok && l.Tuple {
			options = l.Items
		}
		for _, option := range options {
			text, ok := option.(string)
			if !ok {
				return nil, fmt.Errorf("%s first arg must be str or a tuple of str, not %s", name, py.TypeName(option))
			}
			if has(s, text) {
				return true, nil
			}
		}
		return false, nil
	}
}

func remove(name string) method {
	return func(_ *py.Env, s string, a py.Args) (any, error) {
		v, err := texts(a, name, "", "affix")
		if err != nil {
			return nil, err
		}
		if name == "removeprefix" {
			return strings.TrimPrefix(s, v[0]), nil
		}
		return strings.TrimSuffix(s, v[0]), nil
	}
}

func recase(name string) method {
	return func(r *py.Env, s string, _ py.Args) (any, error) {
		if err := r.Make(2 * len(s)); err != nil {
			return nil, err
		}
		switch name {
		case "upper":
			return upper(s), nil
		case "title":
			return title(s), nil
		case "capitalize":
			return capitalize(s), nil
		case "swapcase":
			return swapCase(s), nil
		}
		return lower(s), nil
	}
}

// stringList charges for the strings of a list and makes it.
func stringList(r *py.Env, parts []string) (any, error) {
	out := &py.List{Items: make([]any, len(parts))}
	size := 0
	for i, part := range parts {
		out.Items[i] = part
		size += 32 + len(part)
	}
	return out, r.Make(size)
}

func splitting(name string) (method, bool) {
	return func(r *py.Env, s string, a py.Args) (any, error) {
		if err := r.Make(8 * len(s)); err != nil { // one string a character at most
			return nil, err
		}
		switch name {
		case "splitlines":
			return stringList(r, splitLines(s))
		case "partition", "rpartition":
			v, err := texts(a, name, "", "sep")
			if err != nil || v[0] == "" {
				return nil, orError(err, "empty separator")
			}
			return partition(name, s, v[0]), nil
		}
		v, err := a.Bind(name, "sep", "maxsplit")
		if err != nil {
			return nil, err
		}
		most, ok := py.Integer(py.Given(v[1], int64(-1)))
		if !ok {
			return nil, fmt.Errorf("%s: maxsplit must be an integer", name)
		}
		switch sep := py.Given(v[0], nil).(type) {
		case nil:
			return stringList(r, splitSpace(s, int(most), name == "rsplit"))
		case string:
			if sep == "" {
				return nil, fmt.Errorf("empty separator")
			}
			return stringList(r, splitBy(s, sep, int(most), name == "rsplit"))
		}
		return nil, fmt.Errorf("%s: must be str or None, not %s", name, py.TypeName(v[0]))
	}, true
}

// orError is err, or a new one where that is nil.
func orError(err error, text string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s", text)
}

func partition(name, s, sep string) any {
	at := strings.Index(s, sep)
	if name == "rpartition" {
		at = strings.LastIndex(s, sep)
	}
	parts := []any{s, "", ""}
	switch {
	case at >= 0:
		parts = []any{s[:at], sep, s[at+len(sep):]}
	case name == "rpartition":
		parts = []any{"", "", s}
	}
	return &py.List{Items: parts, Tuple: true}
}

func search(name string) method {
	return func(r *py.Env, s string, a py.Args) (any, error) {
		v, err := texts(a, name, "", "sub")
		if err != nil {
			return nil, err
		}
		if name == "count" {
			return int64(strings.Count(s, v[0])), nil
		}
		at := strings.Index(s, v[0])
		if strings.HasPrefix(name, "r") {
			at = strings.LastIndex(s, v[0])
		}
		if at < 0 {
			if strings.HasSuffix(name, "index") {
				return nil, fmt.Errorf("substring not found")
			}
			return int64(-1), nil
		}
		return int64(py.RuneCount(s[:at])), nil
	}
}

func replaceMethod(r *py.Env, s string, a py.Args) (any, error) {
	v, err := a.Bind("replace", "old", "new", "count")
	if err != nil {
		return nil, err
	}
	old, ok1 := v[0].(string)
	with, ok2 := v[1].(string)
	most, ok3 := py.Integer(py.Given(v[2], int64(-1)))
	if !ok1 || !ok2 || !ok3 {
		return nil, fmt.Errorf("replace() takes two strings and a count")
	}
	return replace(r, s, old, with, int(most))
}

func replace(r *py.Env, s, old, with string, most int) (any, error) {
	n := strings.Count(s, old)
	if most >= 0 {
		n = min(n, most)
	}
	if grown := len(with) - len(old); grown > 0 && n > r.Bytes/grown {
		return nil, r.Make(r.Bytes + 1)
	}
	if err := r.Make(len(s) + n*max(0, len(with)-len(old))); err != nil {
		return nil, err
	}
	return strings.Replace(s, old, with, most), nil
}

func joinMethod(r *py.Env, s string, a py.Args) (any, error) {
	v, err := a.Bind("join", "iterable")
	if err != nil {
		return nil, err
	}
	items, err := r.Iterate(v[0])
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i, item := range items {
		text, ok := item.(string)
		if !ok {
			return nil, fmt.Errorf("sequence item %d: expected str instance, %s found", i, py.TypeName(item))
		}
		parts[i] = text
	}
	return join(r, parts, s)
}

func join(r *py.Env, parts []string, sep string) (any, error) {
	for _, part := range parts {
		if err := r.Make(len(part) + len(sep)); err != nil {
			return nil, err
		}
	}
	return strings.Join(parts, sep), nil
}

func pad(name string) method {
	return func(r *py.Env, s string, a py.Args) (any, error) {
		v, err := a.Bind(name, "width", "fillchar")
		if err != nil {
			return nil, err
		}
		width, ok := py.Integer(v[0])
		fill, filled := py.Given(v[1], " ").(string)
		if !ok || !filled || py.RuneCount(fill) != 1 {
			return nil, fmt.Errorf("%s() takes a width and one character", name)
		}
		missing := width - int64(py.RuneCount(s))
		if missing <= 0 {
			return s, nil
		}
		if missing > int64(r.Bytes) {
			return nil, r.Make(r.Bytes + 1)
		}
		if err := r.Make(len(s) + len(fill)*int(missing)); err != nil {
			return nil, err
		}
		return padded(name, s, fill, int(missing), int(width)), nil
	}
}

func padded(name, s, fill string, missing, width int) string {
	switch name {
	case "ljust":
		return s + strings.Repeat(fill, missing)
	case "rjust":
		return strings.Repeat(fill, missing) + s
	case "zfill":
		sign := ""
		if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
			sign, s = s[:1], s[1:]
		}
		return sign + strings.Repeat("0", missing) + s
	}
	left := missing/2 + missing&width&1
	return strings.Repeat(fill, left) + s + strings.Repeat(fill, missing-left)
}
