package py

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Values are nil (none), bool, int64, float64, string, *List, *Dict, *Undefined, *Namespace, *Function and what
// is an Object.

// List is a list or a tuple.
type List struct {
	Items []any
	Tuple bool
}

// Dict is a mapping that keeps its order. The zero value is empty.
type Dict struct {
	Keys   []any
	Values []any
	index  map[any]int
}

// Set adds a value, or replaces it where it stands.
func (d *Dict) Set(key string, value any) { d.Put(key, value) }

// Put is Set for keys of every type: nil, bool, int64, float64 or string. Numbers that are equal are one key.
func (d *Dict) Put(key, value any) {
	at := keyOf(key)
	if i, ok := d.index[at]; ok {
		d.Values[i] = value
		return
	}
	if d.index == nil {
		d.index = make(map[any]int)
	}
	d.index[at] = len(d.Keys)
	d.Keys, d.Values = append(d.Keys, key), append(d.Values, value)
}

// Get finds what Put has put; keys of other types are not there.
func (d *Dict) Get(key any) (any, bool) {
	switch key.(type) {
	case nil, bool, int64, float64, string:
	default:
		return nil, false // not hashable, or compared by identity
	}
	i, ok := d.index[keyOf(key)]
	if !ok {
		return nil, false
	}
	return d.Values[i], true
}

// keyOf makes numbers that are equal the same key, true and 1 among them.
func keyOf(key any) any {
	if n, ok := Integer(key); ok {
		return n
	}
	if f, ok := key.(float64); ok && f == float64(int64(f)) {
		return int64(f)
	}
	return key
}

// Undefined is a name or an attribute that is not there. It prints as nothing; nearly all else is an error.
type Undefined struct {
	Hint string // what is not there, as errors say it
}

// Err is the error of using what is not there.
func (u *Undefined) Err() error { return fmt.Errorf("%s", u.Hint) }

// Namespace is an object whose attributes templates may set.
type Namespace struct {
	Vars map[string]any
}

// Object is a value of the interpreter, such as loop.
type Object interface{ Attribute(name string) (any, bool) }

// Function is anything that can be called.
type Function struct {
	Name string
	Call func(r *Env, a Args) (any, error)
}

// FromGo turns a caller's value into one of ours.
func FromGo(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
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
	case *List:
		return fromSlice(v.Items, depth)
	}
	return nil, fmt.Errorf("a value of type %T cannot be given to a template", v)
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
	l := &List{Items: make([]any, len(items))}
	for i, item := range items {
		var err error
		if l.Items[i], err = FromGo(item, depth+1); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func fromDict(from *Dict, depth int) (any, error) {
	d := &Dict{}
	for i, key := range from.Keys {
		value, err := FromGo(from.Values[i], depth+1)
		if err != nil {
			return nil, err
		}
		d.Put(key, value)
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
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
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
	l := &List{}
	for dec.More() {
		item, err := decode(dec, depth+1)
		if err != nil {
			return nil, err
		}
		l.Items = append(l.Items, item)
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
		d.Put(key, value)
	}
	_, err := dec.Token()
	return d, err
}

// TypeName is Python's name of the type, for messages.
func TypeName(v any) string {
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
	case *List:
		if v.Tuple {
			return "tuple"
		}
		return "list"
	case *Dict:
		return "dict"
	case *Namespace:
		return "Namespace"
	case *Undefined:
		return "Undefined"
	}
	return "function"
}

// Truth is bool(v).
func Truth(v any) bool {
	switch v := v.(type) {
	case nil, *Undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *List:
		return len(v.Items) > 0
	case *Dict:
		return len(v.Keys) > 0
	}
	return true
}

// Integer reads an int or, as Python does, a bool.
func Integer(v any) (int64, bool) {
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

// Number reads an int, a bool or a float.
func Number(v any) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	n, ok := Integer(v)
	return float64(n), ok
}

// Iterate lists what a loop over v sees.
func (r *Env) Iterate(v any) ([]any, error) {
	switch v := v.(type) {
	case *List:
		return v.Items, nil
	case *Dict:
		return v.Keys, nil
	case *Undefined:
		return nil, nil
	case string:
		if err := r.Make(16 * len(v)); err != nil {
			return nil, err
		}
		var items []any
		for _, c := range v {
			items = append(items, string(c))
		}
		return items, nil
	}
	return nil, fmt.Errorf("'%s' object is not iterable", TypeName(v))
}

// Length is len(v).
func Length(v any) (int, error) {
	switch v := v.(type) {
	case string:
		return RuneCount(v), nil
	case *List:
		return len(v.Items), nil
	case *Dict:
		return len(v.Keys), nil
	case *Undefined:
		return 0, nil
	}
	return 0, fmt.Errorf("object of type '%s' has no len()", TypeName(v))
}

// Equal is a == b.
func (r *Env) Equal(a, b any) (bool, error) {
	r.depth++
	defer func() { r.depth-- }()
	if err := r.Step(1); err != nil || r.depth > 10*maxDepth {
		return false, cmpErr(err)
	}
	if x, ok := Number(a); ok {
		y, ok := Number(b)
		i, iok := Integer(a)
		j, jok := Integer(b)
		return ok && (iok && jok && i == j || !(iok && jok) && x == y), nil
	}
	switch a := a.(type) {
	case nil:
		return b == nil, nil
	case string:
		s, ok := b.(string)
		return ok && a == s, r.Step(len(a) / 64)
	case *Undefined:
		_, ok := b.(*Undefined)
		return ok, nil
	case *List:
		l, ok := b.(*List)
		if !ok || a.Tuple != l.Tuple || len(a.Items) != len(l.Items) {
			return false, nil
		}
		return r.equalItems(a.Items, l.Items)
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

func (r *Env) equalItems(a, b []any) (bool, error) {
	for i := range a {
		if same, err := r.Equal(a[i], b[i]); !same || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (r *Env) equalDicts(a *Dict, other any) (bool, error) {
	b, ok := other.(*Dict)
	if !ok || len(a.Keys) != len(b.Keys) {
		return false, nil
	}
	for i, key := range a.Keys {
		v, ok := b.Get(key)
		if !ok {
			return false, nil
		}
		if same, err := r.Equal(a.Values[i], v); !same || err != nil {
			return false, err
		}
	}
	return true, nil
}

// Order compares as < and sort do.
func (r *Env) Order(a, b any) (int, error) {
	if x, ok := Number(a); ok {
		if y, ok := Number(b); ok {
			return compareNumbers(x, y), r.Step(1)
		}
	}
	if s, ok := a.(string); ok {
		if t, ok := b.(string); ok {
			return compareStrings(s, t), r.Step(1 + min(len(s), len(t))/64)
		}
	}
	l, lok := a.(*List)
	m, mok := b.(*List)
	if lok && mok && l.Tuple == m.Tuple {
		return r.orderLists(l.Items, m.Items)
	}
	for _, v := range []any{a, b} {
		if u, ok := v.(*Undefined); ok {
			return 0, u.Err()
		}
	}
	return 0, fmt.Errorf("'<' not supported between instances of '%s' and '%s'", TypeName(a), TypeName(b))
}

func (r *Env) orderLists(a, b []any) (int, error) {
	r.depth++
	defer func() { r.depth-- }()
	if r.depth > 10*maxDepth {
		return 0, cmpErr(nil)
	}
	for i := range min(len(a), len(b)) {
		same, err := r.Equal(a[i], b[i])
		if err != nil {
			return 0, err
		}
		if !same {
			return r.Order(a[i], b[i])
		}
	}
	return len(a) - len(b), nil
}
