package syntax

import (
	"fmt"
	"slices"
)

// statements reads text and tags up to the end, or to a block that begins with one of the names in until, which
// stays to be read.
func (p *parser) statements(until ...string) ([]Statement, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	var all []Statement
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
			all = append(all, &Text{t.text})
		case tokPrint:
			p.next()
			e, err := p.tuple(p.expression)
			if err == nil {
				err = p.close()
			}
			if err != nil {
				return nil, err
			}
			all = append(all, &Output{t.line, e})
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
func (p *parser) body(end string) ([]Statement, error) {
	if err := p.close(); err != nil {
		return nil, err
	}
	all, err := p.statements(end)
	if err != nil {
		return nil, err
	}
	return all, p.end(end)
}

func (p *parser) block(line int) (Statement, error) {
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
		return p.macroBlock()
	case "call":
		return p.callBlock(line)
	case "filter":
		return p.filterBlock(line)
	case "with":
		return p.withBlock(line)
	case "generation":
		p.spans = true
		all, err := p.body("endgeneration")
		return &Generation{all}, err
	case "break", "continue":
		if p.loops == 0 {
			return nil, p.errorf("%s outside of a loop", name.text)
		}
		return &Jump{name.text == "continue"}, p.close()
	case "include", "import", "from", "extends", "block":
		return nil, &Error{line, fmt.Errorf("{%% %s %%} has no place in a chat template: it stands alone", name.text)}
	}
	return nil, &Error{line, fmt.Errorf("unknown statement %q", name.text)}
}

func (p *parser) ifBlock(line int) (Statement, error) {
	s := &Branches{Line: line}
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
		s.Tests, s.Bodies = append(s.Tests, test), append(s.Bodies, body)
		p.next()
		switch p.next().text {
		case "elif":
			continue
		case "else":
			s.Otherwise, err = p.body("endif")
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

func (p *parser) forBlock(line int) (Statement, error) {
	s := &Loop{Line: line}
	var err error
	if s.Targets, err = p.targets(); err != nil {
		return nil, err
	}
	if _, err := p.expect(tokName, "in", "in"); err != nil {
		return nil, err
	}
	if s.Over, err = p.tuple(p.or); err != nil {
		return nil, err
	}
	if p.skip(tokName, "if") {
		if s.Test, err = p.expression(); err != nil {
			return nil, err
		}
	}
	s.Recursive = p.skip(tokName, "recursive")
	if err := p.close(); err != nil {
		return nil, err
	}
	p.loops++
	s.Body, err = p.statements("else", "endfor")
	p.loops--
	if err != nil {
		return nil, err
	}
	p.next()
	if p.next().text == "else" {
		s.Otherwise, err = p.body("endfor")
		return s, err
	}
	return s, p.close()
}

func (p *parser) setBlock(line int) (Statement, error) {
	s := &Assignment{Line: line}
	if p.tokens[p.pos+1].kind == tokOp && p.tokens[p.pos+1].text == "." {
		s.Namespace = p.next().text
		p.next()
	}
	var err error
	if s.Names, err = p.targets(); err != nil {
		return nil, err
	}
	if p.skip(tokOp, "=") {
		if s.Value, err = p.tuple(p.expression); err != nil {
			return nil, err
		}
		return s, p.close()
	}
	if s.Filters, err = p.filters(); err != nil {
		return nil, err
	}
	s.Body, err = p.body("endset")
	return s, err
}

// filters reads | a | b over what a block makes.
func (p *parser) filters() (Expr, error) {
	var e Expr = &BlockText{}
	for p.skip(tokOp, "|") {
		var err error
		if e, err = p.filter(e); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (p *parser) macroBlock() (Statement, error) {
	m := &Macro{}
	name, err := p.expect(tokName, "", "a macro's name")
	if err != nil {
		return nil, err
	}
	m.Name = name.text
	if m.Parameters, err = p.parameters(); err != nil {
		return nil, err
	}
	m.Body, err = p.inner("endmacro")
	return m, err
}

// inner is the body of something that is called: a loop around it does not count.
func (p *parser) inner(end string) ([]Statement, error) {
	loops := p.loops
	p.loops = 0
	defer func() { p.loops = loops }()
	return p.body(end)
}

func (p *parser) parameters() ([]Parameter, error) {
	if _, err := p.expect(tokOp, "(", "("); err != nil {
		return nil, err
	}
	var all []Parameter
	for !p.op(")") {
		name, err := p.expect(tokName, "", "a parameter")
		if err != nil {
			return nil, err
		}
		one := Parameter{Name: name.text}
		if p.skip(tokOp, "=") {
			if one.Value, err = p.expression(); err != nil {
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

func (p *parser) callBlock(line int) (Statement, error) {
	c := &CallBlock{Line: line, Caller: Macro{Name: "caller"}}
	var err error
	if p.op("(") {
		if c.Caller.Parameters, err = p.parameters(); err != nil {
			return nil, err
		}
	}
	e, err := p.unary(false)
	if err != nil {
		return nil, err
	}
	var ok bool
	if c.Call, ok = e.(*Call); !ok {
		return nil, p.errorf("{%% call %%} wants a call")
	}
	c.Caller.Body, err = p.inner("endcall")
	return c, err
}

func (p *parser) filterBlock(line int) (Statement, error) {
	s := &FilterBlock{Line: line}
	e, err := p.filter(&BlockText{})
	for err == nil && p.skip(tokOp, "|") {
		e, err = p.filter(e)
	}
	if err != nil {
		return nil, err
	}
	s.Filters = e
	s.Body, err = p.body("endfilter")
	return s, err
}

func (p *parser) withBlock(line int) (Statement, error) {
	s := &With{Line: line}
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
		s.Names, s.Values = append(s.Names, name.text), append(s.Values, value)
		if !p.skip(tokOp, ",") {
			break
		}
	}
	var err error
	s.Body, err = p.body("endwith")
	return s, err
}
