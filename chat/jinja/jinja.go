// Package jinja runs the templates that chat models are published with, as Python's Jinja2 does in transformers'
// sandbox: blocks trimmed, no includes, nothing that changes a value. Templates come with checkpoints from
// strangers, so a run is bounded in steps, memory and depth, and reaches nothing but the values it is given:
// no files, no network, no clock but the caller's.
//
// Here belongs the language. Messages, and where templates are found, belong to package chat.
package jinja

import (
	"errors"
	"fmt"
	"time"
)

const (
	maxSource = 256 << 10 // bytes of a template; the largest published ones stay below 50 KB
	maxDepth  = 100       // nested expressions, blocks, calls, and values when they are written out
)

// Options bound a run; zero values stand for the defaults.
type Options struct {
	Now   func() time.Time // for strftime_now; nil: the system's clock
	Steps int              // default 2 million, a second or so; published templates take some thousands
	Bytes int              // of text and lists made on the way, default 256 MiB
}

// Errors that a run wraps.
var (
	// ErrLimit says that a template asked for more than Options allow.
	ErrLimit = errors.New("the template runs too long or makes too much text")
	// ErrRaised is what raise_exception gives: the template refuses the messages.
	ErrRaised = errors.New("refused by the template")
)

// Error says where a template is wrong or failed.
type Error struct {
	Line int // 1-based
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Template is a parsed template. It is immutable and safe for concurrent use.
type Template struct {
	body    []statement
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
	tokens, err := lex(source, d.Plain)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens, dialect: d}
	body, err := p.statements()
	if err != nil {
		return nil, err
	}
	if !p.at(tokEnd, "") {
		return nil, p.errorf("unexpected %s", p.peek())
	}
	return &Template{body, p.spans, d}, nil
}

// MarksGeneration reports whether the template says by {% generation %} which parts a model writes.
func (t *Template) MarksGeneration() bool { return t.spans }

// Render runs the template. Values may be nil, bool, int, int64, float64, string, []any, map[string]any, *Dict
// (which keeps its order) and json.RawMessage (which keeps it too). Spans are the parts in {% generation %}.
func (t *Template) Render(values map[string]any, o Options) (string, []Span, error) {
	r := newRun(o)
	r.dialect = t.dialect
	global := r.globals()
	for name, v := range values {
		value, err := fromGo(v, 0)
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
