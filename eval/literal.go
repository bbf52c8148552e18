package eval

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// literal reads a Python literal, as ast.literal_eval does: a string, a number,
// True, False, None, or a list or tuple of them. It is what a template's text
// is read back with where a list is wanted.
func literal(text string) (any, error) {
	p := &literalParser{rest: strings.TrimLeft(text, " \t")}
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	if p.skip(); p.rest != "" {
		return nil, fmt.Errorf("not a Python literal: %.40q follows its end", p.rest)
	}
	return v, nil
}

type literalParser struct {
	rest  string
	depth int
}

func (p *literalParser) skip() { p.rest = strings.TrimLeft(p.rest, " \t\n\r") }

// maxDepth bounds lists in lists.
const maxDepth = 64

func (p *literalParser) value() (any, error) {
	p.skip()
	if p.rest == "" {
		return nil, fmt.Errorf("not a Python literal: it ends where a value is expected")
	}
	switch c := p.rest[0]; c {
	case '\'', '"':
		return p.text(c)
	case '[':
		return p.list(']')
	case '(':
		return p.list(')')
	case '{':
		return p.dict()
	}
	n := strings.IndexAny(p.rest, ",:})]  \t\n\r")
	if n < 0 {
		n = len(p.rest)
	}
	word := p.rest[:n]
	p.rest = p.rest[n:]
	switch word {
	case "True":
		return true, nil
	case "False":
		return false, nil
	case "None":
		return nil, nil
	}
	if i, err := strconv.ParseInt(word, 10, 64); err == nil {
		return i, nil
	}
	if f, err := strconv.ParseFloat(word, 64); err == nil && strings.ContainsAny(word, "0123456789") {
		return f, nil
	}
	return nil, fmt.Errorf("not a Python literal: %.40q", word)
}

func (p *literalParser) list(end byte) (any, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("not a Python literal: more than %d lists in each other", maxDepth)
	}
	defer func() { p.depth-- }()
	p.rest = p.rest[1:]
	out := []any{}
	for {
		p.skip()
		if p.rest != "" && p.rest[0] == end {
			p.rest = p.rest[1:]
			return out, nil
		}
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		p.skip()
		switch {
		case p.rest != "" && p.rest[0] == ',':
			p.rest = p.rest[1:]
		case p.rest == "" || p.rest[0] != end:
			return nil, fmt.Errorf("not a Python literal: want , or %c at %.40q", end, p.rest)
		}
	}
}

// dict reads a mapping whose keys are texts.
func (p *literalParser) dict() (any, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("not a Python literal: more than %d lists in each other", maxDepth)
	}
	defer func() { p.depth-- }()
	p.rest = p.rest[1:]
	out := map[string]any{}
	for {
		if p.skip(); strings.HasPrefix(p.rest, "}") {
			p.rest = p.rest[1:]
			return out, nil
		}
		key, err := p.value()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if p.skip(); !ok || !strings.HasPrefix(p.rest, ":") {
			return nil, fmt.Errorf("not a Python literal: want a text and : at %.40q", p.rest)
		}
		p.rest = p.rest[1:]
		if out[name], err = p.value(); err != nil {
			return nil, err
		}
		if p.skip(); strings.HasPrefix(p.rest, ",") {
			p.rest = p.rest[1:]
		} else if !strings.HasPrefix(p.rest, "}") {
			return nil, fmt.Errorf("not a Python literal: want , or } at %.40q", p.rest)
		}
	}
}

func (p *literalParser) text(quote byte) (string, error) {
	var b strings.Builder
	s := p.rest[1:]
	for s != "" {
		switch c := s[0]; {
		case c == quote:
			p.rest = s[1:]
			return b.String(), nil
		case c == '\n':
			return "", fmt.Errorf("not a Python literal: a line ends inside quotes")
		case c == '\\' && len(s) > 1 && strings.IndexByte("\\'\"nrtabfv0xuU", s[1]) >= 0:
			n, err := escape(&b, s)
			if err != nil {
				return "", err
			}
			s = s[n:]
		default:
			_, n := utf8.DecodeRuneInString(s)
			b.WriteString(s[:n])
			s = s[n:]
		}
	}
	return "", fmt.Errorf("not a Python literal: no closing quote")
}

// escape writes what the escape at the start of s stands for and returns its length.
func escape(b *strings.Builder, s string) (int, error) {
	if at := strings.IndexByte("\\'\"nrtabfv0", s[1]); at >= 0 {
		b.WriteByte("\\'\"\n\r\t\a\b\f\v\x00"[at])
		return 2, nil
	}
	n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
	if len(s) < 2+n {
		return 0, fmt.Errorf("not a Python literal: %q is cut short", s)
	}
	code, err := strconv.ParseUint(s[2:2+n], 16, 32)
	if err != nil || code > utf8.MaxRune {
		return 0, fmt.Errorf("not a Python literal: bad escape %q", s[:2+n])
	}
	b.WriteRune(rune(code))
	return 2 + n, nil
}
