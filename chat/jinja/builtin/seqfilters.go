package builtin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

func isWord(c rune) bool { return c == '_' || unicode.IsLetter(c) || unicode.IsNumber(c) }

// listFilter are the filters on what can be iterated.
func listFilter(name string) (Filter, bool) {
	switch name {
	case "items":
		return filterItems, true
	case "join":
		return filterJoin, true
	case "list":
		return func(r *py.Env, a py.Args) (any, error) {
			items, err := r.Iterate(a.Plain[0])
			return &py.List{Items: slices.Clone(items)}, firstError(err, r.Make(16*len(items)))
		}, true
	case "first", "last":
		return firstOrLast(name), true
	case "reverse":
		return filterReverse, true
	case "map":
		return filterMap, true
	case "select", "reject", "selectattr", "rejectattr":
		return choose(name), true
	case "sort", "unique", "min", "max":
		return ordered(name), true
	case "sum":
		return filterSum, true
	case "dictsort":
		return filterDictSort, true
	case "batch":
		return filterBatch, true
	case "groupby":
		return filterGroupBy, true
	}
	return nil, false
}

// firstError is the first error there is.
func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func filterItems(r *py.Env, a py.Args) (any, error) {
	switch v := a.Plain[0].(type) {
	case *py.Undefined:
		return &py.List{}, nil
	case *py.Dict:
		return pairs(r, v)
	}
	return nil, fmt.Errorf("can only get item pairs from a mapping")
}

// path follows a dotted attribute, as attribute= means it.
func path(r *py.Env, v any, attribute any) (any, error) {
	if n, ok := py.Integer(attribute); ok {
		return ItemOf(r, v, n)
	}
	text, ok := attribute.(string)
	if !ok {
		return nil, fmt.Errorf("an attribute of type '%s'", py.TypeName(attribute))
	}
	for part := range strings.SplitSeq(text, ".") {
		var key any = part
		if n, err := strconv.ParseInt(part, 10, 64); err == nil {
			key = n
		}
		var err error
		if v, err = ItemOf(r, v, key); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func filterJoin(r *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("join", "value", "d", "attribute")
	if err != nil {
		return nil, err
	}
	items, err := r.Iterate(v[0])
	if err != nil {
		return nil, err
	}
	sep, err := r.Str(py.Given(v[1], ""))
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i, item := range items {
		if attribute := py.Given(v[2], nil); attribute != nil {
			if item, err = path(r, item, attribute); err != nil {
				return nil, err
			}
		}
		if parts[i], err = r.Str(item); err != nil {
			return nil, err
		}
	}
	return join(r, parts, sep)
}

func firstOrLast(name string) Filter {
	return func(r *py.Env, a py.Args) (any, error) {
		items, err := r.Iterate(a.Plain[0])
		switch {
		case err != nil:
			return nil, err
		case len(items) == 0:
			return &py.Undefined{Hint: "No " + name + " item, sequence was empty."}, nil
		case name == "first":
			return items[0], nil
		}
		return items[len(items)-1], nil
	}
}

func filterReverse(r *py.Env, a py.Args) (any, error) {
	items, err := r.Iterate(a.Plain[0])
	if err != nil {
		return nil, err
	}
	items = slices.Clone(items)
	slices.Reverse(items)
	if _, ok := a.Plain[0].(string); !ok {
		return &py.List{Items: items}, r.Make(16 * len(items))
	}
	var out strings.Builder
	for _, c := range items {
		out.WriteString(c.(string))
	}
	return out.String(), r.Make(out.Len())
}

func filterMap(r *py.Env, a py.Args) (any, error) {
	items, err := r.Iterate(a.Plain[0])
	if err != nil {
		return nil, err
	}
	var each func(item any) (any, error)
	if len(a.Plain) > 1 {
		name, _ := a.Plain[1].(string)
		rest := py.Args{Plain: slices.Clone(a.Plain[2:]), Named: a.Named}
		each = func(item any) (any, error) { return Apply(r, name, item, rest) }
	} else {
		v, err := py.Args{Named: a.Named}.Bind("map", "attribute", "default")
		if err != nil || v[0] == (py.Absent{}) {
			return nil, orError(err, "map requires a filter argument")
		}
		each = func(item any) (any, error) {
			got, err := path(r, item, v[0])
			if _, missing := got.(*py.Undefined); missing && err == nil {
				got = py.Given(v[1], got)
			}
			return got, err
		}
	}
	out := &py.List{Items: make([]any, len(items))}
	for i, item := range items {
		if out.Items[i], err = each(item); err != nil {
			return nil, err
		}
	}
	return out, r.Make(16 * len(items))
}

// choose is select, reject, and the same by an attribute.
func choose(name string) Filter {
	return func(r *py.Env, a py.Args) (any, error) {
		items, err := r.Iterate(a.Plain[0])
		if err != nil {
			return nil, err
		}
		rest := a.Plain[1:]
		var by any
		if strings.HasSuffix(name, "attr") {
			if len(rest) == 0 {
				return nil, fmt.Errorf("missing parameter for attribute name")
			}
			by, rest = rest[0], rest[1:]
		}
		out := &py.List{}
		for _, item := range items {
			v := item
			if by != nil {
				if v, err = path(r, item, by); err != nil {
					return nil, err
				}
			}
			is := py.Truth(v)
			if len(rest) > 0 {
				test, _ := rest[0].(string)
				if is, err = Passes(r, test, v, py.Args{Plain: rest[1:], Named: a.Named}); err != nil {
					return nil, err
				}
			}
			if is == strings.HasPrefix(name, "select") {
				out.Items = append(out.Items, item)
			}
		}
		return out, r.Make(16 * len(out.Items))
	}
}

// keyed pairs each item with what it is ordered by: strings without regard to case, unless asked for.
func keyed(r *py.Env, items []any, attribute any, cased bool) ([]*py.List, error) {
	out := make([]*py.List, len(items))
	for i, item := range items {
		key := item
		if attribute != nil {
			var err error
			if key, err = path(r, item, attribute); err != nil {
				return nil, err
			}
		}
		if text, ok := key.(string); ok && !cased {
			key = lower(text)
		}
		out[i] = &py.List{Items: []any{key, item}}
	}
	return out, r.Make(64 * len(items))
}

// sorted orders by the keys; the first error ends the comparisons.
func sorted(r *py.Env, all []*py.List, reverse bool) error {
	var failed error
	slices.SortStableFunc(all, func(a, b *py.List) int {
		if failed != nil {
			return 0
		}
		c, err := r.Order(a.Items[0], b.Items[0])
		failed = err
		if reverse {
			return -c
		}
		return c
	})
	return failed
}

func ordered(name string) Filter {
	return func(r *py.Env, a py.Args) (any, error) {
		names := []string{"value", "case_sensitive", "attribute"}
		if name == "sort" {
			names = []string{"value", "reverse", "case_sensitive", "attribute"}
		}
		v, err := a.Bind(name, names...)
		if err != nil {
			return nil, err
		}
		items, err := r.Iterate(v[0])
		if err != nil {
			return nil, err
		}
		n := len(v)
		all, err := keyed(r, items, py.Given(v[n-1], nil), py.Truth(py.Given(v[n-2], false)))
		if err != nil {
			return nil, err
		}
		switch name {
		case "unique":
			return unique(r, all)
		case "sort":
			if err := sorted(r, all, py.Truth(py.Given(v[1], false))); err != nil {
				return nil, err
			}
			return second(all), nil
		}
		return extreme(r, all, name == "max")
	}
}

func second(all []*py.List) *py.List {
	out := &py.List{Items: make([]any, len(all))}
	for i, pair := range all {
		out.Items[i] = pair.Items[1]
	}
	return out
}

func unique(r *py.Env, all []*py.List) (any, error) {
	var kept []*py.List
	for _, pair := range all {
		seen, err := r.Contains(&py.List{Items: firsts(kept)}, pair.Items[0])
		if err != nil {
			return nil, err
		}
		if err := r.Make(16 * len(kept)); err != nil {
			return nil, err
		}
		if !seen {
			kept = append(kept, pair)
		}
	}
	return second(kept), nil
}

func firsts(all []*py.List) []any {
	out := make([]any, len(all))
	for i, pair := range all {
		out[i] = pair.Items[0]
	}
	return out
}

func extreme(r *py.Env, all []*py.List, most bool) (any, error) {
	if len(all) == 0 {
		return &py.Undefined{Hint: "No aggregated item, sequence was empty."}, nil
	}
	best := all[0]
	for _, pair := range all[1:] {
		c, err := r.Order(pair.Items[0], best.Items[0])
		if err != nil {
			return nil, err
		}
		if most && c > 0 || !most && c < 0 {
			best = pair
		}
	}
	return best.Items[1], nil
}

func filterSum(r *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("sum", "value", "attribute", "start")
	if err != nil {
		return nil, err
	}
	items, err := r.Iterate(v[0])
	if err != nil {
		return nil, err
	}
	total := py.Given(v[2], int64(0))
	for _, item := range items {
		if attribute := py.Given(v[1], nil); attribute != nil {
			if item, err = path(r, item, attribute); err != nil {
				return nil, err
			}
		}
		if total, err = r.Binary("+", total, item); err != nil {
			return nil, err
		}
	}
	return total, nil
}

func filterDictSort(r *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("dictsort", "value", "case_sensitive", "by", "reverse")
	if err != nil {
		return nil, err
	}
	d, ok := v[0].(*py.Dict)
	if !ok {
		return nil, fmt.Errorf("dictsort: not for '%s'", py.TypeName(v[0]))
	}
	by := int64(0)
	if py.Given(v[2], "key") == "value" {
		by = 1
	}
	pairs, err := pairs(r, d)
	if err != nil {
		return nil, err
	}
	all, err := keyed(r, pairs.(*py.List).Items, by, py.Truth(py.Given(v[1], false)))
	if err != nil {
		return nil, err
	}
	if err := sorted(r, all, py.Truth(py.Given(v[3], false))); err != nil {
		return nil, err
	}
	return second(all), nil
}

func filterBatch(r *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("batch", "value", "linecount", "fill_with")
	if err != nil {
		return nil, err
	}
	items, err := r.Iterate(v[0])
	if err != nil {
		return nil, err
	}
	n, ok := py.Integer(v[1])
	if !ok || n < 1 || n > int64(r.Bytes/16) {
		return nil, fmt.Errorf("batch: a line count of at least 1")
	}
	out := &py.List{}
	for chunk := range slices.Chunk(items, int(n)) {
		chunk = slices.Clone(chunk)
		if err := r.Make(16 * int(n)); err != nil {
			return nil, err
		}
		for fill := py.Given(v[2], nil); fill != nil && len(chunk) < int(n); {
			chunk = append(chunk, fill)
		}
		out.Items = append(out.Items, &py.List{Items: chunk})
	}
	return out, nil
}

func filterGroupBy(r *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("groupby", "value", "attribute", "default", "case_sensitive")
	if err != nil {
		return nil, err
	}
	items, err := r.Iterate(v[0])
	if err != nil {
		return nil, err
	}
	all, err := keyed(r, items, py.Given(v[1], nil), py.Truth(py.Given(v[3], false)))
	if err != nil {
		return nil, err
	}
	if err := sorted(r, all, false); err != nil {
		return nil, err
	}
	out := &py.List{}
	var group *py.List
	for i, pair := range all {
		same := false
		if i > 0 {
			if same, err = r.Equal(all[i-1].Items[0], pair.Items[0]); err != nil {
				return nil, err
			}
		}
		if !same {
			key, err := path(r, pair.Items[1], py.Given(v[1], nil))
			if err != nil {
				return nil, err
			}
			group = &py.List{}
			out.Items = append(out.Items, &py.List{Items: []any{key, group}, Tuple: true})
		}
		group.Items = append(group.Items, pair.Items[1])
	}
	return out, nil
}
