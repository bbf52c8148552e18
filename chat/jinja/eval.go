package jinja

import (
	"fmt"

	"github.com/coppice-ml/coppice/chat/jinja/builtin"
	"github.com/coppice-ml/coppice/chat/jinja/py"
	"github.com/coppice-ml/coppice/chat/jinja/syntax"
)

func (r *run) eval(e syntax.Expr) (any, error) {
	switch e := e.(type) {
	case *syntax.Constant:
		return e.Value, nil
	case *syntax.Variable:
		return r.scope.get(e.Name), r.Step(1)
	case *syntax.BlockText:
		return r.block, nil
	case *syntax.Conditional:
		return r.evalConditional(e)
	case *syntax.Logical:
		return r.evalLogical(e)
	case *syntax.Negation:
		return r.evalNegation(e)
	case *syntax.Comparison:
		return r.evalComparison(e)
	case *syntax.Sign:
		return r.evalSign(e)
	case *syntax.Listing:
		return r.evalListing(e)
	case *syntax.Mapping:
		return r.evalMapping(e)
	case *syntax.Attribute:
		return r.evalAttribute(e)
	case *syntax.Item:
		return r.evalItem(e)
	case *syntax.Call:
		return r.evalCall(e)
	case *syntax.Filtered:
		return r.evalFiltered(e)
	case *syntax.Tested:
		return r.evalTested(e)
	case *syntax.Operation:
		return r.evalOperation(e)
	case *syntax.Slice:
		return r.evalSlice(e)
	}
	return nil, fmt.Errorf("an expression of type %T", e)
}

func (r *run) evalConditional(e *syntax.Conditional) (any, error) {
	v, err := r.eval(e.Test)
	switch {
	case err != nil:
		return nil, err
	case py.Truth(v):
		return r.eval(e.Yes)
	case e.No == nil:
		return &py.Undefined{Hint: "the inline if-expression evaluated to false and no else section was defined"}, nil
	}
	return r.eval(e.No)
}

func (r *run) evalLogical(e *syntax.Logical) (any, error) {
	v, err := r.eval(e.Left)
	if err != nil || py.Truth(v) == e.Or {
		return v, err
	}
	return r.eval(e.Right)
}

func (r *run) evalNegation(e *syntax.Negation) (any, error) {
	v, err := r.eval(e.Of)
	return !py.Truth(v), err
}

func (r *run) evalComparison(e *syntax.Comparison) (any, error) {
	left, err := r.eval(e.First)
	for _, c := range e.Rest {
		if err != nil {
			return nil, err
		}
		var right any
		if right, err = r.eval(c.To); err != nil {
			return nil, err
		}
		var ok bool
		if ok, err = r.Compare(c.Op, left, right); err != nil || !ok {
			return false, err
		}
		left = right
	}
	return true, err
}

func (r *run) evalSign(e *syntax.Sign) (any, error) {
	v, err := r.eval(e.Of)
	if err != nil {
		return nil, err
	}
	if f, ok := v.(float64); ok {
		if e.Minus {
			f = -f
		}
		return f, nil
	}
	n, ok := py.Integer(v)
	switch {
	case !ok:
		return nil, fmt.Errorf("bad operand type for a sign: '%s'", py.TypeName(v))
	case e.Minus:
		return -n, nil
	}
	return n, nil
}

func (r *run) evalListing(e *syntax.Listing) (any, error) {
	items, err := r.evalAll(e.Items)
	if err != nil {
		return nil, err
	}
	return &py.List{Items: items, Tuple: e.Tuple}, r.Make(16 * len(items))
}

func (r *run) evalAll(all []syntax.Expr) ([]any, error) {
	values := make([]any, len(all))
	for i, e := range all {
		v, err := r.eval(e)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

func (r *run) evalMapping(e *syntax.Mapping) (any, error) {
	d := &py.Dict{}
	for i := range e.Keys {
		key, err := r.eval(e.Keys[i])
		if err != nil {
			return nil, err
		}
		switch key.(type) {
		case nil, bool, int64, float64, string:
		default:
			return nil, fmt.Errorf("a key of type '%s'", py.TypeName(key))
		}
		value, err := r.eval(e.Values[i])
		if err != nil {
			return nil, err
		}
		d.Put(key, value)
	}
	return d, r.Make(64 * len(e.Keys))
}

// eval looks for a method or an attribute, then for an item, as Jinja does for a dot.
func (r *run) evalAttribute(e *syntax.Attribute) (any, error) {
	v, err := r.eval(e.Of)
	if err != nil {
		return nil, err
	}
	if u, ok := v.(*py.Undefined); ok {
		return nil, u.Err()
	}
	if m, ok := builtin.Member(r.Env, v, e.Name); ok {
		return m, nil
	}
	if d, ok := v.(*py.Dict); ok {
		if item, ok := d.Get(e.Name); ok {
			return item, nil
		}
	}
	return builtin.Missing(v, e.Name), nil
}

// eval looks for an item, then for an attribute, as Jinja does for brackets.
func (r *run) evalItem(e *syntax.Item) (any, error) {
	v, err := r.eval(e.Of)
	if err != nil {
		return nil, err
	}
	key, err := r.eval(e.Key)
	if err != nil {
		return nil, err
	}
	return builtin.ItemOf(r.Env, v, key)
}

func (r *run) arguments(a *syntax.Arguments) (py.Args, error) {
	plain, err := r.evalAll(a.Plain)
	out := py.Args{Plain: plain}
	for _, n := range a.Named {
		if err != nil {
			return out, err
		}
		var v any
		v, err = r.eval(n.Value)
		out.Named = append(out.Named, py.NamedValue{Name: n.Name, Value: v})
	}
	if err != nil {
		return out, err
	}
	return out, r.unpack(a, &out)
}

func (r *run) unpack(a *syntax.Arguments, out *py.Args) error {
	if a.List != nil {
		v, err := r.eval(a.List)
		if err != nil {
			return err
		}
		items, err := r.Iterate(v)
		if err != nil {
			return err
		}
		out.Plain = append(out.Plain, items...)
	}
	if a.Dict == nil {
		return nil
	}
	v, err := r.eval(a.Dict)
	if err != nil {
		return err
	}
	d, ok := v.(*py.Dict)
	if !ok {
		return fmt.Errorf("argument after ** must be a mapping, not %s", py.TypeName(v))
	}
	for i, key := range d.Keys {
		name, ok := key.(string)
		if !ok {
			return fmt.Errorf("keywords must be strings")
		}
		out.Named = append(out.Named, py.NamedValue{Name: name, Value: d.Values[i]})
	}
	return r.Make(32 * len(out.Plain))
}

func (r *run) evalCall(e *syntax.Call) (any, error) {
	a, err := r.arguments(&e.Args)
	if err != nil {
		return nil, err
	}
	return r.callExpr(e.Of, a)
}

func (r *run) callExpr(of syntax.Expr, a py.Args) (any, error) {
	f, err := r.eval(of)
	if err != nil {
		return nil, err
	}
	if err := r.Step(1); err != nil {
		return nil, err
	}
	switch f := f.(type) {
	case *py.Function:
		return f.Call(r.Env, a)
	case *loopState:
		return r.again(f, a)
	case *py.Undefined:
		return nil, f.Err()
	}
	return nil, fmt.Errorf("'%s' object is not callable", py.TypeName(f))
}

// operands are what a filter or a test is given.
func (r *run) operands(of syntax.Expr, given *syntax.Arguments) (v any, a py.Args, err error) {
	if v, err = r.eval(of); err == nil {
		a, err = r.arguments(given)
	}
	return v, a, err
}

func (r *run) evalFiltered(e *syntax.Filtered) (any, error) {
	v, a, err := r.operands(e.Of, &e.Args)
	if err != nil {
		return nil, err
	}
	return builtin.Apply(r.Env, e.Name, v, a)
}

func (r *run) evalTested(e *syntax.Tested) (any, error) {
	v, a, err := r.operands(e.Of, &e.Args)
	if err != nil {
		return nil, err
	}
	is, err := builtin.Passes(r.Env, e.Name, v, a)
	return is != e.Negated, err
}

func (r *run) evalOperation(e *syntax.Operation) (any, error) {
	a, err := r.eval(e.Left)
	if err != nil {
		return nil, err
	}
	b, err := r.eval(e.Right)
	if err != nil {
		return nil, err
	}
	return r.Binary(e.Op, a, b)
}

func (r *run) evalSlice(e *syntax.Slice) (any, error) {
	v, err := r.eval(e.Of)
	if err != nil {
		return nil, err
	}
	bounds := make([]any, 3)
	for i, part := range []syntax.Expr{e.Start, e.Stop, e.Step} {
		if part == nil {
			continue
		}
		if bounds[i], err = r.eval(part); err != nil {
			return nil, err
		}
	}
	return r.Slice(v, bounds)
}
