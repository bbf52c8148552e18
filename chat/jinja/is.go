package jinja

// test is a test of `is`.
type test func(r *run, v any, a args) (bool, error)

// testNamed finds a test.
func testNamed(name string) (test, bool) {
	if is, ok := kindTest(name); ok {
		return func(_ *run, v any, a args) (bool, error) {
			_, err := a.bind(name)
			return is(v), err
		}, true
	}
	if op, ok := comparing(name); ok {
		return func(r *run, v any, a args) (bool, error) {
			to, err := a.one(name)
			if err != nil {
				return false, err
			}
			return r.compare(op, v, to)
		}, true
	}
	switch name {
	case "odd", "even", "divisibleby":
		return divides(name), true
	case "sameas":
		return sameAs, true
	case "filter", "test":
		return func(_ *run, v any, _ args) (bool, error) {
			text, _ := v.(string)
			if name == "filter" {
				_, ok := filterNamed(text)
				return ok, nil
			}
			_, ok := testNamed(text)
			return ok, nil
		}, true
	}
	return nil, false
}

// one is the only argument.
func (a args) one(function string) (any, error) {
	v, err := a.bind(function, "other")
	if err != nil || v[0] == (absent{}) {
		return nil, orError(err, function+" wants something to compare with")
	}
	return v[0], nil
}

// kindTest are the tests that look at the kind of a value.
func kindTest(name string) (func(v any) bool, bool) {
	switch name {
	case "defined":
		return func(v any) bool { _, ok := v.(*undefined); return !ok }, true
	case "undefined":
		return func(v any) bool { _, ok := v.(*undefined); return ok }, true
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
		return func(v any) bool { _, ok := number(v); return ok }, true
	case "string":
		return func(v any) bool { _, ok := v.(string); return ok }, true
	case "mapping":
		return func(v any) bool { _, ok := v.(*Dict); return ok }, true
	case "iterable", "sequence":
		return iterable(name == "iterable"), true
	case "callable":
		return func(v any) bool { _, ok := v.(*function); return ok }, true
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
		case string, *list, *Dict:
			return true
		case *undefined:
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

func divides(name string) test {
	return func(_ *run, v any, a args) (bool, error) {
		by, rest := int64(2), int64(0)
		switch name {
		case "divisibleby":
			to, err := a.one(name)
			if err != nil {
				return false, err
			}
			by, _ = integer(to)
		case "odd":
			rest = 1
		}
		n, ok := integer(v)
		if !ok || by == 0 {
			return false, errorf("%s: not for '%s' and %d", name, typeName(v), by)
		}
		m := n % by
		return m == rest || rest == 1 && m == -1, nil
	}
}

// sameAs is Python's `is`, for values that have an identity here.
func sameAs(_ *run, v any, a args) (bool, error) {
	to, err := a.one("sameas")
	if err != nil {
		return false, err
	}
	if _, ok := v.(float64); ok { // never the same object, unless it is one constant
		return false, nil
	}
	return v == to, nil
}
