package jinja

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
)

func isWord(c rune) bool { return c == '_' || unicode.IsLetter(c) || unicode.IsNumber(c) }

// listFilter are the filters on what can be iterated.
func listFilter(name string) (filter, bool) {
	switch name {
	case "items":
		return filterItems, true
	case "join":
		return filterJoin, true
	case "list":
		return func(r *run, a args) (any, error) {
			items, err := r.iterate(a.plain[0])
			return &list{items: slices.Clone(items)}, firstError(err, r.make(16*len(items)))
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

func filterItems(r *run, a args) (any, error) {
	switch v := a.plain[0].(type) {
	case *undefined:
		return &list{}, nil
	case *Dict:
		return r.pairs(v)
	}
	return nil, errorf("can only get item pairs from a mapping")
}

// path follows a dotted attribute, as attribute= means it.
func (r *run) path(v any, attribute any) (any, error) {
	if n, ok := integer(attribute); ok {
		return r.item(v, n)
	}
	text, ok := attribute.(string)
	if !ok {
		return nil, errorf("an attribute of type '%s'", typeName(attribute))
	}
	for part := range strings.SplitSeq(text, ".") {
		var key any = part
		if n, err := strconv.ParseInt(part, 10, 64); err == nil {
			key = n
		}
		var err error
		if v, err = r.item(v, key); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func filterJoin(r *run, a args) (any, error) {
	v, err := a.bind("join", "value", "d", "attribute")
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(v[0])
	if err != nil {
		return nil, err
	}
	sep, err := r.str(given(v[1], ""))
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i, item := range items {
		if attribute := given(v[2], nil); attribute != nil {
			if item, err = r.path(item, attribute); err != nil {
				return nil, err
			}
		}
		if parts[i], err = r.str(item); err != nil {
			return nil, err
		}
	}
	return r.join(parts, sep)
}

func firstOrLast(name string) filter {
	return func(r *run, a args) (any, error) {
		items, err := r.iterate(a.plain[0])
		switch {
		case err != nil:
			return nil, err
		case len(items) == 0:
			return &undefined{"No " + name + " item, sequence was empty."}, nil
		case name == "first":
			return items[0], nil
		}
		return items[len(items)-1], nil
	}
}

func filterReverse(r *run, a args) (any, error) {
	items, err := r.iterate(a.plain[0])
	if err != nil {
		return nil, err
	}
	items = slices.Clone(items)
	slices.Reverse(items)
	if _, ok := a.plain[0].(string); !ok {
		return &list{items: items}, r.make(16 * len(items))
	}
	var out strings.Builder
	for _, c := range items {
		out.WriteString(c.(string))
	}
	return out.String(), r.make(out.Len())
}

func filterMap(r *run, a args) (any, error) {
	items, err := r.iterate(a.plain[0])
	if err != nil {
		return nil, err
	}
	var each func(item any) (any, error)
	if len(a.plain) > 1 {
		name, _ := a.plain[1].(string)
		rest := args{slices.Clone(a.plain[2:]), a.named}
		each = func(item any) (any, error) { return r.filter(name, item, rest) }
	} else {
		v, err := args{named: a.named}.bind("map", "attribute", "default")
		if err != nil || v[0] == (absent{}) {
			return nil, orError(err, "map requires a filter argument")
		}
		each = func(item any) (any, error) {
			got, err := r.path(item, v[0])
			if _, missing := got.(*undefined); missing && err == nil {
				got = given(v[1], got)
			}
			return got, err
		}
	}
	out := &list{items: make([]any, len(items))}
	for i, item := range items {
		if out.items[i], err = each(item); err != nil {
			return nil, err
		}
	}
	return out, r.make(16 * len(items))
}

// choose is select, reject, and the same by an attribute.
func choose(name string) filter {
	return func(r *run, a args) (any, error) {
		items, err := r.iterate(a.plain[0])
		if err != nil {
			return nil, err
		}
		rest := a.plain[1:]
		var by any
		if strings.HasSuffix(name, "attr") {
			if len(rest) == 0 {
				return nil, errorf("missing parameter for attribute name")
			}
			by, rest = rest[0], rest[1:]
		}
		out := &list{}
		for _, item := range items {
			v := item
			if by != nil {
				if v, err = r.path(item, by); err != nil {
					return nil, err
				}
			}
			is := truth(v)
			if len(rest) > 0 {
				test, _ := rest[0].(string)
				if is, err = r.is(test, v, args{rest[1:], a.named}); err != nil {
					return nil, err
				}
			}
			if is == strings.HasPrefix(name, "select") {
				out.items = append(out.items, item)
			}
		}
		return out, r.make(16 * len(out.items))
	}
}

// keyed pairs each item with what it is ordered by: strings without regard to case, unless asked for.
func (r *run) keyed(items []any, attribute any, cased bool) ([]*list, error) {
	out := make([]*list, len(items))
	for i, item := range items {
		key := item
		if attribute != nil {
			var err error
			if key, err = r.path(item, attribute); err != nil {
				return nil, err
			}
		}
		if text, ok := key.(string); ok && !cased {
			key = lower(text)
		}
		out[i] = &list{items: []any{key, item}}
	}
	return out, r.make(64 * len(items))
}

// sorted orders by the keys; the first error ends the comparisons.
func (r *run) sorted(all []*list, reverse bool) error {
	var failed error
	slices.SortStableFunc(all, func(a, b *list) int {
		if failed != nil {
			return 0
		}
		c, err := r.order(a.items[0], b.items[0])
		failed = err
		if reverse {
			return -c
		}
		return c
	})
	return failed
}

func ordered(name string) filter {
	return func(r *run, a args) (any, error) {
		names := []string{"value", "case_sensitive", "attribute"}
		if name == "sort" {
			names = []string{"value", "reverse", "case_sensitive", "attribute"}
		}
		v, err := a.bind(name, names...)
		if err != nil {
			return nil, err
		}
		items, err := r.iterate(v[0])
		if err != nil {
			return nil, err
		}
		n := len(v)
		all, err := r.keyed(items, given(v[n-1], nil), truth(given(v[n-2], false)))
		if err != nil {
			return nil, err
		}
		switch name {
		case "unique":
			return r.unique(all)
		case "sort":
			if err := r.sorted(all, truth(given(v[1], false))); err != nil {
				return nil, err
			}
			return second(all), nil
		}
		return r.extreme(all, name == "max")
	}
}

func second(all []*list) *list {
	out := &list{items: make([]any, len(all))}
	for i, pair := range all {
		out.items[i] = pair.items[1]
	}
	return out
}

func (r *run) unique(all []*list) (any, error) {
	var kept []*list
	for _, pair := range all {
		seen, err := r.contains(&list{items: firsts(kept)}, pair.items[0])
		if err != nil {
			return nil, err
		}
		if err := r.make(16 * len(kept)); err != nil {
			return nil, err
		}
		if !seen {
			kept = append(kept, pair)
		}
	}
	return second(kept), nil
}

func firsts(all []*list) []any {
	out := make([]any, len(all))
	for i, pair := range all {
		out[i] = pair.items[0]
	}
	return out
}

func (r *run) extreme(all []*list, most bool) (any, error) {
	if len(all) == 0 {
		return &undefined{"No aggregated item, sequence was empty."}, nil
	}
	best := all[0]
	for _, pair := range all[1:] {
		c, err := r.order(pair.items[0], best.items[0])
		if err != nil {
			return nil, err
		}
		if most && c > 0 || !most && c < 0 {
			best = pair
		}
	}
	return best.items[1], nil
}

func filterSum(r *run, a args) (any, error) {
	v, err := a.bind("sum", "value", "attribute", "start")
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(v[0])
	if err != nil {
		return nil, err
	}
	total := given(v[2], int64(0))
	for _, item := range items {
		if attribute := given(v[1], nil); attribute != nil {
			if item, err = r.path(item, attribute); err != nil {
				return nil, err
			}
		}
		add := &operation{"+", &constant{total}, &constant{item}}
		if total, err = add.eval(r); err != nil {
			return nil, err
		}
	}
	return total, nil
}

func filterDictSort(r *run, a args) (any, error) {
	v, err := a.bind("dictsort", "value", "case_sensitive", "by", "reverse")
	if err != nil {
		return nil, err
	}
	d, ok := v[0].(*Dict)
	if !ok {
		return nil, errorf("dictsort: not for '%s'", typeName(v[0]))
	}
	by := int64(0)
	if given(v[2], "key") == "value" {
		by = 1
	}
	pairs, err := r.pairs(d)
	if err != nil {
		return nil, err
	}
	all, err := r.keyed(pairs.(*list).items, by, truth(given(v[1], false)))
	if err != nil {
		return nil, err
	}
	if err := r.sorted(all, truth(given(v[3], false))); err != nil {
		return nil, err
	}
	return second(all), nil
}

func filterBatch(r *run, a args) (any, error) {
	v, err := a.bind("batch", "value", "linecount", "fill_with")
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(v[0])
	if err != nil {
		return nil, err
	}
	n, ok := integer(v[1])
	if !ok || n < 1 || n > int64(r.bytes/16) {
		return nil, errorf("batch: a line count of at least 1")
	}
	out := &list{}
	for chunk := range slices.Chunk(items, int(n)) {
		chunk = slices.Clone(chunk)
		if err := r.make(16 * int(n)); err != nil {
			return nil, err
		}
		for fill := given(v[2], nil); fill != nil && len(chunk) < int(n); {
			chunk = append(chunk, fill)
		}
		out.items = append(out.items, &list{items: chunk})
	}
	return out, nil
}

func filterGroupBy(r *run, a args) (any, error) {
	v, err := a.bind("groupby", "value", "attribute", "default", "case_sensitive")
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(v[0])
	if err != nil {
		return nil, err
	}
	all, err := r.keyed(items, given(v[1], nil), truth(given(v[3], false)))
	if err != nil {
		return nil, err
	}
	if err := r.sorted(all, false); err != nil {
		return nil, err
	}
	out := &list{}
	var group *list
	for i, pair := range all {
		same := false
		if i > 0 {
			if same, err = r.equal(all[i-1].items[0], pair.items[0]); err != nil {
				return nil, err
			}
		}
		if !same {
			key, err := r.path(pair.items[1], given(v[1], nil))
			if err != nil {
				return nil, err
			}
			group = &list{}
			out.items = append(out.items, &list{[]any{key, group}, true})
		}
		group.items = append(group.items, pair.items[1])
	}
	return out, nil
}
