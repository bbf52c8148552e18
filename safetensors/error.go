package safetensors

import (
	"fmt"
	"strings"
)

// FormatError says where a file breaks the format. Offset counts from the start
// of the file; Tensor is empty where the problem belongs to no single tensor.
type FormatError struct {
	Path    string
	Tensor  string
	Offset  int64
	Problem string
	// Remedy is what the user can do; empty means the usual one.
	Remedy string
}

const usualRemedy = "the file is damaged or incomplete: get it again"

func (e *FormatError) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Tensor != "" {
		fmt.Fprintf(&b, ": tensor %q", e.Tensor)
	}
	fmt.Fprintf(&b, ": at byte %d: %s; %s", e.Offset, e.Problem, e.Action())
	return b.String()
}

// Action returns what the user can do about it.
func (e *FormatError) Action() string {
	if e.Remedy == "" {
		return usualRemedy
	}
	return e.Remedy
}
