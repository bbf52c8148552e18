package py

import "fmt"

// Args are the arguments of a call.
type Args struct {
	Plain []any
	Named []NamedValue
}

// NamedValue is an argument that is given by name.
type NamedValue struct {
	Name  string
	Value any
}

// Absent stands for an argument that was not given.
type Absent struct{}

// Bind puts the arguments in the order of names; those that are missing are absent.
func (a Args) Bind(function string, names ...string) ([]any, error) {
	if len(a.Plain) > len(names) {
		return nil, fmt.Errorf("%s takes %d arguments, not %d", function, len(names), len(a.Plain))
	}
	bound := make([]any, len(names))
	for i := range bound {
		bound[i] = Absent{}
	}
	copy(bound, a.Plain)
	for _, n := range a.Named {
		at := -1
		for i, name := range names {
			if name == n.Name {
				at = i
			}
		}
		if at < 0 || bound[at] != (Absent{}) {
			return nil, fmt.Errorf("%s got an unexpected argument '%s'", function, n.Name)
		}
		bound[at] = n.Value
	}
	return bound, nil
}

// Given is an argument or its default.
func Given(v, fallback any) any {
	if v == (Absent{}) {
		return fallback
	}
	return v
}
