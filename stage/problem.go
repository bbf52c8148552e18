package stage

import (
	"errors"
	"fmt"
	"strings"
)

// Kinds of problems. What is none of them has simply failed.
var (
	ErrUsage     = errors.New("usage")                // what is asked makes no sense
	ErrPartial   = errors.New("partial")              // finished work was kept: ask the same again
	ErrGate      = errors.New("quality gate not met") // the work is done, and its result not good enough
	ErrCancelled = errors.New("cancelled")
)

// Problem is an error that names the field of a stage that is to blame, and what
// can be done. Whoever prints it writes fields as its reader knows them: a flag of
// the command line, a key of a file.
type Problem struct {
	Field   string // as its key, such as add_bos; "" where none is to blame
	Message Text
	Remedy  Text
	Kind    error // one of the Err…, or nil

	err error // the message with what it wraps
}

// wrong is a problem of what is asked. Fields stand in braces in the format, the
// one to blame first: "{count} %d: want at least 1".
func wrong(format string, args ...any) *Problem {
	p := failed(format, args...)
	p.Kind = ErrUsage
	return p
}

// failed is a problem of anything else.
func failed(format string, args ...any) *Problem {
	p := &Problem{Message: Text{format, args}, err: fmt.Errorf(plain(format), args...)}
	_, rest, found := strings.Cut(format, "{")
	if field, _, closed := strings.Cut(rest, "}"); found && closed {
		p.Field = field
	}
	return p
}

// with adds what can be done, fields in braces here, too.
func (p *Problem) with(format string, args ...any) *Problem {
	p.Remedy = Text{format, args}
	return p
}

// Error is the message with the fields' keys.
func (p *Problem) Error() string { return p.err.Error() }

// Unwrap gives what the message wraps, and the kind.
func (p *Problem) Unwrap() []error {
	if p.Kind == nil {
		return []error{p.err}
	}
	return []error{p.err, p.Kind}
}

// Text is a text in which fields are named.
type Text struct {
	format string // of package fmt, fields in braces
	args   []any
}

// With writes the text, the fields as name has them.
func (t Text) With(name func(field string) string) string {
	args := make([]any, len(t.args))
	for i, a := range t.args {
		args[i] = a
		if err, ok := a.(error); ok {
			args[i] = described{err, name}
		}
	}
	return fmt.Errorf(Named(t.format, name), args...).Error()
}

// Empty says that there is no text.
func (t Text) Empty() bool { return t.format == "" }

// described is an error inside a message, with the names of that message.
type described struct {
	error
	name func(field string) string
}

func (d described) Error() string { message, _ := Describe(d.error, d.name); return message }

// Describe is what an error says and what can be done about it ("" where that is
// not known), with the fields of the outermost Problem in it as name has them.
func Describe(err error, name func(field string) string) (message, remedy string) {
	var p *Problem
	if !errors.As(err, &p) {
		return err.Error(), ""
	}
	message = strings.Replace(err.Error(), p.Error(), p.Message.With(name), 1)
	return message, p.Remedy.With(name)
}

// plain is a format with the keys of its fields, without braces.
func plain(format string) string { return Named(format, func(field string) string { return field }) }

// Named writes the fields of a format of package fmt, which stand in braces, as name
// has them.
func Named(format string, name func(field string) string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(format, "{")
		field, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			return b.String() + format
		}
		b.WriteString(before)
		b.WriteString(strings.ReplaceAll(name(field), "%", "%%"))
		format = after
	}
}
