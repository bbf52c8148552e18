package eval

import (
	"fmt"
	"strings"
)

// noFilter names the chain of tasks that have none, in results.
const noFilter = "none"

// invalid is what a regex filter gives where nothing matches.
const invalid = "[invalid]"

func filterNames() []string {
	return []string{"regex", "take_first", "remove_whitespace", "lowercase", "uppercase"}
}

// filterChain is a compiled list of filters.
type filterChain struct {
	name  string
	steps []func(string) (string, error)
}

func (t *Task) checkFilters() error {
	_, err := t.filters()
	return err
}

// filters are the chains of a task; there is always one.
func (t *Task) filters() ([]filterChain, error) {
	if len(t.Filters) == 0 {
		return []filterChain{{name: noFilter}}, nil
	}
	var out []filterChain
	for i, rules := range t.Filters {
		if rules.Name == "" {
			return nil, t.fail("filter_list[%d] has no name", i)
		}
		c := filterChain{name: rules.Name}
		for _, step := range rules.Chain {
			f, err := step.compile()
			if err != nil {
				return nil, t.fail("filter %s: %v", rules.Name, err)
			}
			c.steps = append(c.steps, f)
		}
		out = append(out, c)
	}
	return out, nil
}

func (c filterChain) apply(text string) (string, error) {
	var err error
	for _, step := range c.steps {
		if text, err = step(text); err != nil {
			return "", err
		}
	}
	return text, nil
}

func (s FilterStep) compile() (func(string) (string, error), error) {
	plain := func(f func(string) string) func(string) (string, error) {
		return func(text string) (string, error) { return f(text), nil }
	}
	switch s.Function {
	case "take_first": // of one answer
		return plain(func(text string) string { return text }), nil
	case "remove_whitespace":
		return plain(lstrip), nil
	case "lowercase":
		return plain(strings.ToLower), nil
	case "uppercase":
		return plain(strings.ToUpper), nil
	case "regex":
		return s.compileRegex()
	}
	return nil, fmt.Errorf("unknown filter %q: want one of %s", s.Function, strings.Join(filterNames(), ", "))
}

func (s FilterStep) compileRegex() (func(string) (string, error), error) {
	pattern, fallback := s.Pattern, invalid
	if pattern == "" {
		pattern = `#### (\-?[0-9\.\,]+)`
	}
	if s.Fallback != nil {
		fallback = *s.Fallback
	}
	re, err := compileRegex(pattern)
	if err != nil {
		return nil, err
	}
	return func(text string) (string, error) {
		found, err := re.findAll(text)
		if err != nil {
			return "", err
		}
		at := s.Group // of the matches; below 0: from the end
		if at < 0 {
			at += len(found)
		}
		if at < 0 || at >= len(found) {
			return fallback, nil
		}
		for _, group := range found[at] {
			if group != "" {
				return strip(group), nil
			}
		}
		return "", nil
	}, nil
}
