// Package jinja runs the templates that chat models are published with, as Python's Jinja2 does in transformers'
// sandbox: blocks trimmed, no includes, nothing that changes a value. Templates come with checkpoints from
// strangers, so a run is bounded in steps, memory and depth, and reaches nothing but the values it is given:
// no files, no network, no clock but the caller's.
//
// Here a tree of package syntax is run, with the values of package py and what package builtin offers. Messages, and where templates are found, belong to package chat.
package jinja

import (
	"fmt"
	"time"

	"github.com/coppice-ml/coppice/chat/jinja/builtin"
	"github.com/coppice-ml/coppice/chat/jinja/py"
	"github.com/coppice-ml/coppice/chat/jinja/syntax"
)

const maxSource = 256 << 10 // bytes of a template; the largest published ones stay below 50 KB

// Options bound a run; zero values stand for the defaults.
type Options struct {
	Now   func() time.Time // for strftime_now; nil: the system's clock
	Steps int              // default 2 million, a second or so; published templates take some thousands
	Bytes int              // of text and lists made on the way, default 256 MiB
}

// Error says where a template is wrong or failed.
type Error = syntax.Error

// Dict is a mapping that keeps its order. The zero value is empty.
type Dict = py.Dict

// Template is a parsed template. It is immutable and safe for concurrent use.
type Template struct {
	body    []syntax.Statement
	spans   bool
	dialect Dialect
}

// Dialect is what may differ between one use of Jinja2 and another.
type Dialect struct {
	// Plain leaves white space and the last line end as they are, where no sign takes them away: Jinja2's own
	// defaults, with keep_trailing_newline. Otherwise blocks are trimmed as in transformers.
	Plain bool
	// Strict makes writing a name that is not there an error, as StrictUndefined does.
	Strict bool
	// Filters are filters of the caller's own, on texts alone.
	Filters map[string]func(text string, args []string) (string, error)
}

// Span is a part of the output in bytes, from Start up to End.
type Span struct{ Start, End int }

// Parse reads a template of a chat model.
func Parse(source string) (*Template, error) { return ParseAs(source, Dialect{}) }

// ParseAs reads a template of some dialect.
func ParseAs(source string, d Dialect) (*Template, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("a template of %d bytes (at most %d)", len(source), maxSource)
	}
	parsed, err := syntax.Parse(source, d.Plain, syntax.Names{
		Filter: func(name string) bool {
			_, ok := builtin.FilterNamed(name)
			return ok || d.Filters[name] != nil
		},
		Test: func(name string) bool {
			_, ok := builtin.TestNamed(name)
			return ok
		},
	})
	if err != nil {
		return nil, err
	}
	return &Template{parsed.Body, parsed.Spans, d}, nil
}

// MarksGeneration reports whether the template says by {% generation %} which parts a model writes.
func (t *Template) MarksGeneration() bool { return t.spans }

// Render runs the template. Values may be nil, bool, int, int64, float64, string, []any, map[string]any, *Dict
// (which keeps its order) and json.RawMessage (which keeps it too). Spans are the parts in {% generation %}.
//
// An error wraps py.ErrLimit if the template asks for more than Options allow, py.ErrRaised if it refuses the values.
func (t *Template) Render(values map[string]any, o Options) (string, []Span, error) {
	r := newRun(o, t.dialect)
	global := &scope{}
	for name, f := range builtin.Globals() {
		global.set(name, f)
	}
	for name, v := range values {
		value, err := py.FromGo(v, 0)
		if err != nil {
			return "", nil, fmt.Errorf("value %s: %w", name, err)
		}
		global.set(name, value)
	}
	r.scope = &scope{parent: global}
	if err := r.exec(t.body); err != nil {
		return "", nil, err
	}
	return r.out.String(), r.spans, nil
}
