package jinja

import (
	"strings"
	"time"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

// run is one rendering.
type run struct {
	*py.Env

	scope   *scope
	out     *strings.Builder
	capture int // how many outputs are put aside, as a macro or {% set %} does
	block   string
	spans   []Span
}

func newRun(o Options, d Dialect) *run {
	e := &py.Env{Now: o.Now, Steps: o.Steps, Bytes: o.Bytes, Strict: d.Strict, Own: d.Filters}
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Steps <= 0 {
		e.Steps = 2_000_000
	}
	if e.Bytes <= 0 {
		e.Bytes = 256 << 20
	}
	return &run{Env: e, out: &strings.Builder{}}
}

func (r *run) write(text string) error {
	r.out.WriteString(text)
	return r.Make(len(text))
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
	return &py.Undefined{Hint: "'" + name + "' is undefined"}
}

// inside runs f in a scope of its own.
func (r *run) inside(parent *scope, f func() error) error {
	outer := r.scope
	r.scope = &scope{parent: parent}
	defer func() { r.scope = outer }()
	return f()
}
