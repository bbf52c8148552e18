package syntax

// Names says which filters and tests there are.
type Names struct{ Filter, Test func(name string) bool }

// Tree is a template that was read.
type Tree struct {
	Body  []Statement
	Spans bool // there is a {% generation %}
}

// Parse reads a template. Plain leaves white space as it is, where no sign takes it away. An *Error says where the
// template is wrong.
func Parse(source string, plain bool, names Names) (*Tree, error) {
	tokens, err := lex(source, plain)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens, names: names}
	body, err := p.statements()
	if err != nil {
		return nil, err
	}
	if !p.at(tokEnd, "") {
		return nil, p.errorf("unexpected %s", p.peek())
	}
	return &Tree{body, p.spans}, nil
}
