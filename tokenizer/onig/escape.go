package onig

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// escape reads what follows a \ outside a class.
func (p *parser) escape() (node, rune, error) {
	if p.at == len(p.text) {
		return nil, -1, errors.New(`a \ at the end`)
	}
	place := map[byte]node{'A': anchor{textStart}, 'z': anchor{textEnd}, 'Z': anchor{textEndLine}, 'b': anchor{wordEdge}, 'B': anchor{wordInside}}
	if n, ok := place[p.text[p.at]]; ok {
		p.at++
		return n, -1, nil
	}
	switch p.text[p.at] {
	case 'N':
		p.at++
		return chars{newSet(complement([]span{{'\n', '\n'}}))}, -1, nil
	case 'O':
		p.at++
		return chars{newSet([]span{{0, unicode.MaxRune}})}, -1, nil
	case 'w':
		p.at++
		return chars{newSet(wordAlone())}, -1, nil
	case 'W':
		p.at++
		return chars{newSet(complement(wordAlone()))}, -1, nil
	}
	spans, r, err := p.character()
	if err != nil {
		return nil, -1, err
	}
	if spans != nil {
		return chars{newSet(spans)}, -1, nil
	}
	return p.literal(r)
}

// character reads an escape that is a class (spans) or one character (r).
func (p *parser) character() (spans []span, r rune, err error) {
	r = p.next()
	if spans, ok := shorthand(r); ok {
		return spans, -1, nil
	}
	switch r {
	case 'p', 'P':
		if p.take("{") {
			return p.property(r == 'P')
		}
		return nil, r, nil // Oniguruma knows no \pL
	case 'n':
		return nil, '\n', nil
	case 'r':
		return nil, '\r', nil
	case 't':
		return nil, '\t', nil
	case 'f':
		return nil, '\f', nil
	case 'v':
		return nil, '\v', nil
	case 'a':
		return nil, '\a', nil
	case 'e':
		return nil, 0x1b, nil
	case 'x':
		r, err := p.hex()
		return nil, r, err
	case 'u':
		r, err := p.code(4, 16, "u")
		return nil, r, err
	case '0':
		n := len(p.rest()) - len(strings.TrimLeft(p.rest()[:min(2, len(p.rest()))], "01234567")) - max(0, len(p.rest())-2)
		r, err := p.code(n, 8, "0")
		return nil, r, err
	}
	switch {
	case r >= '1' && r <= '9':
		return nil, -1, unsupported(fmt.Sprintf(`\%c, a back reference or an octal number,`, r))
	case strings.ContainsRune("RXKGgkyYcCMNOABbZz", r):
		return nil, -1, unsupported(`\` + string(r))
	}
	return nil, r, nil
}

// shorthand are the classes of one letter.
func shorthand(r rune) ([]span, bool) {
	var spans []span
	switch unicode.ToLower(r) {
	case 'd':
		spans = tables(unicode.Nd)
	case 'w':
		spans = word()
	case 's':
		spans = tables(unicode.White_Space)
	case 'h':
		spans = hexadecimal()
	default:
		return nil, false
	}
	if unicode.IsUpper(r) {
		spans = complement(spans)
	}
	return spans, r < 128
}

// property reads the name in \p{…}; a ^ before it turns it round, as \P does.
func (p *parser) property(negate bool) ([]span, rune, error) {
	end := strings.IndexByte(p.rest(), '}')
	if end < 0 {
		return nil, -1, errors.New(`\p{ without its }`)
	}
	name := p.rest()[:end]
	p.at += end + 1
	if rest, ok := strings.CutPrefix(name, "^"); ok {
		name, negate = rest, !negate
	}
	spans, err := property(name)
	if negate {
		spans = complement(spans)
	}
	if spans == nil {
		spans = []span{}
	}
	return spans, -1, err
}

// hex reads \xHH or \x{H…}.
func (p *parser) hex() (rune, error) {
	if p.take("{") {
		end := strings.IndexByte(p.rest(), '}')
		if end < 1 || end > 8 {
			return 0, unsupported(`\x{…} with other than one character`)
		}
		r, err := p.code(end, 16, "x{")
		p.at++
		return r, err
	}
	n := 0
	for n < min(2, len(p.rest())) && strings.IndexByte("0123456789abcdefABCDEF", p.rest()[n]) >= 0 {
		n++
	}
	r, err := p.code(n, 16, "x")
	if err == nil && r >= 128 {
		return 0, unsupported(fmt.Sprintf(`\x%X, a byte of a character,`, r))
	}
	return r, err
}

// code reads a number of n digits.
func (p *parser) code(n, base int, what string) (rune, error) {
	if n == 0 && base == 8 {
		return 0, nil
	}
	if n == 0 || n > len(p.rest()) {
		return 0, unsupported(`\` + what + " without its digits")
	}
	v, err := strconv.ParseUint(p.rest()[:n], base, 32)
	if err != nil || v > unicode.MaxRune || v >= 0xd800 && v < 0xe000 {
		return 0, fmt.Errorf(`\%s%s is no character`, what, p.rest()[:n])
	}
	p.at += n
	return rune(v), nil
}
