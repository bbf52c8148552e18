package onig

import (
	"errors"
	"fmt"
	"strings"
)

// group reads what follows a (.
func (p *parser) group() (node, error) {
	kind := func(prefix string) bool { return p.take(prefix) }
	switch {
	case kind("?:"):
		return p.body(func(n node) node { return n })
	case kind("?>"):
		return p.body(func(n node) node { return atomic{n} })
	case kind("?="):
		return p.body(func(n node) node { return look{body: n} })
	case kind("?!"):
		return p.body(func(n node) node { return look{body: n, negate: true} })
	case kind("?<="):
		return p.behind(false)
	case kind("?<!"):
		return p.behind(true)
	case kind("?<"), kind("?'"):
		end := strings.IndexAny(p.rest(), ">'")
		if end <= 0 {
			return nil, errors.New("a group's name has no end")
		}
		p.at += end + 1
	case kind("?~"):
		return nil, unsupported("(?~…), the absent operator")
	case kind("?("):
		return nil, unsupported("(?(…)…), a condition")
	case kind("?{"), kind("*"):
		return nil, unsupported("a callout")
	case kind("?"):
		return p.options()
	}
	return p.body(func(n node) node { return n }) // a group that captures is a group: nothing asks for it
}

// body reads up to the ) of a group, whose options end with it.
func (p *parser) body(make func(node) node) (node, error) {
	fold, dot, extended := p.fold, p.dot, p.extended
	n, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	p.fold, p.dot, p.extended = fold, dot, extended
	if !p.take(")") {
		return nil, errors.New("a ( without its )")
	}
	return make(n), nil
}

// behind reads (?<=…) or (?<!…): alternatives of a fixed length each.
func (p *parser) behind(negate bool) (node, error) {
	n, err := p.body(func(n node) node { return n })
	if err != nil {
		return nil, err
	}
	parts := []node{n}
	if a, ok := n.(alt); ok {
		parts = a.parts
	}
	for _, part := range parts {
		if _, ok := length(part); !ok {
			return nil, unsupported("(?<=…) over texts of different lengths")
		}
	}
	return look{body: alt{parts}, behind: true, negate: negate}, nil
}

// options reads (?imx-imx) or (?imx-imx:…); those without a body hold up to the end of the group around them,
// alternatives included.
func (p *parser) options() (node, error) {
	fold, dot, extended := p.fold, p.dot, p.extended
	on := true
	for p.at < len(p.text) {
		switch r := p.next(); r {
		case '-':
			on = false
		case 'i':
			fold = on
		case 'm':
			dot = on
		case 'x':
			extended = on
		case ':', ')':
			before := *p
			p.fold, p.dot, p.extended = fold, dot, extended
			n, err := p.alternatives()
			p.fold, p.dot, p.extended = before.fold, before.dot, before.extended
			if err == nil && r == ':' && !p.take(")") {
				err = errors.New("a ( without its )")
			}
			return n, err
		default:
			return nil, unsupported(fmt.Sprintf("(?%c)", r))
		}
	}
	return nil, errors.New("options have no end")
}
