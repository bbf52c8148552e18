package jinja

import "errors"

// statement is a part of a template that writes or assigns.
type statement interface {
	exec(r *run) error
}

var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)

func (r *run) exec(body []statement) error {
	for _, s := range body {
		if err := r.step(1); err != nil {
			return err
		}
		if err := s.exec(r); err != nil {
			return err
		}
	}
	return nil
}

// at adds the line to an error that has none.
func at(line int, err error) error {
	var have *Error
	if err == nil || errors.As(err, &have) || errors.Is(err, errBreak) || errors.Is(err, errContinue) {
		return err
	}
	return &Error{line, err}
}

type text struct{ text string }

func (s *text) exec(r *run) error { return r.write(s.text) }

type output struct {
	line int
	of   expr
}

func (s *output) exec(r *run) error {
	v, err := s.of.eval(r)
	return at(s.line, r.print(v, err))
}

// print writes str(v), unless making v failed.
func (r *run) print(v any, err error) error {
	if err != nil {
		return err
	}
	text, err := r.str(v)
	if err != nil {
		return err
	}
	return r.write(text)
}

type branches struct {
	line      int
	tests     []expr
	bodies    [][]statement
	otherwise []statement
}

func (s *branches) exec(r *run) error {
	for i, test := range s.tests {
		v, err := test.eval(r)
		if err != nil {
			return at(s.line, err)
		}
		if truth(v) {
			return r.exec(s.bodies[i])
		}
	}
	return r.exec(s.otherwise)
}

type assignment struct {
	line      int
	namespace string
	names     []string
	value     expr
	body      []statement // instead of a value
	filters   expr
}

func (s *assignment) exec(r *run) error {
	v, err := s.compute(r)
	if err != nil {
		return at(s.line, err)
	}
	if s.namespace == "" {
		return at(s.line, r.assign(s.names, v))
	}
	ns, ok := r.scope.get(s.namespace).(*namespace)
	if !ok || len(s.names) != 1 {
		return at(s.line, errorf("cannot assign attribute on non-namespace object"))
	}
	ns.vars[s.names[0]] = v
	return nil
}

func (s *assignment) compute(r *run) (any, error) {
	if s.value != nil {
		return s.value.eval(r)
	}
	return r.filteredBlock(s.body, s.filters)
}

// filteredBlock runs a block in a scope of its own and filters what it writes.
func (r *run) filteredBlock(body []statement, filters expr) (any, error) {
	written, err := r.captured(func() error {
		return r.inside(r.scope, func() error { return r.exec(body) })
	})
	if err != nil {
		return nil, err
	}
	outer := r.block
	r.block = written
	defer func() { r.block = outer }()
	return filters.eval(r)
}

// assign sets names, several to the items of a value.
func (r *run) assign(names []string, v any) error {
	if len(names) == 1 {
		r.scope.set(names[0], v)
		return nil
	}
	items, err := r.iterate(v)
	if err != nil {
		return err
	}
	if len(items) != len(names) {
		return errorf("%d values cannot be assigned to %d names", len(items), len(names))
	}
	for i, name := range names {
		r.scope.set(name, items[i])
	}
	return nil
}

type generation struct{ body []statement }

// exec notes where in the output the part lies; inside of something put aside that is unknown.
func (s *generation) exec(r *run) error {
	start := r.out.Len()
	if err := r.exec(s.body); err != nil {
		return err
	}
	if r.capture == 0 && r.out.Len() > start {
		r.spans = append(r.spans, Span{start, r.out.Len()})
	}
	return nil
}

type jump struct{ again bool }

func (s *jump) exec(*run) error {
	if s.again {
		return errContinue
	}
	return errBreak
}

type filterBlock struct {
	line    int
	filters expr
	body    []statement
}

func (s *filterBlock) exec(r *run) error {
	v, err := r.filteredBlock(s.body, s.filters)
	return at(s.line, r.print(v, err))
}

type with struct {
	line   int
	names  []string
	values []expr
	body   []statement
}

func (s *with) exec(r *run) error {
	values, err := evalAll(r, s.values)
	if err != nil {
		return at(s.line, err)
	}
	return r.inside(r.scope, func() error {
		for i, name := range s.names {
			r.scope.set(name, values[i])
		}
		return r.exec(s.body)
	})
}

type parameter struct {
	name  string
	value expr // nil: undefined
}

type macro struct {
	line       int
	name       string
	parameters []parameter
	body       []statement
}

func (s *macro) exec(r *run) error {
	r.scope.set(s.name, s.function(r.scope))
	return nil
}

// function is the macro bound to the scope it stands in.
func (s *macro) function(outer *scope) *function {
	return &function{s.name, func(r *run, a args) (any, error) {
		if err := r.enter(); err != nil {
			return nil, err
		}
		defer r.leave()
		written, err := r.captured(func() error {
			return r.inside(outer, func() error {
				if err := s.bind(r, a); err != nil {
					return err
				}
				return r.exec(s.body)
			})
		})
		return written, err
	}}
}

// bind sets the parameters; caller is what a {% call %} passes.
func (s *macro) bind(r *run, a args) error {
	names := make([]string, len(s.parameters))
	for i, p := range s.parameters {
		names[i] = p.name
	}
	var rest args
	rest.plain = a.plain
	for _, n := range a.named {
		if n.name == "caller" {
			r.scope.set("caller", n.value)
			continue
		}
		rest.named = append(rest.named, n)
	}
	bound, err := rest.bind("macro '"+s.name+"'", names...)
	if err != nil {
		return err
	}
	for i, p := range s.parameters {
		v := bound[i]
		if v == (absent{}) {
			v = any(&undefined{"parameter '" + p.name + "' was not provided"})
			if p.value != nil {
				if v, err = p.value.eval(r); err != nil {
					return err
				}
			}
		}
		r.scope.set(p.name, v)
	}
	return nil
}

type callBlock struct {
	line   int
	call   *call
	caller macro
}

func (s *callBlock) exec(r *run) error {
	a, err := s.call.args.eval(r)
	if err != nil {
		return at(s.line, err)
	}
	a.named = append(a.named, namedValue{"caller", s.caller.function(r.scope)})
	v, err := r.callExpr(s.call.of, a)
	return at(s.line, r.print(v, err))
}
