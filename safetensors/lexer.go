package safetensors

import (
	"bytes"
	"encoding/json"
)

// lexer splits JSON text that is known to be valid into tokens. Because it need
// not find errors it is several times faster than a general decoder, and a
// header of a thousand tensors is read on every start.
type lexer struct {
	raw []byte
	at  int
}

// token is a bracket, a string with its quotes, a number or a word.
type token []byte

// peek returns the first byte of the next token.
func (l *lexer) peek() byte {
	for {
		switch c := l.raw[l.at]; c {
		case ' ', '\t', '\r', '\n', ':', ',':
			l.at++
		default:
			return c
		}
	}
}

// next returns the next token; there must be one.
func (l *lexer) next() token {
	first := l.peek()
	start := l.at
	switch first {
	case '{', '}', '[', ']':
		l.at++
	case '"':
		l.at++
		for l.raw[l.at] != '"' {
			if l.raw[l.at] == '\\' {
				l.at++
			}
			l.at++
		}
		l.at++
	default:
		for !l.ends() {
			l.at++
		}
	}
	return token(l.raw[start:l.at])
}

// ends says whether a number or word is over.
func (l *lexer) ends() bool {
	switch l.raw[l.at] {
	case ' ', '\t', '\r', '\n', ',', ']', '}':
		return true
	}
	return false
}

// skip passes over one value, however deep.
func (l *lexer) skip() {
	for depth := 0; ; {
		switch l.next()[0] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if depth == 0 {
			return
		}
	}
}

// text returns the content of a string token.
func (t token) text() string {
	if bytes.IndexByte(t, '\\') < 0 {
		return string(t[1 : len(t)-1])
	}
	var s string
	// Valid text always decodes.
	_ = json.Unmarshal(t, &s)
	return s
}

// String shortens the token for errors: a hostile one can take megabytes.
func (t token) String() string {
	if len(t) > 40 {
		return string(t[:40]) + "…"
	}
	return string(t)
}
