// Package onig matches the regular expressions of tokenizer.json files as Hugging Face's library does, whose engine
// is Oniguruma: `^` and `$` at every line, classes inside classes, `&&`, POSIX brackets, `\h`, `a{2}+` a loop of
// loops. What it does not know (back references, \K, conditions, …) it refuses by name.
//
// A pattern is a stranger's program. Matching takes time and memory in proportion to the length of the text times
// that of the pattern, whatever the pattern: a text that costs more than a plain search would is matched on with a
// record of the states that failed, so that none is tried twice.
//
// Here belong patterns and their matches in one text; what is done with the matches does not.
package onig

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrUnsupported is wrapped by errors about what Oniguruma knows and this package does not.
var ErrUnsupported = errors.New("not supported")

const (
	maxPattern = 1 << 14 // bytes
	maxProgram = 1000    // instructions
	maxDepth   = 100     // groups and classes inside one another
)

// Regexp is a compiled pattern. It is immutable and safe for concurrent use.
type Regexp struct {
	prog   []inst
	start  int
	states int // numbered places that the record of failures knows
	atomic int // single-character runs that give nothing back
	least  int
	word   *set // for word edges
	first  *set // what a match begins with; nil: any character, or none
}

// Compile reads a pattern in Oniguruma's own syntax.
func Compile(pattern string) (*Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("pattern of %d bytes: %w (at most %d)", len(pattern), ErrUnsupported, maxPattern)
	}
	if !utf8.ValidString(pattern) {
		return nil, errors.New("pattern is not valid UTF-8")
	}
	root, err := parse(pattern)
	if err != nil {
		return nil, err
	}
	return compile(root)
}

// MinLen is a number of bytes that no match is shorter than.
func (re *Regexp) MinLen() int { return re.least }

// Each visits the matches of text, which must be valid UTF-8, from left to right. They do not overlap, and an
// empty one does not follow another immediately.
func (re *Regexp) Each(text string, visit func(from, to int)) {
	re.each(text, false, visit)
}

// each is Each; with record, failures are recorded from the start.
func (re *Regexp) each(text string, record bool, visit func(from, to int)) {
	m := machine{re: re, text: text}
	if record {
		m.memo = newMemo(re)
	}
	m.each(visit)
}

func (m *machine) each(visit func(from, to int)) {
	last := -1
	for pos := 0; pos <= len(m.text); {
		from, to := m.search(pos)
		if from < 0 {
			return
		}
		if from == to && to == last {
			if pos == len(m.text) {
				return
			}
			_, n := utf8.DecodeRuneInString(m.text[pos:])
			pos += n
			continue
		}
		visit(from, to)
		pos, last = to, to
	}
}

func unsupported(what string) error { return fmt.Errorf("%s: %w", what, ErrUnsupported) }
