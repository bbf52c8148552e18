package jinja

import (
	"errors"
	"fmt"

	"github.com/coppice-ml/coppice/chat/jinja/py"
	"github.com/coppice-ml/coppice/chat/jinja/syntax"
)

var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)

// one runs a statement.
func (r *run) one(s syntax.Statement) error {
	switch s := s.(type) {
	case *syntax.Text:
		return r.write(s.Text)
	case *syntax.Output:
		return r.execOutput(s)
	case *syntax.Branches:
		return r.execBranches(s)
	case *syntax.Assignment:
		return r.execAssignment(s)
	case *syntax.Generation:
		return r.execGeneration(s)
	case *syntax.Jump:
		return r.execJump(s)
	case *syntax.FilterBlock:
		return r.execFilterBlock(s)
	case *syntax.With:
		return r.execWith(s)
	case *syntax.Macro:
		return r.execMacro(s)
	case *syntax.CallBlock:
		return r.execCallBlock(s)
	case *syntax.Loop:
		return r.execLoop(s)
	}
	return fmt.Errorf("a statement of type %T", s)
}

func (r *run) exec(body []syntax.Statement) error {
	for _, s := range body {
		if err := r.Step(1); err != nil {
			return err
		}
		if err := r.one(s); err != nil {
			return err
		}
	}
	return nil
}

// at adds the line to an error that has none.
func at(line int, err error) error {
	var have *syntax.Error
	if err == nil || errors.As(err, &have) || errors.Is(err, errBreak) || errors.Is(err, errContinue) {
		return err
	}
	return &syntax.Error{Line: line, Err: err}
}

func (r *run) execOutput(s *syntax.Output) error {
	v, err := r.eval(s.Of)
	return at(s.Line, r.print(v, err))
}

// print writes str(v), unless making v failed.
func (r *run) print(v any, err error) error {
	if err != nil {
		return err
	}
	text, err := r.Str(v)
	if err != nil {
		return err
	}
	return r.write(text)
}

func (r *run) execBranches(s *syntax.Branches) error {
	for i, test := range s.Tests {
		v, err := r.eval(test)
		if err != nil {
			return at(s.Line, err)
		}
		if py.Truth(v) {
			return r.exec(s.Bodies[i])
		}
	}
	return r.exec(s.Otherwise)
}

func (r *run) execAssignment(s *syntax.Assignment) error {
	v, err := r.compute(s)
	if err != nil {
		return at(s.Line, err)
	}
	if s.Namespace == "" {
		return at(s.Line, r.assign(s.Names, v))
	}
	ns, ok := r.scope.get(s.Namespace).(*py.Namespace)
	if !ok || len(s.Names) != 1 {
		return at(s.Line, fmt.Errorf("cannot assign attribute on non-namespace object"))
	}
	ns.Vars[s.Names[0]] = v
	return nil
}

func (r *run) compute(s *syntax.Assignment) (any, error) {
	if s.Value != nil {
		return r.eval(s.Value)
	}
	return r.filteredBlock(s.Body, s.Filters)
}

// filteredBlock runs a block in a scope of its own and filters what it writes.
func (r *run) filteredBlock(body []syntax.Statement, filters syntax.Expr) (any, error) {
	written, err := r.captured(func() error {
		return r.inside(r.scope, func() error { return r.exec(body) })
	})
	if err != nil {
		return nil, err
	}
	outer := r.block
	r.block = written
	defer func() { r.block = outer }()
	return r.eval(filters)
}

// assign sets names, several to the items of a value.
func (r *run) assign(names []string, v any) error {
	if len(names) == 1 {
		r.scope.set(names[0], v)
		return nil
	}
	items, err := r.Iterate(v)
	if err != nil {
		return err
	}
	if len(items) != len(names) {
		return fmt.Errorf("%d values cannot be assigned to %d names", len(items), len(names))
	}
	for i, name := range names {
		r.scope.set(name, items[i])
	}
	return nil
}

// exec notes where in the output the part lies; inside of something put aside that is unknown.
func (r *run) execGeneration(s *syntax.Generation) error {
	start := r.out.Len()
	if err := r.exec(s.Body); err != nil {
		return err
	}
	if r.capture == 0 && r.out.Len() > start {
		r.spans = append(r.spans, Span{start, r.out.Len()})
	}
	return nil
}

func (r *run) execJump(s *syntax.Jump) error {
	if s.Again {
		return errContinue
	}
	return errBreak
}

func (r *run) execFilterBlock(s *syntax.FilterBlock) error {
	v, err := r.filteredBlock(s.Body, s.Filters)
	return at(s.Line, r.print(v, err))
}

func (r *run) execWith(s *syntax.With) error {
	values, err := r.evalAll(s.Values)
	if err != nil {
		return at(s.Line, err)
	}
	return r.inside(r.scope, func() error {
		for i, name := range s.Names {
			r.scope.set(name, values[i])
		}
		return r.exec(s.Body)
	})
}

func (r *run) execMacro(s *syntax.Macro) error {
	r.scope.set(s.Name, r.function(s, r.scope))
	return nil
}

// function is the macro bound to the scope it stands in.
func (r *run) function(s *syntax.Macro, outer *scope) *py.Function {
	return &py.Function{Name: s.Name, Call: func(_ *py.Env, a py.Args) (any, error) {
		if err := r.Enter(); err != nil {
			return nil, err
		}
		defer r.Leave()
		written, err := r.captured(func() error {
			return r.inside(outer, func() error {
				if err := r.bind(s, a); err != nil {
					return err
				}
				return r.exec(s.Body)
			})
		})
		return written, err
	}}
}

// bind sets the parameters; caller is what a {% call %} passes.
func (r *run) bind(s *syntax.Macro, a py.Args) error {
	names := make([]string, len(s.Parameters))
	for i, p := range s.Parameters {
		names[i] = p.Name
	}
	var rest py.Args
	rest.Plain = a.Plain
	for _, n := range a.Named {
		if n.Name == "caller" {
			r.scope.set("caller", n.Value)
			continue
		}
		rest.Named = append(rest.Named, n)
	}
	bound, err := rest.Bind("macro '"+s.Name+"'", names...)
	if err != nil {
		return err
	}
	for i, p := range s.Parameters {
		v := bound[i]
		if v == (py.Absent{}) {
			v = any(&py.Undefined{Hint: "parameter '" + p.Name + "' was not provided"})
			if p.Value != nil {
				if v, err = r.eval(p.Value); err != nil {
					return err
				}
			}
		}
		r.scope.set(p.Name, v)
	}
	return nil
}

func (r *run) execCallBlock(s *syntax.CallBlock) error {
	a, err := r.arguments(&s.Call.Args)
	if err != nil {
		return at(s.Line, err)
	}
	a.Named = append(a.Named, py.NamedValue{Name: "caller", Value: r.function(&s.Caller, r.scope)})
	v, err := r.callExpr(s.Call.Of, a)
	return at(s.Line, r.print(v, err))
}
