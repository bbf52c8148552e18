package jinja

import "fmt"

// expr is an expression.
type expr interface {
	eval(r *run) (any, error)
}

type constant struct{ value any }

func (e *constant) eval(*run) (any, error) { return e.value, nil }

type variable struct{ name string }

func (e *variable) eval(r *run) (any, error) { return r.scope.get(e.name), r.step(1) }

// blockText is what the block around wrote.
type blockText struct{}

func (*blockText) eval(r *run) (any, error) { return r.block, nil }

type conditional struct{ yes, test, no expr }

func (e *conditional) eval(r *run) (any, error) {
	v, err := e.test.eval(r)
	switch {
	case err != nil:
		return nil, err
	case truth(v):
		return e.yes.eval(r)
	case e.no == nil:
		return &undefined{"the inline if-expression evaluated to false and no else section was defined"}, nil
	}
	return e.no.eval(r)
}

type logical struct {
	or          bool
	left, right expr
}

func (e *logical) eval(r *run) (any, error) {
	v, err := e.left.eval(r)
	if err != nil || truth(v) == e.or {
		return v, err
	}
	return e.right.eval(r)
}

type negation struct{ of expr }

func (e *negation) eval(r *run) (any, error) {
	v, err := e.of.eval(r)
	return !truth(v), err
}

type compared struct {
	op string
	to expr
}

type comparison struct {
	first expr
	rest  []compared
}

func (e *comparison) eval(r *run) (any, error) {
	left, err := e.first.eval(r)
	for _, c := range e.rest {
		if err != nil {
			return nil, err
		}
		var right any
		if right, err = c.to.eval(r); err != nil {
			return nil, err
		}
		var ok bool
		if ok, err = r.compare(c.op, left, right); err != nil || !ok {
			return false, err
		}
		left = right
	}
	return true, err
}

type sign struct {
	minus bool
	of    expr
}

func (e *sign) eval(r *run) (any, error) {
	v, err := e.of.eval(r)
	if err != nil {
		return nil, err
	}
	if f, ok := v.(float64); ok {
		if e.minus {
			f = -f
		}
		return f, nil
	}
	n, ok := integer(v)
	switch {
	case !ok:
		return nil, errorf("bad operand type for a sign: '%s'", typeName(v))
	case e.minus:
		return -n, nil
	}
	return n, nil
}

type listing struct {
	items []expr
	tuple bool
}

func (e *listing) eval(r *run) (any, error) {
	items, err := evalAll(r, e.items)
	if err != nil {
		return nil, err
	}
	return &list{items, e.tuple}, r.make(16 * len(items))
}

func evalAll(r *run, all []expr) ([]any, error) {
	values := make([]any, len(all))
	for i, e := range all {
		v, err := e.eval(r)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

type mapping struct{ keys, values []expr }

func (e *mapping) eval(r *run) (any, error) {
	d := &Dict{}
	for i := range e.keys {
		key, err := e.keys[i].eval(r)
		if err != nil {
			return nil, err
		}
		switch key.(type) {
		case nil, bool, int64, float64, string:
		default:
			return nil, errorf("a key of type '%s'", typeName(key))
		}
		value, err := e.values[i].eval(r)
		if err != nil {
			return nil, err
		}
		d.set(key, value)
	}
	return d, r.make(64 * len(e.keys))
}

type attribute struct {
	of   expr
	name string
}

// eval looks for a method or an attribute, then for an item, as Jinja does for a dot.
func (e *attribute) eval(r *run) (any, error) {
	v, err := e.of.eval(r)
	if err != nil {
		return nil, err
	}
	if u, ok := v.(*undefined); ok {
		return nil, u.err()
	}
	if m, ok := r.member(v, e.name); ok {
		return m, nil
	}
	if d, ok := v.(*Dict); ok {
		if item, ok := d.get(e.name); ok {
			return item, nil
		}
	}
	return missing(v, e.name), nil
}

func missing(v any, name string) *undefined {
	return &undefined{fmt.Sprintf("'%s object' has no attribute '%s'", typeName(v), name)}
}

type item struct{ of, key expr }

// eval looks for an item, then for an attribute, as Jinja does for brackets.
func (e *item) eval(r *run) (any, error) {
	v, err := e.of.eval(r)
	if err != nil {
		return nil, err
	}
	key, err := e.key.eval(r)
	if err != nil {
		return nil, err
	}
	return r.item(v, key)
}

func (r *run) item(v, key any) (any, error) {
	switch v := v.(type) {
	case *undefined:
		return nil, v.err()
	case *Dict:
		if value, ok := v.get(key); ok {
			return value, nil
		}
	case *list:
		if n, ok := integer(key); ok {
			if n < 0 {
				n += int64(len(v.items))
			}
			if n >= 0 && n < int64(len(v.items)) {
				return v.items[n], nil
			}
		}
	case string:
		if n, ok := integer(key); ok {
			return r.character(v, n)
		}
	}
	if name, ok := key.(string); ok {
		if m, ok := r.member(v, name); ok {
			return m, nil
		}
		return missing(v, name), nil
	}
	return &undefined{fmt.Sprintf("'%s object' has no such element", typeName(v))}, nil
}

func (r *run) character(text string, n int64) (any, error) {
	if err := r.step(len(text) / 16); err != nil {
		return nil, err
	}
	if n < 0 {
		n += int64(runeCount(text))
	}
	for _, c := range text {
		if n == 0 {
			return string(c), nil
		}
		n--
	}
	return &undefined{"'str object' has no such element"}, nil
}

type namedArgument struct {
	name  string
	value expr
}

type arguments struct {
	plain      []expr
	named      []namedArgument
	list, dict expr // unpacked by * and **; nil: none
}

func (a *arguments) eval(r *run) (args, error) {
	plain, err := evalAll(r, a.plain)
	out := args{plain: plain}
	for _, n := range a.named {
		if err != nil {
			return out, err
		}
		var v any
		v, err = n.value.eval(r)
		out.named = append(out.named, namedValue{n.name, v})
	}
	if err != nil {
		return out, err
	}
	return out, a.unpack(r, &out)
}

func (a *arguments) unpack(r *run, out *args) error {
	if a.list != nil {
		v, err := a.list.eval(r)
		if err != nil {
			return err
		}
		items, err := r.iterate(v)
		if err != nil {
			return err
		}
		out.plain = append(out.plain, items...)
	}
	if a.dict == nil {
		return nil
	}
	v, err := a.dict.eval(r)
	if err != nil {
		return err
	}
	d, ok := v.(*Dict)
	if !ok {
		return errorf("argument after ** must be a mapping, not %s", typeName(v))
	}
	for i, key := range d.keys {
		name, ok := key.(string)
		if !ok {
			return errorf("keywords must be strings")
		}
		out.named = append(out.named, namedValue{name, d.values[i]})
	}
	return r.make(32 * len(out.plain))
}

type call struct {
	of   expr
	args arguments
}

func (e *call) eval(r *run) (any, error) {
	a, err := e.args.eval(r)
	if err != nil {
		return nil, err
	}
	return r.callExpr(e.of, a)
}

func (r *run) callExpr(of expr, a args) (any, error) {
	f, err := of.eval(r)
	if err != nil {
		return nil, err
	}
	if err := r.step(1); err != nil {
		return nil, err
	}
	switch f := f.(type) {
	case *function:
		return f.call(r, a)
	case *loopState:
		return f.again(r, a)
	case *undefined:
		return nil, f.err()
	}
	return nil, errorf("'%s' object is not callable", typeName(f))
}

// operands are what a filter or a test is given.
func (r *run) operands(of expr, given *arguments) (v any, a args, err error) {
	if v, err = of.eval(r); err == nil {
		a, err = given.eval(r)
	}
	return v, a, err
}

type filtered struct {
	of   expr
	name string
	args arguments
}

func (e *filtered) eval(r *run) (any, error) {
	v, a, err := r.operands(e.of, &e.args)
	if err != nil {
		return nil, err
	}
	return r.filter(e.name, v, a)
}

// filter calls a filter by name, as map also does.
func (r *run) filter(name string, v any, a args) (any, error) {
	f, ok := filterNamed(name)
	if own := r.dialect.Filters[name]; own != nil {
		f, ok = r.own(own), true
	}
	if !ok {
		return nil, errorf("unknown filter %q", name)
	}
	if err := r.step(1); err != nil {
		return nil, err
	}
	a.plain = append([]any{v}, a.plain...)
	return f(r, a)
}

type tested struct {
	of      expr
	name    string
	negated bool
	args    arguments
}

func (e *tested) eval(r *run) (any, error) {
	v, a, err := r.operands(e.of, &e.args)
	if err != nil {
		return nil, err
	}
	is, err := r.is(e.name, v, a)
	return is != e.negated, err
}

// is calls a test by name, as select also does.
func (r *run) is(name string, v any, a args) (bool, error) {
	f, ok := testNamed(name)
	if !ok {
		return false, errorf("unknown test %q", name)
	}
	return f(r, v, a)
}
