package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// class is what the known patterns ask of a character.
type class uint8

const (
	other   class = 0
	letter  class = 1 // \p{L}
	number  class = 2 // \p{N}
	blank   class = 4 // \s but not CR or LF
	newline class = 8 // CR or LF
)

// classes holds the class of every character of the Basic Multilingual Plane.
type classes [1 << 16]class

func newClasses() *classes {
	var c classes
	c.fill(unicode.L, letter)
	c.fill(unicode.N, number)
	c.fill(unicode.White_Space, blank)
	c['\r'], c['\n'] = newline, newline
	return &c
}

func (c *classes) fill(table *unicode.RangeTable, k class) {
	for _, r := range table.R16 {
		for at := int(r.Lo); at <= int(r.Hi); at += int(r.Stride) {
			c[at] = k
		}
	}
}

// at returns the class and the size of the character at i; at the end the size is 0 and the class blank.
func (c *classes) at(text string, i int) (class, int) {
	if i >= len(text) {
		return blank, 0
	}
	if b := text[i]; b < utf8.RuneSelf {
		return c[b], 1
	}
	r, n := utf8.DecodeRuneInString(text[i:])
	switch {
	case r < 1<<16:
		return c[r], n
	case unicode.Is(unicode.L, r):
		return letter, n
	case unicode.Is(unicode.N, r):
		return number, n
	}
	return other, n // no white space lies beyond the Basic Multilingual Plane
}

// run returns the end of the characters of class k from i on.
func (c *classes) run(text string, i int, k class) int {
	for {
		have, n := c.at(text, i)
		if have != k || n == 0 {
			return i
		}
		i += n
	}
}

// splitter cuts text with a function that returns the length of the first piece, which is positive.
type splitter struct {
	classes *classes
	next    func(c *classes, text string) int
}

func (s *splitter) split(text string, _ bool, yield func(string)) {
	for text != "" {
		n := s.next(s.classes, text)
		yield(text[:n])
		text = text[n:]
	}
}

// nextGPT2 is one match of patternGPT2.
func nextGPT2(c *classes, text string) int {
	if n := contraction(text); n > 0 {
		return n
	}
	start := 0
	if text[0] == ' ' {
		start = 1
	}
	k, n := c.at(text, start)
	if k == letter || k == number || k == other {
		return c.run(text, start+n, k)
	}
	return c.spaces(text, false)
}

// nextLlama3 is one match of patternLlama3.
func nextLlama3(c *classes, text string) int { return c.nextCL100K(text, 3) }

// nextQwen2 is one match of patternQwen2.
func nextQwen2(c *classes, text string) int { return c.nextCL100K(text, 1) }

// nextCL100K follows the alternatives of the pattern in order; digits is the longest run of numbers.
func (c *classes) nextCL100K(text string, digits int) int {
	if n := foldedContraction(text); n > 0 {
		return n
	}
	k, n := c.at(text, 0)
	switch k {
	case letter:
		return c.run(text, n, letter)
	case number:
		return c.numbers(text, n, digits)
	case blank, other:
		if k2, n2 := c.at(text, n); k2 == letter {
			return c.run(text, n+n2, letter)
		}
	}
	start := 0
	if text[0] == ' ' {
		start = 1
	}
	if k, n := c.at(text, start); k == other {
		return c.run(text, c.run(text, start+n, other), newline)
	}
	return c.spaces(text, true)
}

func (c *classes) numbers(text string, end, most int) int {
	for count := 1; count < most; count++ {
		k, n := c.at(text, end)
		if k != number {
			break
		}
		end += n
	}
	return end
}

// spaces is `\s*[\r\n]+` (with breaks), else `\s+(?!\S)`, else `\s+`: the run of white space up to its last
// line break, or all of it at the end of the text, or all but its last character.
func (c *classes) spaces(text string, breaks bool) int {
	end, last, afterBreak := 0, 0, 0
	for {
		k, n := c.at(text, end)
		if n == 0 || k != blank && k != newline {
			break
		}
		last = end
		end += n
		if k == newline {
			afterBreak = end
		}
	}
	switch {
	case breaks && afterBreak > 0:
		return afterBreak
	case end < len(text) && last > 0:
		return last
	}
	return end
}

// contraction is the length of 's 't 're 've 'm 'll 'd at the head of text, or 0.
func contraction(text string) int {
	if text[0] != '\'' || len(text) < 2 {
		return 0
	}
	switch text[1] {
	case 's', 't', 'm', 'd':
		return 2
	}
	switch {
	case strings.HasPrefix(text[1:], "re"), strings.HasPrefix(text[1:], "ve"), strings.HasPrefix(text[1:], "ll"):
		return 3
	}
	return 0
}

// longS folds to s, the only character outside ASCII that folds to a letter of a contraction.
const longS = "\u017f"

// foldedContraction is contraction without regard to case.
func foldedContraction(text string) int {
	if text[0] != '\'' || len(text) < 2 {
		return 0
	}
	if strings.HasPrefix(text[1:], longS) {
		return 1 + len(longS)
	}
	var head [3]byte
	n := copy(head[:], text)
	for i := 1; i < n; i++ {
		if head[i] >= 'A' && head[i] <= 'Z' {
			head[i] += 'a' - 'A'
		}
	}
	return contraction(string(head[:n]))
}
