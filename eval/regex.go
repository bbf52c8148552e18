package eval

import (
	"fmt"
	"time"

	"github.com/dlclark/regexp2"
)

// regex is a Python pattern. regexp2 has Python's syntax and order of
// preference, and \s, \d and \w know all of Unicode, as there.
type regex struct{ re *regexp2.Regexp }

// matchTimeout ends patterns that backtrack without end.
const matchTimeout = 10 * time.Second

func compileRegex(source string) (regex, error) {
	re, err := regexp2.Compile(source, regexp2.None)
	if err != nil {
		return regex{}, fmt.Errorf("regular expression %q: %w", source, err)
	}
	re.MatchTimeout = matchTimeout
	return regex{re}, nil
}

// replace is re.sub with a replacement whose groups are written \1.
func (r regex) replace(s, replacement string) string {
	out, err := r.re.ReplaceFunc(s, func(m regexp2.Match) string { return expand(m, replacement) }, -1, -1)
	if err != nil { // a timeout
		return s
	}
	return out
}

func expand(m regexp2.Match, replacement string) string {
	var out []byte
	for i := 0; i < len(replacement); i++ {
		if c := replacement[i]; c != '\\' || i+1 == len(replacement) {
			out = append(out, c)
			continue
		}
		i++
		if d := replacement[i]; d >= '0' && d <= '9' {
			if g := m.GroupByNumber(int(d - '0')); g != nil {
				out = append(out, g.String()...)
			}
			continue
		}
		if replacement[i] == 'n' {
			out = append(out, '\n')
			continue
		}
		out = append(out, replacement[i])
	}
	return string(out)
}

// findAll is re.findall: of every match the whole, the only group, or all groups.
func (r regex) findAll(s string) (out [][]string, err error) {
	m, err := r.re.FindStringMatch(s)
	for ; m != nil && err == nil; m, err = r.re.FindNextMatch(m) {
		groups := m.Groups()
		if len(groups) > 1 {
			groups = groups[1:]
		}
		var found []string
		for _, g := range groups {
			found = append(found, g.String())
		}
		out = append(out, found)
	}
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", r.re.String(), err)
	}
	return out, nil
}
