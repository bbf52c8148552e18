package builtin

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

func upper(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "ß", "SS")) }

func lower(s string) string { return strings.ToLower(strings.ReplaceAll(s, "\u0130", "i\u0307")) }

// title is str.title: a letter after anything but a letter is upper case.
func title(s string) string {
	inWord := false
	return strings.Map(func(c rune) rune {
		was := inWord
		inWord = unicode.IsUpper(c) || unicode.IsLower(c) || unicode.IsTitle(c)
		if was {
			return unicode.ToLower(c)
		}
		return unicode.ToTitle(c)
	}, s)
}

// titleFilter is the filter of that name, which knows other word boundaries.
func titleFilter(s string) string {
	start := true
	return strings.Map(func(c rune) rune {
		was := start
		start = py.IsSpace(c) || strings.ContainsRune("-({[<", c)
		if was {
			return unicode.ToUpper(c)
		}
		return unicode.ToLower(c)
	}, s)
}

func capitalize(s string) string {
	first := true
	return strings.Map(func(c rune) rune {
		if first {
			first = false
			return unicode.ToTitle(c)
		}
		return unicode.ToLower(c)
	}, s)
}

func swapCase(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsUpper(c) {
			return unicode.ToLower(c)
		}
		return unicode.ToUpper(c)
	}, s)
}

// stringTest is isdigit and its like.
func stringTest(name string) (func(s string) bool, bool) {
	every := func(in func(c rune) bool) func(s string) bool {
		return func(s string) bool {
			return s != "" && strings.IndexFunc(s, func(c rune) bool { return !in(c) }) < 0
		}
	}
	cased := func(wrong func(c rune) bool) func(s string) bool {
		return func(s string) bool {
			return strings.IndexFunc(s, func(c rune) bool { return unicode.IsUpper(c) || unicode.IsLower(c) }) >= 0 && strings.IndexFunc(s, wrong) < 0
		}
	}
	switch name {
	case "isdigit", "isdecimal":
		return every(unicode.IsDigit), true
	case "isnumeric":
		return every(unicode.IsNumber), true
	case "isalpha":
		return every(unicode.IsLetter), true
	case "isalnum":
		return every(func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }), true
	case "isspace":
		return every(py.IsSpace), true
	case "isupper":
		return cased(unicode.IsLower), true
	case "islower":
		return cased(unicode.IsUpper), true
	case "isascii":
		return func(s string) bool { return strings.IndexFunc(s, func(c rune) bool { return c > 0x7f }) < 0 }, true
	}
	return nil, false
}

// splitLines is str.splitlines.
func splitLines(s string) []string {
	var lines []string
	start := 0
	for i, c := range s {
		if i < start || !strings.ContainsRune("\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029", c) {
			continue
		}
		lines = append(lines, s[start:i])
		start = i + len(string(c))
		if c == '\r' && strings.HasPrefix(s[start:], "\n") {
			start++
		}
	}
	if start < len(s) {
		lines = append(lines, s[start:])
	}
	return lines
}

// splitBy splits at most times, from the right or from the left; a negative most has no limit.
func splitBy(s, sep string, most int, right bool) []string {
	if most < 0 {
		return strings.Split(s, sep)
	}
	if !right {
		return strings.SplitN(s, sep, min(most, len(s))+1)
	}
	parts := strings.Split(s, sep)
	if extra := len(parts) - 1 - most; extra > 0 {
		head := strings.Join(parts[:extra+1], sep)
		parts = append([]string{head}, parts[extra+1:]...)
	}
	return parts
}

// splitSpace splits at white space, at most so many times; what is left keeps the white space at its far end.
func splitSpace(s string, most int, right bool) []string {
	if most < 0 {
		return strings.FieldsFunc(s, py.IsSpace)
	}
	trim, find := strings.TrimLeftFunc, strings.IndexFunc
	if right {
		trim, find = strings.TrimRightFunc, strings.LastIndexFunc
	}
	var parts []string
	for s = trim(s, py.IsSpace); s != ""; s = trim(s, py.IsSpace) {
		at := find(s, py.IsSpace)
		if at < 0 || len(parts) == most {
			parts = append(parts, s)
			break
		}
		if right {
			_, size := utf8.DecodeRuneInString(s[at:])
			parts, s = append(parts, s[at+size:]), s[:at]
		} else {
			parts, s = append(parts, s[:at]), s[at:]
		}
	}
	if right {
		slices.Reverse(parts)
	}
	return parts
}
