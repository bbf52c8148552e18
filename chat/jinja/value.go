package jinja

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Values are nil (none), bool, int64, float64, string, *list, *Dict, *undefined, *namespace, *loopState and
// *function.

type list struct {
	items []any
	tuple bool
}

// Dict is a mapping that keeps its order. The zero value is empty.
type Dict struct {
	keys   []any
	values []any
	index  map[any]int
}

// Set adds a value, or replaces it where it stands.
func (d *Dict) Set(key string, value any) { d.set(key, value) }

func (d *Dict) set(key, value any) {
	at := keyOf(key)
	if i, ok := d.index[at]; ok {
		d.values[i] = value
		return
	}
	if d.index == nil {
		d.index = make(map[any]int)
	}
	d.index[at] = len(d.keys)
	d.keys, d.values = append(d.keys, key), append(d.values, value)
}

func (d *Dict) get(key any) (any, bool) {
	switch key.(type) {
	case nil, bool, int64, float64, string:
	default:
		return nil, false // not hashable, or compared by identity
	}
	i, ok := d.index[keyOf(key)]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

// keyOf makes numbers that are equal the same key, true and 1 among them.
func keyOf(key any) any {
	if n, ok := integer(key); ok {
		return n
	}
	if f, ok := key.(float64); ok && f == float64(int64(f)) {
		return int64(f)
	}
	return key
}

// undefined is a name or an attribute that is not there. It prints as nothing; nearly all else is an error.
type undefined struct {
	hint string
}

func (u *undefined) err() error { return errorf("%s", u.hint) }

type namespace struct {
	vars map[string]any
}

// function is anything that can be called.
type function struct {
	name string
	call func(r *run, a args) (any, error)
}

// fromGo turns a caller's value into one of ours.
func fromGo(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errorf("nested more than %d deep", maxDepth)
	}
	switch v := v.(type) {
	case nil, bool, int64, float64, string:
		return v, nil
	case int:
		return int64(v), nil
	case []any:
		return fromSlice(v, depth)
	case map[string]any:
		d := &Dict{}
		for _, key := range sortedKeys(v) {
			d.Set(key, v[key])
		}
		return fromDict(d, depth)
	case *Dict:
		return fromDict(v, depth)
	case json.RawMessage:
		return fromJSON(v, depth)
	case *list:
		return fromSlice(v.items, depth)
	}
	return nil, errorf("a value of type %T cannot be given to a template", v)
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func fromSlice(items []any, depth int) (any, error) {
	l := &list{items: make([]any, len(items))}
	for i, item := range items {
		var err error
		if l.items[i], err = fromGo(item, depth+1); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func fromDict(from *Dict, depth int) (any, error) {
	d := &Dict{}
	for i, key := range from.keys {
		value, err := fromGo(from.values[i], depth+1)
		if err != nil {
			return nil, err
		}
		d.set(key, value)
	}
	return d, nil
}

// fromJSON keeps the order of keys, and tells integers from other numbers.
func fromJSON(raw json.RawMessage, depth int) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return decode(dec, depth)
}

func decode(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errorf("nested more than %d deep", maxDepth)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return n, nil
		}
		return t.Float64()
	case json.Delim:
		if t == '[' {
			return decodeList(dec, depth)
		}
		return decodeDict(dec, depth)
	}
	return t, nil // nil, bool or string
}

func decodeList(dec *json.Decoder, depth int) (any, error) {
	l := &list{}
	for dec.More() {
		item, err := decode(dec, depth+1)
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, item)
	}
	_, err := dec.Token()
	return l, err
}

func decodeDict(dec *json.Decoder, depth int) (any, error) {
	d := &Dict{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		value, err := decode(dec, depth+1)
		if err != nil {
			return nil, err
		}
		d.set(key, value)
	}
	_, err := dec.Token()
	return d, err
}

// typeName is Python's name of the type, for messages.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case *list:
		if v.tuple {
			return "tuple"
		}
		return "list"
	case *Dict:
		return "dict"
	case *namespace:
		return "Namespace"
	case *undefined:
		return "Undefined"
	}
	return "function"
}

func truth(v any) bool {
	switch v := v.(type) {
	case nil, *undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *list:
		return len(v.items) > 0
	case *Dict:
		return len(v.keys) > 0
	}
	return true
}

// integer reads an int or, as Python does, a bool.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func number(v any) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	n, ok := integer(v)
	return float64(n), ok
}

// iterate lists what a loop over v sees.
func (r *run) iterate(v any) ([]any, error) {
	switch v := v.(type) {
	case *list:
		return v.items, nil
	case *Dict:
		return v.keys, nil
	case *undefined:
		return nil, nil
	case string:
		if err := r.make(16 * len(v)); err != nil {
			return nil, err
		}
		var items []any
		for _, c := range v {
			items = append(items, string(c))
		}
		return items, nil
	}
	return nil, errorf("'%s' object is not iterable", typeName(v))
}

// length is len(v).
func length(v any) (int, error) {
	switch v := v.(type) {
	case string:
		return runeCount(v), nil
	case *list:
		return len(v.items), nil
	case *Dict:
		return len(v.keys), nil
	case *undefined:
		return 0, nil
	}
	return 0, errorf("object of type '%s' has no len()", typeName(v))
}

func (r *run) equal(a, b any) (bool, error) {
	r.depth++
	defer func() { r.depth-- }()
	if err := r.step(1); err != nil || r.depth > 10*maxDepth {
		return false, cmpErr(err)
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		i, iok := integer(a)
		j, jok := integer(b)
		return ok && (iok && jok && i == j || !(iok && jok) && x == y), nil
	}
	switch a := a.(type) {
	case nil:
		return b == nil, nil
	case string:
		s, ok := b.(string)
		return ok && a == s, r.step(len(a) / 64)
	case *undefined:
		_, ok := b.(*undefined)
		return ok, nil
	case *list:
		l, ok := b.(*list)
		if !ok || a.tuple != l.tuple || len(a.items) != len(l.items) {
			return false, nil
		}
		return r.equalItems(a.items, l.items)
	case *Dict:
		return r.equalDicts(a, b)
	}
	return a == b, nil
}

func cmpErr(err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: values nested too deep to compare", ErrLimit)
}

func (r *run) equalItems(a, b []any) (bool, error) {
	for i := range a {
		if same, err := r.equal(a[i], b[i]); !same || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (r *run) equalDicts(a *Dict, other any) (bool, error) {
	b, ok := other.(*Dict)
	if !ok || len(a.keys) != len(b.keys) {
		return false, nil
	}
	for i, key := range a.keys {
		v, ok := b.get(key)
		if !ok {
			return false, nil
		}
		if same, err := r.equal(a.values[i], v); !same || err != nil {
			return false, err
		}
	}
	return true, nil
}

// order compares as < and sort do.
func (r *run) order(a, b any) (int, error) {
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return compareNumbers(x, y), r.step(1)
		}
	}
	if s, ok := a.(string); ok {
		if t, ok := b.(string); ok {
			return compareStrings(s, t), r.step(1 + min(len(s), len(t))/64)
		}
	}
	l, lok := a.(*list)
	m, mok := b.(*list)
	if lok && mok && l.tuple == m.tuple {
		return r.orderLists(l.items, m.items)
	}
	for _, v := range []any{a, b} {
		if u, ok := v.(*undefined); ok {
			return 0, u.err()
		}
	}
	return 0, errorf("'<' not supported between instances of '%s' and '%s'", typeName(a), typeName(b))
}

func (r *run) orderLists(a, b []any) (int, error) {
	r.depth++
	defer func() { r.depth-- }()
	if r.depth > 10*maxDepth {
		return 0, cmpErr(nil)
	}
	for i := range min(len(a), len(b)) {
		same, err := r.equal(a[i], b[i])
		if err != nil {
			return 0, err
		}
		if !same {
			return r.order(a[i], b[i])
		}
	}
	return len(a) - len(b), nil
}
