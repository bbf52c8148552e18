package builtin

import (
	"fmt"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

// Missing is what stands for an attribute that v lacks.
func Missing(v any, name string) *py.Undefined {
	return &py.Undefined{Hint: fmt.Sprintf("'%s object' has no attribute '%s'", py.TypeName(v), name)}
}

// ItemOf is v[key]: an item, else an attribute, as Jinja looks for what is in brackets.
func ItemOf(r *py.Env, v, key any) (any, error) {
	switch v := v.(type) {
	case *py.Undefined:
		return nil, v.Err()
	case *py.Dict:
		if value, ok := v.Get(key); ok {
			return value, nil
		}
	case *py.List:
		if n, ok := py.Integer(key); ok {
			if n < 0 {
				n += int64(len(v.Items))
			}
			if n >= 0 && n < int64(len(v.Items)) {
				return v.Items[n], nil
			}
		}
	case string:
		if n, ok := py.Integer(key); ok {
			return character(r, v, n)
		}
	}
	if name, ok := key.(string); ok {
		if m, ok := Member(r, v, name); ok {
			return m, nil
		}
		return Missing(v, name), nil
	}
	return &py.Undefined{Hint: fmt.Sprintf("'%s object' has no such element", py.TypeName(v))}, nil
}

func character(r *py.Env, text string, n int64) (any, error) {
	if err := r.Step(len(text) / 16); err != nil {
		return nil, err
	}
	if n < 0 {
		n += int64(py.RuneCount(text))
	}
	for _, c := range text {
		if n == 0 {
			return string(c), nil
		}
		n--
	}
	return &py.Undefined{Hint: "'str object' has no such element"}, nil
}

// Apply calls a filter by name, as map also does.
func Apply(r *py.Env, name string, v any, a py.Args) (any, error) {
	f, ok := FilterNamed(name)
	if own := r.Own[name]; own != nil {
		f, ok = ownFilter(own), true
	}
	if !ok {
		return nil, fmt.Errorf("unknown filter %q", name)
	}
	if err := r.Step(1); err != nil {
		return nil, err
	}
	a.Plain = append([]any{v}, a.Plain...)
	return f(r, a)
}

// Passes calls a test by name, as select also does.
func Passes(r *py.Env, name string, v any, a py.Args) (bool, error) {
	f, ok := TestNamed(name)
	if !ok {
		return false, fmt.Errorf("unknown test %q", name)
	}
	return f(r, v, a)
}
