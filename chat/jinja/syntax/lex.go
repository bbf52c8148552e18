package syntax

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

type tokenKind int

const (
	tokEnd    tokenKind = iota
	tokText             // between tags
	tokPrint            // {{
	tokBlock            // {%
	tokClose            // }} or %}
	tokName             // also keywords
	tokString           // without quotes, escapes read
	tokInt
	tokFloat
	tokOp
)

type token struct {
	kind tokenKind
	text string
	line int
}

func (t token) String() string {
	switch t.kind {
	case tokEnd:
		return "end of the template"
	case tokText:
		return "text"
	}
	return strconv.Quote(t.text)
}

// inside reads the tokens of a tag up to its end; braces inside may hide an end.
func (l *lexer) inside(g tag) error {
	depth := 0
	for l.at < len(l.text) {
		rest := l.text[l.at:]
		if depth == 0 {
			if n, minus, plus := closes(rest, g); n > 0 {
				l.add(tokClose, g.close)
				l.move(n)
				l.trimAfter(g, minus, plus)
				return nil
			}
		}
		if n := len(rest) - len(strings.TrimLeftFunc(rest, py.IsSpace)); n > 0 {
			l.move(n)
			continue
		}
		n, err := l.token(rest)
		if err != nil {
			return &Error{l.line, err}
		}
		switch rest[0] {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		}
		if depth < 0 {
			return &Error{l.line, fmt.Errorf("unexpected %q", rest[:1])}
		}
		l.move(n)
	}
	return &Error{l.line, fmt.Errorf("%s without %s", g.open, g.close)}
}

// closes is the length of the end of the tag at the head of text, and its sign.
func closes(text string, g tag) (n int, minus, plus bool) {
	switch {
	case strings.HasPrefix(text, g.close):
		return len(g.close), false, false
	case strings.HasPrefix(text, "-"+g.close):
		return 1 + len(g.close), true, false
	case g.block && strings.HasPrefix(text, "+"+g.close):
		return 1 + len(g.close), false, true
	}
	return 0, false, false
}

// token adds the token at the head of text and returns its length there.
func (l *lexer) token(text string) (int, error) {
	r, size := utf8.DecodeRuneInString(text)
	switch {
	case r == '\'' || r == '"':
		return l.str(text)
	case r >= '0' && r <= '9':
		return l.number(text)
	case r == '_' || unicode.IsLetter(r):
		n := size
		for n < len(text) {
			r, size := utf8.DecodeRuneInString(text[n:])
			if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r) {
				break
			}
			n += size
		}
		l.add(tokName, text[:n])
		return n, nil
	}
	if len(text) > 1 {
		switch text[:2] {
		case "**", "//", "==", "!=", "<=", ">=":
			l.add(tokOp, text[:2])
			return 2, nil
		}
	}
	if !strings.ContainsRune("+-/*%~[](){}<>=.:|,;", r) {
		return 0, fmt.Errorf("unexpected character %q", r)
	}
	l.add(tokOp, text[:size])
	return size, nil
}

func (l *lexer) number(text string) (int, error) {
	digits := func(n int) int {
		for n < len(text) && (text[n] >= '0' && text[n] <= '9' || text[n] == '_') {
			n++
		}
		return n
	}
	n := digits(0)
	kind := tokInt
	if n+1 < len(text) && text[n] == '.' && text[n+1] >= '0' && text[n+1] <= '9' {
		kind, n = tokFloat, digits(n+1)
	}
	if n < len(text) && (text[n] == 'e' || text[n] == 'E') {
		m := n + 1
		if m < len(text) && (text[m] == '+' || text[m] == '-') {
			m++
		}
		if end := digits(m); end > m {
			kind, n = tokFloat, end
		}
	}
	l.add(kind, strings.ReplaceAll(text[:n], "_", ""))
	return n, nil
}

// str reads a string with Python's escapes.
func (l *lexer) str(text string) (int, error) {
	var out strings.Builder
	for i := 1; i < len(text); {
		switch c := text[i]; c {
		case text[0]:
			l.add(tokString, out.String())
			return i + 1, nil
		case '\\':
			n, err := unescape(&out, text[i:])
			if err != nil {
				return 0, err
			}
			i += n
		default:
			out.WriteByte(c)
			i++
		}
	}
	return 0, fmt.Errorf("a string without its closing %s", text[:1])
}

// unescape writes what the escape at the head of text stands for and returns its length.
func unescape(out *strings.Builder, text string) (int, error) {
	if len(text) < 2 {
		return 0, fmt.Errorf("a string without its closing quote")
	}
	const names, values = "abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\""
	if i := strings.IndexByte(names, text[1]); i >= 0 {
		out.WriteByte(values[i])
		return 2, nil
	}
	var length int
	switch c := text[1]; {
	case c == '\n':
		return 2, nil
	case c == 'x':
		length = 2
	case c == 'u':
		length = 4
	case c == 'U':
		length = 8
	case c >= '0' && c <= '7':
		n := 1
		for n < 4 && n < len(text) && text[n] >= '0' && text[n] <= '7' {
			n++
		}
		v, err := strconv.ParseUint(text[1:n], 8, 32)
		out.WriteRune(rune(v))
		return n, err
	default: // Python leaves an escape it does not know as it is
		out.WriteByte('\\')
		return 1, nil
	}
	if len(text) < 2+length {
		return 0, fmt.Errorf("an escape %s that is cut off", text[:2])
	}
	v, err := strconv.ParseUint(text[2:2+length], 16, 32)
	if err != nil || v > unicode.MaxRune {
		return 0, fmt.Errorf("an escape %s that is no character", text[:2+length])
	}
	out.WriteRune(rune(v))
	return 2 + length, nil
}
