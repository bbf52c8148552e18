package syntax

import "fmt"

// Error says where a template is wrong or failed.
type Error struct {
	Line int // 1-based
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap gives what is wrong, without the line.
func (e *Error) Unwrap() error { return e.Err }
