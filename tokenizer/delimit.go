package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coppice-ml/coppice/tokenizer/onig"
)

// matcher finds delimiters. It visits consecutive parts that cover the text, delimiters and what lies between
// them; parts may be empty, and an empty delimiter parts what stands on either side.
type matcher interface {
	// any reports whether there may be a delimiter; most words have none.
	any(text string) bool
	each(text string, visit func(from, to int, delimiter bool))
	least() int // bytes of the shortest delimiter
}

// behavior says what becomes of delimiters; the names are those of tokenizer.json.
type behavior string

const (
	removed            behavior = "Removed"
	isolated           behavior = "Isolated"
	mergedWithPrevious behavior = "MergedWithPrevious"
	mergedWithNext     behavior = "MergedWithNext"
	contiguous         behavior = "Contiguous"
)

func (b behavior) check(stage string) error {
	switch b {
	case removed, isolated, mergedWithPrevious, mergedWithNext, contiguous:
		return nil
	}
	return unsupported(stage, fmt.Sprintf("with behavior %q", b), string(removed), string(isolated), string(mergedWithPrevious), string(mergedWithNext), string(contiguous))
}

// delimited cuts text at delimiters.
type delimited struct {
	find   matcher
	how    behavior
	invert bool // what lies between the matches are the delimiters
}

func (d *delimited) split(text string, _ bool, yield func(string)) {
	if !d.find.any(text) {
		if text != "" && !(d.invert && d.how == removed) {
			yield(text)
		}
		return
	}
	start, end := 0, 0         // the piece that is still open
	was, begun := false, false // whether the part before was a delimiter, and whether there was one
	flush := func() {
		if start < end {
			yield(text[start:end])
		}
		start = end
	}
	d.find.each(text, func(from, to int, delimiter bool) {
		if from == to && !delimiter {
			return
		}
		delimiter = delimiter != d.invert
		switch {
		case d.how == removed && delimiter:
			flush()
			start = to
		case begun && d.joins(was, delimiter):
		default:
			flush()
		}
		end = to
		was, begun = delimiter, true
	})
	flush()
}

// joins reports whether a part belongs to the piece of the part before it.
func (d *delimited) joins(was, is bool) bool {
	switch d.how {
	case mergedWithPrevious:
		return is && !was
	case mergedWithNext:
		return was && !is
	case contiguous:
		return was == is
	}
	return false
}

// characters matches single characters.
type characters struct {
	in func(r rune) bool
}

func (c characters) any(text string) bool { return strings.IndexFunc(text, c.in) >= 0 }

func (c characters) each(text string, visit func(from, to int, delimiter bool)) {
	start := 0
	for i := 0; i < len(text); {
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[i:])
		}
		if c.in(r) {
			visit(start, i, false)
			visit(i, i+n, true)
			start = i + n
		}
		i += n
	}
	visit(start, len(text), false)
}

// isPunctuation is what tokenizer.json's Punctuation means: ASCII's signs and Unicode's category P.
func isPunctuation(r rune) bool {
	if r < utf8.RuneSelf {
		return r > ' ' && r < 0x7f && !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z')
	}
	return unicode.Is(unicode.P, r)
}

// isDigit is what Digits means: every number, also fractions and superscripts.
func isDigit(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= '0' && r <= '9'
	}
	return unicode.Is(unicode.N, r)
}

// literal matches a string.
type literal string

func (l literal) any(text string) bool { return strings.Contains(text, string(l)) }

func (l literal) each(text string, visit func(from, to int, delimiter bool)) {
	start := 0
	for {
		at := strings.Index(text[start:], string(l))
		if at < 0 || l == "" {
			break
		}
		at += start
		visit(start, at, false)
		visit(at, at+len(l), true)
		start = at + len(l)
	}
	visit(start, len(text), false)
}

// patternThreeDigits is Falcon's; threeDigits is its matcher.
const patternThreeDigits = "[0-9][0-9][0-9]"

type threeDigits struct{}

func (threeDigits) any(text string) bool {
	return len(text) >= 3 && strings.ContainsAny(text, "0123456789")
}

func (threeDigits) each(text string, visit func(from, to int, delimiter bool)) {
	start, run := 0, 0
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			run = 0
			continue
		}
		if run++; run == 3 {
			visit(start, i-2, false)
			visit(i-2, i+1, true)
			start, run = i+1, 0
		}
	}
	visit(start, len(text), false)
}

// expression runs a pattern that nobody wrote a splitter for.
type expression struct {
	re *onig.Regexp
}

func newExpression(stage, pattern string) (matcher, error) {
	re, err := onig.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: pattern %.200q: %w (%w)", stage, pattern, ErrUnsupported, err)
	}
	return expression{re}, nil
}

func (e expression) any(text string) bool { return text != "" }

func (e expression) each(text string, visit func(from, to int, delimiter bool)) {
	last := 0
	e.re.Each(text, func(from, to int) {
		visit(last, from, false)
		visit(from, to, true)
		last = to
	})
	visit(last, len(text), false)
}
