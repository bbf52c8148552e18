package tokenizer

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNone is wrapped by the error of Load for a directory that holds no tokenizer file.
var ErrNone = errors.New("no tokenizer")

// ErrUnsupported is wrapped by the errors that refuse a well-formed file because it uses a component this
// package does not know.
var ErrUnsupported = errors.New("not supported")

// FormatError says which file could not be used, and why.
type FormatError struct {
	Path string
	Err  error
}

func (e *FormatError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

func (e *FormatError) Unwrap() error { return e.Err }

// unsupported refuses a component by name and lists what is known instead.
func unsupported(what, name string, known ...string) error {
	list := ""
	if len(known) > 0 {
		list = " (known: " + strings.Join(known, ", ") + ")"
	}
	return fmt.Errorf("%s %s: %w%s", what, name, ErrUnsupported, list)
}
