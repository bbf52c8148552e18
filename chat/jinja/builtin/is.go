package builtin

import (
	"fmt"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

// Test is a test of `is`.
type Test func(r *py.Env, v any, a py.Args) (bool, error)

// TestNamed finds a test.
func TestNamed(name string) (Test, bool) {
	if is, ok := kindTest(name); ok {
		return func(_ *py.Env, v any, a py.Args) (bool, error) {
			_, err := a.Bind(name)
			return is(v), err
		}, true
	}
	if op, ok := comparing(name); ok {
		return func(r *py.Env, v any, a py.Args) (bool, error) {
			to, err := one(a, name)
			if err != nil {
				return false, err
			}
			return r.Compare(op, v, to)
		}, true
	}
	switch name {
	case "odd", "even", "divisibleby":
		return divides(name), true
	case "sameas":
		return sameAs, true
	case "filter", "test":
		return func(_ *py.Env, v any, _ py.Args) (bool, error) {
			text, _ := v.(string)
			if name == "filter" {
				_, ok := FilterNamed(text)
				return ok, nil
			}
			_, ok := TestNamed(text)
			return ok, nil
		}, true
	}
	return nil, false
}

// one is the only argument.
func one(a py.Args, function string) (any, error) {
	v, err := a.Bind(function, "other")
	if err != nil || v[0] == (py.Absent{}) {
		return nil, orError(err, function+" wants something to compare with")
	}
	return v[0], nil
}

// kindTest are the tests that look at the kind of a value.
func kindTest(name string) (func(v any) bool, bool) {
	switch name {
	case "defined":
		return func(v any) bool { _, ok := v.(*py.Undefined); return !ok }, true
	case "undefined":
		return func(v any) bool { _, ok := v.(*py.Undefined); return ok }, true
	case "none":
		return func(v any) bool { return v == nil }, true
	case "true":
		return func(v any) bool { return v == true }, true
	case "false":
		return func(v any) bool { return v == false }, true
	case "boolean":
		return func(v any) bool { _, ok := v.(bool); return ok }, true
	case "integer":
		return func(v any) bool { _, ok := v.(int64); return ok }, true
	case "float":
		return func(v any) bool { _, ok := v.(float64); return ok }, true
	case "number":
		return func(v any) bool { _, ok := py.Number(v); return ok }, true
	case "string":
		return func(v any) bool { _, ok := v.(string); return ok }, true
	case "mapping":
		return func(v any) bool { _, ok := v.(*py.Dict); return ok }, true
	case "iterable", "sequence":
		return iterable(name == "iterable"), true
	case "callable":
		return func(v any) bool { _, ok := v.(*py.Function); return ok }, true
	case "escaped":
		return func(any) bool { return false }, true
	case "upper", "lower":
		is, _ := stringTest("is" + name)
		return func(v any) bool { text, _ := v.(string); return is(text) }, true
	}
	return nil, false
}

func iterable(orUndefined bool) func(v any) bool {
	return func(v any) bool {
		switch v.(type) {
		case string, *py.List, *py.Dict:
			return true
		case *py.Undefined:
			return orUndefined
		}
		return false
	}
}

func comparing(name string) (string, bool) {
	switch name {
	case "eq", "equalto", "==":
		return "==", true
	case "ne", "!=":
		return "!=", true
	case "lt", "lessthan", "<":
		return "<", true
	case "le", "<=":
		return "<=", true
	case "gt", "greaterthan", ">":
		return ">", true
	case "ge", ">=":
		return ">=", true
	case "in":
		return "in", true
	}
	return "", false
}

func divides(name string) Test {
	return func(_ *py.Env, v any, a py.Args) (bool, error) {
		by, rest := int64(2), int64(0)
		switch name {
		case "divisibleby":
			to, err := one(a, name)
			if err != nil {
				return false, err
			}
			by, _ = py.Integer(to)
		case "odd":
			rest = 1
		}
		n, ok := py.Integer(v)
		if !ok || by == 0 {
			return false, fmt.Errorf("%s: not for '%s' and %d", name, py.TypeName(v), by)
		}
		m := n % by
		return m == rest || rest == 1 && m == -1, nil
	}
}

// sameAs is Python's `is`, for values that have an identity here.
func sameAs(_ *py.Env, v any, a py.Args) (bool, error) {
	to, err := one(a, "sameas")
	if err != nil {
		return false, err
	}
	if _, ok := v.(float64); ok { // never the same object, unless it is one constant
		return false, nil
	}
	return v == to, nil
}
