package jinja

import "slices"

// statements reads text and tags up to the end, or to a block that begins with one of the names in until, which
// stays to be read.
func (p *parser) statements(until ...string) ([]statement, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	var all []statement
	for {
		t := p.peek()
		switch t.kind {
		case tokEnd:
			if until != nil {
				return nil, p.errorf("the template ends before {%% %s %%}", until[len(until)-1])
			}
			return all, nil
		case tokText:
			p.next()
			all = append(all, &text{t.text})
		case tokPrint:
			p.next()
			e, err := p.tuple(p.expression)
			if err == nil {
				err = p.close()
			}
			if err != nil {
				return nil, err
			}
			all = append(all, &output{t.line, e})
		case tokBlock:
			if name := p.tokens[p.pos+1]; name.kind == tokName && slices.Contains(until, name.text) {
				return all, nil
			}
			p.next()
			s, err := p.block(t.line)
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		default:
			return nil, p.errorf("unexpected %s", t)
		}
	}
}

func (p *parser) close() error {
	_, err := p.expect(tokClose, "", "the end of the tag")
	return err
}

// end reads {% NAME %}.
func (p *parser) end(name string) error {
	p.next()
	if _, err := p.expect(tokName, name, name); err != nil {
		return err
	}
	return p.close()
}

// body reads the rest of a tag and what follows up to {% NAME %}.
func (p *parser) body(end string) ([]statement, error) {
	if err := p.close(); err != nil {
		return nil, err
	}
	all, err := p.statements(end)
	if err != nil {
		return nil, err
	}
	return all, p.end(end)
}

func (p *parser) block(line int) (statement, error) {
	name, err := p.expect(tokName, "", "a statement")
	if err != nil {
		return nil, err
	}
	switch name.text {
	case "if":
		return p.ifBlock(line)
	case "for":
		return p.forBlock(line)
	case "set":
		return p.setBlock(line)
	case "macro":
		return p.macroBlock(line)
	case "call":
		return p.callBlock(line)
	case "filter":
		return p.filterBlock(line)
	case "with":
		return p.withBlock(line)
	case "generation":
		p.spans = true
		all, err := p.body("endgeneration")
		return &generation{all}, err
	case "break", "continue":
		if p.loops == 0 {
			return nil, p.errorf("%s outside of a loop", name.text)
		}
		return &jump{name.text == "continue"}, p.close()
	case "include", "import", "from", "extends", "block":
		return nil, &Error{line, errorf("{%% %s %%} has no place in a chat template: it stands alone", name.text)}
	}
	return nil, &Error{line, errorf("unknown statement %q", name.text)}
}

func (p *parser) ifBlock(line int) (statement, error) {
	s := &branches{line: line}
	for {
		test, err := p.tuple(p.or)
		if err == nil {
			err = p.close()
		}
		if err != nil {
			return nil, err
		}
		body, err := p.statements("elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		s.tests, s.bodies = append(s.tests, test), append(s.bodies, body)
		p.next()
		switch p.next().text {
		case "elif":
			continue
		case "else":
			s.otherwise, err = p.body("endif")
			return s, err
		}
		return s, p.close()
	}
}

// targets reads the names that are assigned to: a, or a, b.
func (p *parser) targets() ([]string, error) {
	var names []string
	brackets := p.skip(tokOp, "(")
	for {
		name, err := p.expect(tokName, "", "a name")
		if err != nil {
			return nil, err
		}
		names = append(names, name.text)
		if !p.skip(tokOp, ",") {
			break
		}
	}
	if brackets {
		_, err := p.expect(tokOp, ")", ")")
		return names, err
	}
	return names, nil
}

func (p *parser) forBlock(line int) (statement, error) {
	s := &loop{line: line}
	var err error
	if s.targets, err = p.targets(); err != nil {
		return nil, err
	}
	if _, err := p.expect(tokName, "in", "in"); err != nil {
		return nil, err
	}
	if s.over, err = p.tuple(p.or); err != nil {
		return nil, err
	}
	if p.skip(tokName, "if") {
		if s.test, err = p.expression(); err != nil {
			return nil, err
		}
	}
	s.recursive = p.skip(tokName, "recursive")
	if err := p.close(); err != nil {
		return nil, err
	}
	p.loops++
	s.body, err = p.statements("else", "endfor")
	p.loops--
	if err != nil {
		return nil, err
	}
	p.next()
	if p.next().text == "else" {
		s.otherwise, err = p.body("endfor")
		return s, err
	}
	return s, p.close()
}

func (p *parser) setBlock(line int) (statement, error) {
	s := &assignment{line: line}
	if p.tokens[p.pos+1].kind == tokOp && p.tokens[p.pos+1].text == "." {
		s.namespace = p.next().text
		p.next()
	}
	var err error
	if s.names, err = p.targets(); err != nil {
		return nil, err
	}
	if p.skip(tokOp, "=") {
		if s.value, err = p.tuple(p.expression); err != nil {
			return nil, err
		}
		return s, p.close()
	}
	if s.filters, err = p.filters(); err != nil {
		return nil, err
	}
	s.body, err = p.body("endset")
	return s, err
}

// filters reads | a | b over what a block makes.
func (p *parser) filters() (expr, error) {
	var e expr = &blockText{}
	for p.skip(tokOp, "|") {
		var err error
		if e, err = p.filter(e); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (p *parser) macroBlock(line int) (statement, error) {
	m := &macro{line: line}
	name, err := p.expect(tokName, "", "a macro's name")
	if err != nil {
		return nil, err
	}
	m.name = name.text
	if m.parameters, err = p.parameters(); err != nil {
		return nil, err
	}
	m.body, err = p.inner("endmacro")
	return m, err
}

// inner is the body of something that is called: a loop around it does not count.
func (p *parser) inner(end string) ([]statement, error) {
	loops := p.loops
	p.loops = 0
	defer func() { p.loops = loops }()
	return p.body(end)
}

func (p *parser) parameters() ([]parameter, error) {
	if _, err := p.expect(tokOp, "(", "("); err != nil {
		return nil, err
	}
	var all []parameter
	for !p.op(")") {
		name, err := p.expect(tokName, "", "a parameter")
		if err != nil {
			return nil, err
		}
		one := parameter{name: name.text}
		if p.skip(tokOp, "=") {
			if one.value, err = p.expression(); err != nil {
				return nil, err
			}
		}
		all = append(all, one)
		if !p.skip(tokOp, ",") {
			break
		}
	}
	_, err := p.expect(tokOp, ")", ")")
	return all, err
}

func (p *parser) callBlock(line int) (statement, error) {
	c := &callBlock{line: line, caller: macro{line: line, name: "caller"}}
	var err error
	if p.op("(") {
		if c.caller.parameters, err = p.parameters(); err != nil {
			return nil, err
		}
	}
	e, err := p.unary(false)
	if err != nil {
		return nil, err
	}
	var ok bool
	if c.call, ok = e.(*call); !ok {
		return nil, p.errorf("{%% call %%} wants a call")
	}
	c.caller.body, err = p.inner("endcall")
	return c, err
}

func (p *parser) filterBlock(line int) (statement, error) {
	s := &filterBlock{line: line}
	e, err := p.filter(&blockText{})
	for err == nil && p.skip(tokOp, "|") {
		e, err = p.filter(e)
	}
	if err != nil {
		return nil, err
	}
	s.filters = e
	s.body, err = p.body("endfilter")
	return s, err
}

func (p *parser) withBlock(line int) (statement, error) {
	s := &with{line: line}
	for !p.at(tokClose, "") {
		name, err := p.expect(tokName, "", "a name")
		if err != nil {
			return nil, err
		}
		if _, err := p.expect(tokOp, "=", "="); err != nil {
			return nil, err
		}
		value, err := p.expression()
		if err != nil {
			return nil, err
		}
		s.names, s.values = append(s.names, name.text), append(s.values, value)
		if !p.skip(tokOp, ",") {
			break
		}
	}
	var err error
	s.body, err = p.body("endwith")
	return s, err
}
