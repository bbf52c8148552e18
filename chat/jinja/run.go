package jinja

import (
	"fmt"
	"strings"
	"time"
)

// run is one rendering. Everything that takes time passes step, everything that takes memory passes make.
type run struct {
	dialect Dialect

	now   func() time.Time
	steps int
	bytes int
	depth int // calls and comparisons inside one another

	scope   *scope
	out     *strings.Builder
	capture int // how many outputs are put aside, as a macro or {% set %} does
	block   string
	spans   []Span
}

func newRun(o Options) *run {
	r := &run{now: o.Now, steps: o.Steps, bytes: o.Bytes, out: &strings.Builder{}}
	if r.now == nil {
		r.now = time.Now
	}
	if r.steps <= 0 {
		r.steps = 2_000_000
	}
	if r.bytes <= 0 {
		r.bytes = 256 << 20
	}
	return r
}

// step counts n units of work, each worth some tens of nanoseconds.
func (r *run) step(n int) error {
	if r.steps -= 1 + n; r.steps < 0 {
		return fmt.Errorf("%w: stopped after too many steps", ErrLimit)
	}
	return nil
}

// make counts n bytes that are about to be made, or have been. What is given back does not count: the sum bounds
// the time as well.
func (r *run) make(n int) error {
	if n > r.bytes {
		return fmt.Errorf("%w: stopped at too much text", ErrLimit)
	}
	r.bytes -= n
	return r.step(n / 64)
}

// enter guards against endless recursion.
func (r *run) enter() error {
	if r.depth++; r.depth > maxDepth {
		return fmt.Errorf("%w: calls nested more than %d deep", ErrLimit, maxDepth)
	}
	return nil
}

func (r *run) leave() { r.depth-- }

func (r *run) write(text string) error {
	r.out.WriteString(text)
	return r.make(len(text))
}

// captured runs f and returns what it writes.
func (r *run) captured(f func() error) (string, error) {
	out := r.out
	r.out = &strings.Builder{}
	r.capture++
	defer func() {
		r.out = out
		r.capture--
	}()
	err := f()
	return r.out.String(), err
}

// scope is a set of names; a loop's body and a macro have their own, {% if %} has none.
type scope struct {
	vars   map[string]any
	parent *scope
}

func (s *scope) set(name string, v any) {
	if s.vars == nil {
		s.vars = make(map[string]any)
	}
	s.vars[name] = v
}

func (s *scope) get(name string) any {
	for at := s; at != nil; at = at.parent {
		if v, ok := at.vars[name]; ok {
			return v
		}
	}
	return &undefined{"'" + name + "' is undefined"}
}

// inside runs f in a scope of its own.
func (r *run) inside(parent *scope, f func() error) error {
	outer := r.scope
	r.scope = &scope{parent: parent}
	defer func() { r.scope = outer }()
	return f()
}

// args are the arguments of a call.
type args struct {
	plain []any
	named []namedValue
}

type namedValue struct {
	name  string
	value any
}

// absent stands for an argument that was not given.
type absent struct{}

// bind puts the arguments in the order of names; those that are missing are absent.
func (a args) bind(function string, names ...string) ([]any, error) {
	if len(a.plain) > len(names) {
		return nil, errorf("%s takes %d arguments, not %d", function, len(names), len(a.plain))
	}
	bound := make([]any, len(names))
	for i := range bound {
		bound[i] = absent{}
	}
	copy(bound, a.plain)
	for _, n := range a.named {
		at := -1
		for i, name := range names {
			if name == n.name {
				at = i
			}
		}
		if at < 0 || bound[at] != (absent{}) {
			return nil, errorf("%s got an unexpected argument '%s'", function, n.name)
		}
		bound[at] = n.value
	}
	return bound, nil
}

// given is an argument or its default.
func given(v, fallback any) any {
	if v == (absent{}) {
		return fallback
	}
	return v
}
