package jinja

import (
	"math"
	"math/bits"
	"strings"
)

func (r *run) compare(op string, a, b any) (bool, error) {
	switch op {
	case "==", "!=":
		same, err := r.equal(a, b)
		return same == (op == "=="), err
	case "in", "not in":
		in, err := r.contains(b, a)
		return in == (op == "in"), err
	}
	if x, ok := number(a); ok {
		if y, ok := number(b); ok && (math.IsNaN(x) || math.IsNaN(y)) {
			return false, nil
		}
	}
	c, err := r.order(a, b)
	switch op {
	case "<":
		return c < 0, err
	case "<=":
		return c <= 0, err
	case ">":
		return c > 0, err
	}
	return c >= 0, err
}

func (r *run) contains(in, v any) (bool, error) {
	switch in := in.(type) {
	case string:
		s, ok := v.(string)
		if !ok {
			return false, errorf("'in <string>' requires string as left operand, not %s", typeName(v))
		}
		return strings.Contains(in, s), r.step(len(in) / 16)
	case *Dict:
		_, ok := in.get(v)
		return ok, nil
	case *list:
		for _, item := range in.items {
			if same, err := r.equal(item, v); same || err != nil {
				return same, err
			}
		}
		return false, nil
	case *undefined:
		return false, nil
	}
	return false, errorf("argument of type '%s' is not iterable", typeName(in))
}

type operation struct {
	op          string
	left, right expr
}

func (e *operation) eval(r *run) (any, error) {
	a, err := e.left.eval(r)
	if err != nil {
		return nil, err
	}
	b, err := e.right.eval(r)
	if err != nil {
		return nil, err
	}
	if err := r.step(1); err != nil {
		return nil, err
	}
	if e.op == "~" {
		return r.concat(a, b)
	}
	for _, v := range []any{a, b} {
		if u, ok := v.(*undefined); ok {
			return nil, u.err()
		}
	}
	if v, done, err := r.sequences(e.op, a, b); done || err != nil {
		return v, err
	}
	i, iok := integer(a)
	j, jok := integer(b)
	if iok && jok {
		return integers(e.op, i, j)
	}
	x, xok := number(a)
	y, yok := number(b)
	if !xok || !yok {
		return nil, errorf("unsupported operand types for %s: '%s' and '%s'", e.op, typeName(a), typeName(b))
	}
	return floats(e.op, x, y)
}

func (r *run) concat(a, b any) (any, error) {
	left, err := r.str(a)
	if err != nil {
		return nil, err
	}
	right, err := r.str(b)
	if err != nil {
		return nil, err
	}
	return left + right, r.make(len(left) + len(right))
}

// sequences are the operators on strings and lists.
func (r *run) sequences(op string, a, b any) (v any, done bool, err error) {
	if s, ok := a.(string); ok {
		t, both := b.(string)
		n, times := integer(b)
		switch {
		case op == "+" && both:
			return s + t, true, r.make(len(s) + len(t))
		case op == "*" && times:
			return r.repeat(s, n)
		case op == "%":
			v, err := r.percent(s, b)
			return v, true, err
		}
		return nil, false, nil
	}
	if s, ok := b.(string); ok && op == "*" {
		if n, ok := integer(a); ok {
			return r.repeat(s, n)
		}
	}
	l, lok := a.(*list)
	m, mok := b.(*list)
	if op == "+" && lok && mok && l.tuple == m.tuple {
		items := append(append(make([]any, 0, len(l.items)+len(m.items)), l.items...), m.items...)
		return &list{items, l.tuple}, true, r.make(16 * len(items))
	}
	if n, ok := integer(b); ok && lok && op == "*" {
		return r.repeatList(l, n)
	}
	return nil, false, nil
}

func (r *run) repeat(s string, n int64) (any, bool, error) {
	if n <= 0 || s == "" {
		return "", true, nil
	}
	if n > int64(r.bytes/len(s)) {
		return nil, true, r.make(math.MaxInt)
	}
	return strings.Repeat(s, int(n)), true, r.make(len(s) * int(n))
}

func (r *run) repeatList(l *list, n int64) (any, bool, error) {
	if n <= 0 || len(l.items) == 0 {
		return &list{tuple: l.tuple}, true, nil
	}
	if n > int64(r.bytes/(16*len(l.items))) {
		return nil, true, r.make(math.MaxInt)
	}
	if err := r.make(16 * len(l.items) * int(n)); err != nil {
		return nil, true, err
	}
	out := &list{tuple: l.tuple}
	for range n {
		out.items = append(out.items, l.items...)
	}
	return out, true, nil
}

func integers(op string, a, b int64) (any, error) {
	switch op {
	case "+":
		return checked(a+b, (a+b < a) == (b < 0))
	case "-":
		return checked(a-b, (a-b > a) == (b < 0))
	case "*":
		return product(a, b)
	case "**":
		return power(a, b)
	}
	if b == 0 {
		return nil, errorf("division by zero")
	}
	switch op {
	case "/":
		return float64(a) / float64(b), nil
	case "//":
		q := a / b
		if a%b != 0 && (a < 0) != (b < 0) {
			q--
		}
		return checked(q, a != math.MinInt64 || b != -1)
	}
	m := a % b
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	return m, nil
}

func checked(n int64, ok bool) (any, error) {
	if !ok {
		return nil, errorf("an integer of more than 64 bits")
	}
	return n, nil
}

func product(a, b int64) (any, error) {
	high, low := bits.Mul64(uint64(max(a, -a)), uint64(max(b, -b)))
	return checked(a*b, high == 0 && low <= math.MaxInt64 && a != math.MinInt64 && b != math.MinInt64)
}

func power(a, b int64) (any, error) {
	if b < 0 {
		if a == 0 {
			return nil, errorf("0 cannot be raised to a negative power")
		}
		return math.Pow(float64(a), float64(b)), nil
	}
	if a == 0 || a == 1 || a == -1 {
		if b%2 == 0 {
			a *= a
		}
		if b == 0 {
			a = 1
		}
		return a, nil
	}
	result := any(int64(1))
	for range b { // ends at 64 bits
		var err error
		if result, err = product(result.(int64), a); err != nil {
			return nil, err
		}
	}
	return result, nil
}

func floats(op string, a, b float64) (any, error) {
	switch op {
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "**":
		return math.Pow(a, b), nil
	}
	if b == 0 {
		return nil, errorf("division by zero")
	}
	switch op {
	case "/":
		return a / b, nil
	case "//":
		return math.Floor(a / b), nil
	}
	m := math.Mod(a, b)
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	return m, nil
}
