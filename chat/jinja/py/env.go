package py

import (
	"errors"
	"fmt"
	"time"
)

// What a run may end with.
var (
	// ErrLimit says that a template asked for more than it may have.
	ErrLimit = errors.New("the template runs too long or makes too much text")
	// ErrRaised is what raise_exception gives: the template refuses the messages.
	ErrRaised = errors.New("refused by the template")
)

// maxDepth bounds nested calls, and values when they are written out.
const maxDepth = 100

// Env is what work on values may use. Everything that takes time passes
// Step, everything that takes memory passes Make.
type Env struct {
	Now    func() time.Time
	Strict bool                                                        // writing what is undefined is an error
	Own    map[string]func(text string, args []string) (string, error) // filters of the caller's own
	Steps  int                                                         // left
	Bytes  int                                                         // left
	depth  int                                                         // calls and comparisons inside one another
}

// Step counts n units of work, each worth some tens of nanoseconds.
func (r *Env) Step(n int) error {
	if r.Steps -= 1 + n; r.Steps < 0 {
		return fmt.Errorf("%w: stopped after too many steps", ErrLimit)
	}
	return nil
}

// Make counts n bytes that are about to be made, or have been. What is given back does not count: the sum bounds
// the time as well.
func (r *Env) Make(n int) error {
	if n > r.Bytes {
		return fmt.Errorf("%w: stopped at too much text", ErrLimit)
	}
	r.Bytes -= n
	return r.Step(n / 64)
}

// Enter guards against endless recursion.
func (r *Env) Enter() error {
	if r.depth++; r.depth > maxDepth {
		return fmt.Errorf("%w: calls nested more than %d deep", ErrLimit, maxDepth)
	}
	return nil
}

// Leave is what follows each Enter that gave no error.
func (r *Env) Leave() { r.depth-- }
