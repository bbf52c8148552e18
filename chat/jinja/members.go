package jinja

import (
	"slices"
	"strings"
)

// member is an attribute of a value that is none of its items. What would change a value is not there, as in
// transformers' sandbox, and neither is what begins with an underscore.
func (r *run) member(v any, name string) (any, bool) {
	switch v := v.(type) {
	case string:
		m, ok := stringMethod(name)
		if !ok {
			return nil, false
		}
		return &function{name, func(r *run, a args) (any, error) {
			if err := r.step(len(v) / 16); err != nil {
				return nil, err
			}
			return m(r, v, a)
		}}, true
	case *Dict:
		return dictMember(v, name)
	case *list:
		return listMember(v, name)
	case *namespace:
		value, ok := v.vars[name]
		return value, ok
	case *loopState:
		return v.attribute(name)
	}
	return nil, false
}

func dictMember(d *Dict, name string) (any, bool) {
	var f func(r *run, a args) (any, error)
	switch name {
	case "get":
		f = func(_ *run, a args) (any, error) {
			v, err := a.bind("get", "key", "default")
			if err != nil {
				return nil, err
			}
			if value, ok := d.get(v[0]); ok {
				return value, nil
			}
			return given(v[1], nil), nil
		}
	case "items":
		f = func(r *run, _ args) (any, error) { return r.pairs(d) }
	case "keys":
		f = func(r *run, _ args) (any, error) {
			return &list{items: slices.Clone(d.keys)}, r.make(16 * len(d.keys))
		}
	case "values":
		f = func(r *run, _ args) (any, error) {
			return &list{items: slices.Clone(d.values)}, r.make(16 * len(d.values))
		}
	default:
		return nil, false
	}
	return &function{name, f}, true
}

// pairs lists the items of a mapping.
func (r *run) pairs(d *Dict) (any, error) {
	out := &list{items: make([]any, len(d.keys))}
	for i, key := range d.keys {
		out.items[i] = &list{[]any{key, d.values[i]}, true}
	}
	return out, r.make(64 * len(d.keys))
}

func listMember(l *list, name string) (any, bool) {
	switch name {
	case "count", "index":
		return &function{name, func(r *run, a args) (any, error) {
			v, err := a.bind(name, "value")
			if err != nil {
				return nil, err
			}
			n := int64(0)
			for i, item := range l.items {
				same, err := r.equal(item, v[0])
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
				return nil, errorf("the value is not in the list")
			}
			return n, nil
		}}, true
	}
	return nil, false
}

// method is a method of strings.
type method func(r *run, s string, a args) (any, error)

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
		return func(_ *run, s string, _ args) (any, error) { return is(s), nil }, true
	}
	return nil, false
}

// texts binds arguments that are strings; a nil or absent one is fallback.
func (a args) texts(function, fallback string, names ...string) ([]string, error) {
	v, err := a.bind(function, names...)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(v))
	for i := range v {
		switch s := given(v[i], nil).(type) {
		case nil:
			out[i] = fallback
		case string:
			out[i] = s
		default:
			return nil, errorf("%s: %s must be str, not %s", function, names[i], typeName(s))
		}
	}
	return out, nil
}

func strip(name string) method {
	return func(_ *run, s string, a args) (any, error) {
		v, err := a.bind(name, "chars")
		if err != nil {
			return nil, err
		}
		in := isSpace
		if chars, ok := given(v[0], nil).(string); ok {
			in = func(c rune) bool { return strings.ContainsRune(chars, c) }
		} else if given(v[0], nil) != nil {
			return nil, errorf("%s arg must be None or str", name)
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
	return func(_ *run, s string, a args) (any, error) {
		v, err := a.bind(name, "affix")
		if err != nil {
			return nil, err
		}
		options := []any{v[0]}
		if l, ok := v[0].(*list); ok && l.tuple {
			options = l.items
		}
		for _, option := range options {
			text, ok := option.(string)
			if !ok {
				return nil, errorf("%s first arg must be str or a tuple of str, not %s", name, typeName(option))
			}
			if has(s, text) {
				return true, nil
			}
		}
		return false, nil
	}
}

func remove(name string) method {
	return func(_ *run, s string, a args) (any, error) {
		v, err := a.texts(name, "", "affix")
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
	return func(r *run, s string, _ args) (any, error) {
		if err := r.make(2 * len(s)); err != nil {
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
func (r *run) stringList(parts []string) (any, error) {
	out := &list{items: make([]any, len(parts))}
	size := 0
	for i, part := range parts {
		out.items[i] = part
		size += 32 + len(part)
	}
	return out, r.make(size)
}

func splitting(name string) (method, bool) {
	return func(r *run, s string, a args) (any, error) {
		if err := r.make(8 * len(s)); err != nil { // one string a character at most
			return nil, err
		}
		switch name {
		case "splitlines":
			return r.stringList(splitLines(s))
		case "partition", "rpartition":
			v, err := a.texts(name, "", "sep")
			if err != nil || v[0] == "" {
				return nil, orError(err, "empty separator")
			}
			return partition(name, s, v[0]), nil
		}
		v, err := a.bind(name, "sep", "maxsplit")
		if err != nil {
			return nil, err
		}
		most, ok := integer(given(v[1], int64(-1)))
		if !ok {
			return nil, errorf("%s: maxsplit must be an integer", name)
		}
		switch sep := given(v[0], nil).(type) {
		case nil:
			return r.stringList(splitSpace(s, int(most), name == "rsplit"))
		case string:
			if sep == "" {
				return nil, errorf("empty separator")
			}
			return r.stringList(splitBy(s, sep, int(most), name == "rsplit"))
		}
		return nil, errorf("%s: must be str or None, not %s", name, typeName(v[0]))
	}, true
}

// orError is err, or a new one where that is nil.
func orError(err error, text string) error {
	if err != nil {
		return err
	}
	return errorf("%s", text)
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
	return &list{parts, true}
}

func search(name string) method {
	return func(r *run, s string, a args) (any, error) {
		v, err := a.texts(name, "", "sub")
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
				return nil, errorf("substring not found")
			}
			return int64(-1), nil
		}
		return int64(runeCount(s[:at])), nil
	}
}

func replaceMethod(r *run, s string, a args) (any, error) {
	v, err := a.bind("replace", "old", "new", "count")
	if err != nil {
		return nil, err
	}
	old, ok1 := v[0].(string)
	with, ok2 := v[1].(string)
	most, ok3 := integer(given(v[2], int64(-1)))
	if !ok1 || !ok2 || !ok3 {
		return nil, errorf("replace() takes two strings and a count")
	}
	return r.replace(s, old, with, int(most))
}

func (r *run) replace(s, old, with string, most int) (any, error) {
	n := strings.Count(s, old)
	if most >= 0 {
		n = min(n, most)
	}
	if grown := len(with) - len(old); grown > 0 && n > r.bytes/grown {
		return nil, r.make(r.bytes + 1)
	}
	if err := r.make(len(s) + n*max(0, len(with)-len(old))); err != nil {
		return nil, err
	}
	return strings.Replace(s, old, with, most), nil
}

func joinMethod(r *run, s string, a args) (any, error) {
	v, err := a.bind("join", "iterable")
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(v[0])
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i, item := range items {
		text, ok := item.(string)
		if !ok {
			return nil, errorf("sequence item %d: expected str instance, %s found", i, typeName(item))
		}
		parts[i] = text
	}
	return r.join(parts, s)
}

func (r *run) join(parts []string, sep string) (any, error) {
	for _, part := range parts {
		if err := r.make(len(part) + len(sep)); err != nil {
			return nil, err
		}
	}
	return strings.Join(parts, sep), nil
}

func pad(name string) method {
	return func(r *run, s string, a args) (any, error) {
		v, err := a.bind(name, "width", "fillchar")
		if err != nil {
			return nil, err
		}
		width, ok := integer(v[0])
		fill, filled := given(v[1], " ").(string)
		if !ok || !filled || runeCount(fill) != 1 {
			return nil, errorf("%s() takes a width and one character", name)
		}
		missing := width - int64(runeCount(s))
		if missing <= 0 {
			return s, nil
		}
		if missing > int64(r.bytes) {
			return nil, r.make(r.bytes + 1)
		}
		if err := r.make(len(s) + len(fill)*int(missing)); err != nil {
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
