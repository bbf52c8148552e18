package syntax

import (
	"fmt"
	"strings"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

// tag is one of {{ }}, {% %} and {# #}.
type tag struct {
	open, close string
	block       bool // white space around it can be trimmed without a sign
}

func tagAt(text string) (tag, bool) {
	switch {
	case strings.HasPrefix(text, "{{"):
		return tag{"{{", "}}", false}, true
	case strings.HasPrefix(text, "{%"):
		return tag{"{%", "%}", true}, true
	case strings.HasPrefix(text, "{#"):
		return tag{"{#", "#}", true}, true
	}
	return tag{}, false
}

// lexer walks the source. Jinja's options trim_blocks and lstrip_blocks are on, as transformers sets them: a
// line break after a block vanishes, and so does the white space of a line before one.
type lexer struct {
	text      string
	at        int
	line      int
	lineStart bool // the text that follows begins a line
	plain     bool // neither of these options, and the last line break stays
	tokens    []token
}

// lex turns a template into tokens: text, and what is inside of tags.
func lex(source string, plain bool) ([]token, error) {
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	l := &lexer{text: source, line: 1, lineStart: true, plain: plain}
	if !plain {
		l.text = strings.TrimSuffix(source, "\n")
	}
	for l.at < len(l.text) {
		if err := l.part(); err != nil {
			return nil, err
		}
	}
	l.add(tokEnd, "")
	return l.tokens, nil
}

func (l *lexer) add(kind tokenKind, text string) {
	l.tokens = append(l.tokens, token{kind, text, l.line})
}

// move steps over n bytes.
func (l *lexer) move(n int) {
	l.line += strings.Count(l.text[l.at:l.at+n], "\n")
	l.at += n
}

// part reads text up to a tag, and the tag.
func (l *lexer) part() error {
	rest := l.text[l.at:]
	next := 0
	var g tag
	for {
		i := strings.IndexByte(rest[next:], '{')
		if i < 0 {
			l.literal(rest)
			l.move(len(rest))
			return nil
		}
		next += i
		var ok bool
		if g, ok = tagAt(rest[next:]); ok {
			break
		}
		next++
	}
	before := rest[:next]
	sign := byte(0)
	if next+2 < len(rest) && (rest[next+2] == '-' || rest[next+2] == '+') {
		sign = rest[next+2]
	}
	l.literal(l.trimBefore(before, g, sign))
	l.move(len(before) + len(g.open))
	if sign != 0 {
		l.move(1)
	}
	return l.tag(g)
}

func (l *lexer) literal(text string) {
	if text != "" {
		l.add(tokText, text)
	}
}

// trimBefore is the text before a tag without what the sign or lstrip_blocks take away.
func (l *lexer) trimBefore(text string, g tag, sign byte) string {
	if sign == '-' {
		return strings.TrimRightFunc(text, py.IsSpace)
	}
	if sign == '+' || !g.block || l.plain {
		return text
	}
	start := strings.LastIndexByte(text, '\n') + 1
	if (start > 0 || l.lineStart) && strings.TrimFunc(text[start:], py.IsSpace) == "" {
		return text[:start]
	}
	return text
}

func (l *lexer) tag(g tag) error {
	switch g.open {
	case "{#":
		return l.comment(g)
	case "{%":
		if end, ok := l.raw(); ok {
			return l.rawText(end)
		}
		l.add(tokBlock, g.open)
	default:
		l.add(tokPrint, g.open)
	}
	return l.inside(g)
}

func (l *lexer) comment(g tag) error {
	end := strings.Index(l.text[l.at:], g.close)
	if end < 0 {
		return &Error{l.line, fmt.Errorf("a comment without #}")}
	}
	sign := end > 0 && l.text[l.at+end-1] == '-'
	plus := end > 0 && l.text[l.at+end-1] == '+'
	l.move(end + len(g.close))
	l.trimAfter(g, sign, plus)
	return nil
}

// trimAfter takes away the white space that follows a tag.
func (l *lexer) trimAfter(g tag, minus, plus bool) {
	start := l.at
	switch {
	case minus:
		l.move(len(l.text[l.at:]) - len(strings.TrimLeftFunc(l.text[l.at:], py.IsSpace)))
	case g.block && !plus && !l.plain && strings.HasPrefix(l.text[l.at:], "\n"):
		l.move(1)
	}
	l.lineStart = l.at > start && l.text[l.at-1] == '\n'
}

// raw reports whether the tag is {% raw %}, and where its inside begins.
func (l *lexer) raw() (int, bool) {
	rest := strings.TrimLeftFunc(l.text[l.at:], py.IsSpace)
	if !strings.HasPrefix(rest, "raw") {
		return 0, false
	}
	rest = strings.TrimLeftFunc(rest[len("raw"):], py.IsSpace)
	if !strings.HasPrefix(strings.TrimPrefix(rest, "-"), "%}") {
		return 0, false
	}
	return len(l.text) - len(rest), true
}

// rawText reads up to {% endraw %}; end is where the opening tag ends.
func (l *lexer) rawText(end int) error {
	block := tag{"{%", "%}", true}
	minus := l.text[end] == '-'
	l.move(end - l.at + len("%}"))
	if minus {
		l.move(1)
	}
	l.trimAfter(block, minus, false)
	for at := l.at; ; {
		i := strings.Index(l.text[at:], "{%")
		if i < 0 {
			return &Error{l.line, fmt.Errorf("{%% raw %%} without {%% endraw %%}")}
		}
		at += i
		inside, sign := l.text[at+2:], byte(0)
		if inside != "" && (inside[0] == '-' || inside[0] == '+') {
			inside, sign = inside[1:], inside[0]
		}
		inside, found := strings.CutPrefix(strings.TrimLeftFunc(inside, py.IsSpace), "endraw")
		inside = strings.TrimLeftFunc(inside, py.IsSpace)
		rest, minus := strings.CutPrefix(inside, "-")
		if rest, closed := strings.CutPrefix(rest, "%}"); found && closed {
			l.literal(l.trimBefore(l.text[l.at:at], block, sign))
			l.move(len(l.text) - len(rest) - l.at)
			l.trimAfter(block, minus, false)
			return nil
		}
		at += 2
	}
}
