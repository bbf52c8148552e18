package onig

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// class reads what follows a [.
func (p *parser) class() (node, error) {
	spans, negate, err := p.classBody()
	if err != nil {
		return nil, err
	}
	if p.fold {
		if !negate && len(intersection(spans, unfolds())) > 0 {
			return nil, unsupported("(?i) with a class that holds characters which fold to more than one")
		}
		spans = folded(spans)
	}
	if negate {
		spans = complement(spans)
	}
	return chars{newSet(spans)}, nil
}

// classBody reads a class up to its ].
func (p *parser) classBody() (spans []span, negate bool, err error) {
	if err := p.enter(); err != nil {
		return nil, false, err
	}
	defer p.leave()
	negate = p.take("^")
	var all []span // what the parts before && share
	parts := 0
	for first := true; ; first = false {
		switch {
		case p.at == len(p.text):
			return nil, false, errors.New("a [ without its ]")
		case !first && p.take("]"):
			spans = merged(spans)
			if parts > 0 {
				spans = intersection(all, spans)
			}
			return spans, negate, nil
		case p.take("&&"):
			spans = merged(spans)
			if parts > 0 {
				spans = intersection(all, spans)
			}
			all, spans = spans, nil
			parts++
			continue
		}
		more, err := p.element()
		if err != nil {
			return nil, false, err
		}
		spans = append(spans, more...)
	}
}

// element reads a class inside a class, a range or a character.
func (p *parser) element() ([]span, error) {
	if p.take("[") {
		return p.inner()
	}
	spans, low, err := p.one()
	if err != nil || spans != nil {
		if err == nil && strings.HasPrefix(p.rest(), "-") && !strings.HasPrefix(p.rest(), "-]") {
			err = errors.New("a range from a class")
		}
		return spans, err
	}
	rest := p.rest()
	if !strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "-]") || strings.HasPrefix(rest, "-&&") || len(rest) < 2 {
		return []span{{low, low}}, nil
	}
	p.at++
	if strings.HasPrefix(p.rest(), "[") {
		return nil, errors.New("a range up to a class")
	}
	spans, high, err := p.one()
	switch {
	case err != nil:
		return nil, err
	case spans != nil:
		return nil, errors.New("a range up to a class")
	case high < low:
		return nil, fmt.Errorf("the range %q-%q is empty", low, high)
	}
	if strings.HasPrefix(p.rest(), "-") && !strings.HasPrefix(p.rest(), "-]") {
		p.at++ // a - after a range stands for itself
		return []span{{low, high}, {'-', '-'}}, nil
	}
	return []span{{low, high}}, nil
}

// one reads a character or an escape in a class.
func (p *parser) one() ([]span, rune, error) {
	r := p.next()
	if r != '\\' {
		return nil, r, nil
	}
	if p.take("b") {
		return nil, '\b', nil
	}
	if p.at == len(p.text) {
		return nil, -1, errors.New(`a \ at the end`)
	}
	return p.character()
}

// inner reads [:name:] or a class.
func (p *parser) inner() ([]span, error) {
	if name, _, ok := strings.Cut(p.rest(), ":]"); ok && strings.HasPrefix(name, ":") && strings.Trim(name[1:], "^abcdefghijklmnopqrstuvwxyz") == "" {
		name = name[1:]
		bare, negate := strings.CutPrefix(name, "^")
		spans, ok := posix(bare)
		if bare == "punct" { // since Oniguruma 6.9.10, and unlike \p{Punct}
			spans = merged(append(spans, tables(unicode.S)...))
		}
		if bare == "ascii" {
			spans, ok = []span{{0, 127}}, true
		}
		if !ok {
			return nil, unsupported("[:" + name + ":]")
		}
		p.at += len(name) + 3
		if negate {
			spans = complement(spans)
		}
		return spans, nil
	}
	spans, negate, err := p.classBody()
	if negate {
		spans = complement(spans)
	}
	if spans == nil {
		spans = []span{}
	}
	return spans, err
}
