package syntax

// Expr is an expression: one of the types below.
type Expr interface{ expr() }

func (*Constant) expr()    {}
func (*Variable) expr()    {}
func (*BlockText) expr()   {}
func (*Conditional) expr() {}
func (*Logical) expr()     {}
func (*Negation) expr()    {}
func (*Comparison) expr()  {}
func (*Sign) expr()        {}
func (*Listing) expr()     {}
func (*Mapping) expr()     {}
func (*Attribute) expr()   {}
func (*Item) expr()        {}
func (*Call) expr()        {}
func (*Filtered) expr()    {}
func (*Tested) expr()      {}
func (*Operation) expr()   {}
func (*Slice) expr()       {}

// Constant is a literal: nil, bool, int64, float64 or string.
type Constant struct{ Value any }

// Variable is a name.
type Variable struct{ Name string }

// BlockText is what the block around wrote.
type BlockText struct{}

// Conditional is Yes if Test else No; No may be nil.
type Conditional struct{ Yes, Test, No Expr }

// Logical is Left or Right, or Left and Right.
type Logical struct {
	Or          bool
	Left, Right Expr
}

// Negation is not Of.
type Negation struct{ Of Expr }

// Compared is one operator of a comparison and what is right of it.
type Compared struct {
	Op string
	To Expr
}

// Comparison is a chain such as a < b <= c.
type Comparison struct {
	First Expr
	Rest  []Compared
}

// Sign is -Of or +Of.
type Sign struct {
	Minus bool
	Of    Expr
}

// Listing is [a, b], or (a, b) if Tuple.
type Listing struct {
	Items []Expr
	Tuple bool
}

// Mapping is {key: value}.
type Mapping struct{ Keys, Values []Expr }

// Attribute is Of.Name.
type Attribute struct {
	Of   Expr
	Name string
}

// Item is Of[Key].
type Item struct{ Of, Key Expr }

// NamedArgument is name=value in a call.
type NamedArgument struct {
	Name  string
	Value Expr
}

// Arguments are what is between the parentheses of a call.
type Arguments struct {
	Plain      []Expr
	Named      []NamedArgument
	List, Dict Expr // unpacked by * and **; nil: none
}

// Call is Of(Args).
type Call struct {
	Of   Expr
	Args Arguments
}

// Filtered is Of | Name(Args).
type Filtered struct {
	Of   Expr
	Name string
	Args Arguments
}

// Tested is Of is Name(Args), or is not.
type Tested struct {
	Of      Expr
	Name    string
	Negated bool
	Args    Arguments
}

// Operation is Left OP Right: + - ~ * / // % or **.
type Operation struct {
	Op          string
	Left, Right Expr
}

// Slice is Of[Start:Stop:Step]; what is left out is nil.
type Slice struct {
	Of                Expr
	Start, Stop, Step Expr
}
