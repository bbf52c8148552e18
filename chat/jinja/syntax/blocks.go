package syntax

// Statement is a part of a template that writes or assigns: one of the types below.
type Statement interface{ statement() }

func (*Text) statement()        {}
func (*Output) statement()      {}
func (*Branches) statement()    {}
func (*Assignment) statement()  {}
func (*Generation) statement()  {}
func (*Jump) statement()        {}
func (*FilterBlock) statement() {}
func (*With) statement()        {}
func (*Macro) statement()       {}
func (*CallBlock) statement()   {}
func (*Loop) statement()        {}

// Text is written as it stands.
type Text struct{ Text string }

// Output is {{ Of }}.
type Output struct {
	Line int
	Of   Expr
}

// Branches is {% if %}: the body of the first test that holds, else Otherwise.
type Branches struct {
	Line      int
	Tests     []Expr
	Bodies    [][]Statement
	Otherwise []Statement
}

// Assignment is {% set %} of names, or of one attribute of a namespace, to a value or to what a block writes.
type Assignment struct {
	Line      int
	Namespace string
	Names     []string
	Value     Expr
	Body      []Statement // instead of a value
	Filters   Expr
}

// Generation is {% generation %}: a part that the model writes.
type Generation struct{ Body []Statement }

// Jump is {% break %}, or {% continue %} if Again.
type Jump struct{ Again bool }

// FilterBlock is {% filter %} over what its body writes; Filters begin with a BlockText.
type FilterBlock struct {
	Line    int
	Filters Expr
	Body    []Statement
}

// With is {% with %}: names that only the body sees.
type With struct {
	Line   int
	Names  []string
	Values []Expr
	Body   []Statement
}

// Parameter is one of a macro, perhaps with a value where none is given.
type Parameter struct {
	Name  string
	Value Expr // nil: undefined
}

// Macro is {% macro %}, or the body of a {% call %}.
type Macro struct {
	Name       string
	Parameters []Parameter
	Body       []Statement
}

// CallBlock is {% call %}: a call that is given its body as the macro caller.
type CallBlock struct {
	Line   int
	Call   *Call
	Caller Macro
}

// Loop is {% for %}; Otherwise runs if there are no items.
type Loop struct {
	Line      int
	Targets   []string
	Over      Expr
	Test      Expr // nil: every item
	Body      []Statement
	Otherwise []Statement
	Recursive bool
}
