package eval

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// The harness is Python, and its numbers hang on what Python's str methods do:
// these do the same.

// isSpace is str.isspace for one character.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }

func strip(s string) string  { return strings.TrimFunc(s, isSpace) }
func lstrip(s string) string { return strings.TrimLeftFunc(s, isSpace) }
func rstrip(s string) string { return strings.TrimRightFunc(s, isSpace) }

// capitalize is str.capitalize: the first character in title case, the rest in
// lower case.
func capitalize(s string) string {
	if s == "" {
		return s
	}
	_, n := utf8.DecodeRuneInString(s)
	lower := cases.Lower(language.Und, cases.HandleFinalSigma(true))
	title := cases.Title(language.Und, cases.NoLower)
	return title.String(s[:n]) + lower.String(s)[len(lower.String(s[:n])):]
}

// countWords is len(re.split(r"\s+", s)): one more than there are runs of
// white space, also where the text begins or ends with one.
func countWords(s string) int {
	n, inside := 1, false
	for _, r := range s {
		space := isSpace(r)
		if space && !inside {
			n++
		}
		inside = space
	}
	return n
}

// isDigits is str.isdigit for the text of a number.
func isDigits(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// characters is len(s) in Python.
func characters(s string) int { return utf8.RuneCountInString(s) }
