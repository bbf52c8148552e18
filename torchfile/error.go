package torchfile

import (
	"fmt"
	"strings"
)

// FormatError says what is wrong with a file, or what it asks for that is not
// done. Offset counts from the start of the file.
type FormatError struct {
	Path string
	// Tensor is empty where the problem belongs to no single tensor.
	Tensor string
	// Opcode is the pickle instruction at Offset; empty outside the pickle.
	Opcode  string
	Offset  int64
	Problem string
	// Remedy is what the user can do; empty means the usual one.
	Remedy string
}

const (
	usualRemedy = "the file is damaged or incomplete: get it again"
	saveAgain   = "if you trust the file, load it with torch and save model.state_dict() as safetensors"
)

func (e *FormatError) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Tensor != "" {
		fmt.Fprintf(&b, ": tensor %q", e.Tensor)
	}
	fmt.Fprintf(&b, ": at byte %d: %s; %s", e.Offset, e.Detail(), e.Action())
	return b.String()
}

// Detail returns the problem, with the opcode where there is one.
func (e *FormatError) Detail() string {
	if e.Opcode == "" {
		return e.Problem
	}
	return "pickle opcode " + e.Opcode + ": " + e.Problem
}

// Action returns what the user can do about it.
func (e *FormatError) Action() string {
	if e.Remedy == "" {
		return usualRemedy
	}
	return e.Remedy
}
