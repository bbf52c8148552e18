package syntax

import (
	"fmt"
	"slices"
	"strconv"
)

// parser reads expressions, from the loosest to the tightest operator as Jinja2's own grammar has them. The
// statements are in statements.go.
type parser struct {
	tokens []token
	pos    int
	depth  int
	loops  int  // loops around, for break and continue
	spans  bool // there is a {% generation %}

	names Names
}

func (p *parser) peek() token { return p.tokens[p.pos] }

func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != tokEnd {
		p.pos++
	}
	return t
}

func (p *parser) at(kind tokenKind, text string) bool {
	t := p.peek()
	return t.kind == kind && (text == "" || t.text == text)
}

func (p *parser) op(text string) bool { return p.at(tokOp, text) }

func (p *parser) name(text string) bool { return p.at(tokName, text) }

// skip steps over a token that is there.
func (p *parser) skip(kind tokenKind, text string) bool {
	if !p.at(kind, text) {
		return false
	}
	p.next()
	return true
}

func (p *parser) expect(kind tokenKind, text, what string) (token, error) {
	if !p.at(kind, text) {
		return token{}, p.errorf("%s is expected, not %s", what, p.peek())
	}
	return p.next(), nil
}

func (p *parser) errorf(format string, args ...any) error {
	return &Error{p.peek().line, fmt.Errorf(format, args...)}
}

// maxNesting bounds expressions and blocks inside one another.
const maxNesting = 100

// enter guards against nesting that would exhaust the stack.
func (p *parser) enter() error {
	if p.depth++; p.depth > maxNesting {
		return p.errorf("nested more than %d deep", maxNesting)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// expression reads `a if b else c`, or anything tighter.
func (p *parser) expression() (Expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	e, err := p.or()
	for err == nil && p.skip(tokName, "if") {
		c := &Conditional{Yes: e}
		if c.Test, err = p.or(); err != nil {
			return nil, err
		}
		if p.skip(tokName, "else") {
			if c.No, err = p.expression(); err != nil {
				return nil, err
			}
		}
		e = c
	}
	return e, err
}

func (p *parser) or() (Expr, error) { return p.logic("or", p.and) }

func (p *parser) and() (Expr, error) { return p.logic("and", p.not) }

func (p *parser) logic(op string, tighter func() (Expr, error)) (Expr, error) {
	e, err := tighter()
	for err == nil && p.skip(tokName, op) {
		var right Expr
		right, err = tighter()
		e = &Logical{op == "or", e, right}
	}
	return e, err
}

func (p *parser) not() (Expr, error) {
	if !p.name("not") {
		return p.compare()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	p.next()
	e, err := p.not()
	return &Negation{e}, err
}

// compare reads chains: a < b < c.
func (p *parser) compare() (Expr, error) {
	e, err := p.binary(sums)
	if err != nil {
		return nil, err
	}
	c := &Comparison{First: e}
	for {
		op := ""
		switch t := p.peek(); {
		case t.kind == tokOp && slices.Contains([]string{"==", "!=", "<", ">", "<=", ">="}, t.text):
			op = t.text
		case p.name("in"):
			op = "in"
		case p.name("not") && p.tokens[p.pos+1].kind == tokName && p.tokens[p.pos+1].text == "in":
			p.next()
			op = "not in"
		}
		if op == "" {
			break
		}
		p.next()
		right, err := p.binary(sums)
		if err != nil {
			return nil, err
		}
		c.Rest = append(c.Rest, Compared{op, right})
	}
	if c.Rest == nil {
		return e, nil
	}
	return c, nil
}

// The levels of binary operators, from loose to tight.
const (
	sums = iota
	concatenations
	products
	powers
)

func operators(level int) []string {
	return [][]string{{"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}}[level]
}

func (p *parser) binary(level int) (Expr, error) {
	tighter := func() (Expr, error) { return p.unary(true) }
	if level < powers {
		tighter = func() (Expr, error) { return p.binary(level + 1) }
	}
	e, err := tighter()
	for err == nil && p.peek().kind == tokOp && slices.Contains(operators(level), p.peek().text) {
		op := p.next()
		var right Expr
		right, err = tighter()
		e = &Operation{op.text, e, right}
	}
	return e, err
}

func (p *parser) unary(filters bool) (Expr, error) {
	var e Expr
	var err error
	if op := p.peek().text; p.op("-") || p.op("+") {
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer p.leave()
		p.next()
		e, err = p.unary(false)
		e = &Sign{op == "-", e}
	} else {
		e, err = p.primary()
	}
	if err == nil {
		e, err = p.postfix(e)
	}
	for filters && err == nil {
		switch {
		case p.op("|"):
			p.next()
			e, err = p.filter(e)
		case p.name("is"):
			e, err = p.test(e)
		case p.op("("):
			e, err = p.call(e)
		default:
			return e, nil
		}
	}
	return e, err
}

func (p *parser) postfix(e Expr) (Expr, error) {
	var err error
	for err == nil {
		switch {
		case p.op("."):
			e, err = p.attribute(e)
		case p.op("["):
			e, err = p.subscript(e)
		case p.op("("):
			e, err = p.call(e)
		default:
			return e, nil
		}
	}
	return nil, err
}

func (p *parser) attribute(e Expr) (Expr, error) {
	p.next()
	switch t := p.next(); t.kind {
	case tokName:
		return &Attribute{e, t.text}, nil
	case tokInt:
		n, err := strconv.ParseInt(t.text, 10, 64)
		return &Item{e, &Constant{n}}, err
	default:
		return nil, p.errorf("a name is expected after the dot, not %s", t)
	}
}

func (p *parser) subscript(e Expr) (Expr, error) {
	p.next()
	s := &Slice{Of: e}
	isSlice := false
	for i, part := range []*Expr{&s.Start, &s.Stop, &s.Step} {
		if !p.op(":") && !p.op("]") {
			var err error
			if *part, err = p.expression(); err != nil {
				return nil, err
			}
		}
		if i == 2 || !p.skip(tokOp, ":") {
			break
		}
		isSlice = true
	}
	if _, err := p.expect(tokOp, "]", "]"); err != nil {
		return nil, err
	}
	if isSlice {
		return s, nil
	}
	if s.Start == nil {
		return nil, p.errorf("an empty [ ]")
	}
	return &Item{e, s.Start}, nil
}

func (p *parser) call(e Expr) (Expr, error) {
	args, err := p.arguments()
	return &Call{e, args}, err
}

// arguments reads ( … ).
func (p *parser) arguments() (Arguments, error) {
	var a Arguments
	p.next()
	for !p.op(")") {
		var err error
		switch {
		case p.op("*") || p.op("**"):
			spread := &a.List
			if p.next().text == "**" {
				spread = &a.Dict
			}
			if *spread != nil {
				return a, p.errorf("arguments unpacked twice")
			}
			*spread, err = p.expression()
		case p.at(tokName, "") && p.tokens[p.pos+1].kind == tokOp && p.tokens[p.pos+1].text == "=":
			named := NamedArgument{Name: p.next().text}
			p.next()
			named.Value, err = p.expression()
			a.Named = append(a.Named, named)
		case len(a.Named) > 0:
			return a, p.errorf("an argument without a name after one with a name")
		default:
			var e Expr
			e, err = p.expression()
			a.Plain = append(a.Plain, e)
		}
		if err != nil {
			return a, err
		}
		if !p.skip(tokOp, ",") {
			break
		}
	}
	_, err := p.expect(tokOp, ")", ")")
	return a, err
}

// filter reads what follows |.
func (p *parser) filter(e Expr) (Expr, error) {
	name, err := p.expect(tokName, "", "a filter's name")
	if err != nil {
		return nil, err
	}
	f := &Filtered{Of: e, Name: name.text}
	if !p.names.Filter(name.text) {
		return nil, &Error{name.line, fmt.Errorf("unknown filter %q", name.text)}
	}
	if p.op("(") {
		f.Args, err = p.arguments()
	}
	return f, err
}

// test reads `is [not] NAME [argument]`.
func (p *parser) test(e Expr) (Expr, error) {
	p.next()
	t := &Tested{Of: e, Negated: p.skip(tokName, "not")}
	name, err := p.expect(tokName, "", "a test's name")
	if err != nil {
		return nil, err
	}
	t.Name = name.text
	if !p.names.Test(t.Name) {
		return nil, &Error{name.line, fmt.Errorf("unknown test %q", t.Name)}
	}
	next := p.peek()
	switch {
	case p.op("("):
		t.Args, err = p.arguments()
	case next.kind == tokString || next.kind == tokInt || next.kind == tokFloat || p.op("[") || p.op("{"),
		next.kind == tokName && !slices.Contains([]string{"else", "or", "and", "is", "if", "not", "in", "recursive"}, next.text):
		var arg Expr
		if arg, err = p.primary(); err == nil {
			arg, err = p.postfix(arg)
		}
		t.Args.Plain = []Expr{arg}
	}
	return t, err
}

func (p *parser) primary() (Expr, error) {
	switch t := p.peek(); t.kind {
	case tokName:
		p.next()
		switch t.text {
		case "true", "True":
			return &Constant{true}, nil
		case "false", "False":
			return &Constant{false}, nil
		case "none", "None":
			return &Constant{nil}, nil
		}
		return &Variable{t.text}, nil
	case tokString:
		text := p.next().text
		for p.at(tokString, "") {
			text += p.next().text
		}
		return &Constant{text}, nil
	case tokInt:
		n, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			return nil, p.errorf("%s: integers have 64 bits here", t.text)
		}
		p.next()
		return &Constant{n}, nil
	case tokFloat:
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			return nil, p.errorf("%s is no number", t.text)
		}
		p.next()
		return &Constant{f}, nil
	}
	switch {
	case p.op("("):
		return p.parenthesis()
	case p.op("["):
		p.next()
		items, _, err := p.items("]")
		return &Listing{Items: items}, err
	case p.op("{"):
		return p.mapping()
	}
	return nil, p.errorf("unexpected %s", p.peek())
}

// items reads expressions up to the closing bracket; comma reports whether there was one.
func (p *parser) items(closing string) (items []Expr, comma bool, err error) {
	for !p.op(closing) {
		e, err := p.expression()
		if err != nil {
			return nil, false, err
		}
		items = append(items, e)
		if !p.skip(tokOp, ",") {
			break
		}
		comma = true
	}
	_, err = p.expect(tokOp, closing, closing)
	return items, comma, err
}

func (p *parser) parenthesis() (Expr, error) {
	p.next()
	items, comma, err := p.items(")")
	if err == nil && len(items) == 1 && !comma {
		return items[0], nil
	}
	return &Listing{items, true}, err
}

func (p *parser) mapping() (Expr, error) {
	p.next()
	m := &Mapping{}
	for !p.op("}") {
		key, err := p.expression()
		if err != nil {
			return nil, err
		}
		if _, err := p.expect(tokOp, ":", ":"); err != nil {
			return nil, err
		}
		value, err := p.expression()
		if err != nil {
			return nil, err
		}
		m.Keys, m.Values = append(m.Keys, key), append(m.Values, value)
		if !p.skip(tokOp, ",") {
			break
		}
	}
	_, err := p.expect(tokOp, "}", "}")
	return m, err
}

// tuple reads `a, b` without brackets; one expression alone is itself.
func (p *parser) tuple(one func() (Expr, error)) (Expr, error) {
	first, err := one()
	if err != nil || !p.op(",") {
		return first, err
	}
	t := &Listing{Items: []Expr{first}, Tuple: true}
	for p.skip(tokOp, ",") && !p.at(tokClose, "") && !p.name("in") && !p.op("=") {
		e, err := one()
		if err != nil {
			return nil, err
		}
		t.Items = append(t.Items, e)
	}
	return t, nil
}
