package py

import (
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// Compare is a OP b for ==, !=, <, <=, >, >=, in and not in.
func (r *Env) Compare(op string, a, b any) (bool, error) {
	switch op {
	case "==", "!=":
		same, err := r.Equal(a, b)
		return same == (op == "=="), err
	case "in", "not in":
		in, err := r.Contains(b, a)
		return in == (op == "in"), err
	}
	if x, ok := Number(a); ok {
		if y, ok := Number(b); ok && (math.IsNaN(x) || math.IsNaN(y)) {
			return false, nil
		}
	}
	c, err := r.Order(a, b)
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

// Contains is v in IN: a part of a string, a key of a mapping, an item of a list.
func (r *Env) Contains(in, v any) (bool, error) {
	switch in := in.(type) {
	case string:
		s, ok := v.(string)
		if !ok {
			return false, fmt.Errorf("'in <string>' requires string as left operand, not %s", TypeName(v))
		}
		return strings.Contains(in, s), r.Step(len(in) / 16)
	case *Dict:
		_, ok := in.Get(v)
		return ok, nil
	case *List:
		for _, item := range in.Items {
			if same, err := r.Equal(item, v); same || err != nil {
				return same, err
			}
		}
		return false, nil
	case *Undefined:
		return false, nil
	}
	return false, fmt.Errorf("argument of type '%s' is not iterable", TypeName(in))
}

// Binary is a OP b, for the operators of arithmetic and ~.
func (r *Env) Binary(op string, a, b any) (any, error) {
	if err := r.Step(1); err != nil {
		return nil, err
	}
	if op == "~" {
		return r.concat(a, b)
	}
	for _, v := range []any{a, b} {
		if u, ok := v.(*Undefined); ok {
			return nil, u.Err()
		}
	}
	if v, done, err := r.sequences(op, a, b); done || err != nil {
		return v, err
	}
	i, iok := Integer(a)
	j, jok := Integer(b)
	if iok && jok {
		return integers(op, i, j)
	}
	x, xok := Number(a)
	y, yok := Number(b)
	if !xok || !yok {
		return nil, fmt.Errorf("unsupported operand types for %s: '%s' and '%s'", op, TypeName(a), TypeName(b))
	}
	return floats(op, x, y)
}

func (r *Env) concat(a, b any) (any, error) {
	left, err := r.Str(a)
	if err != nil {
		return nil, err
	}
	right, err := r.Str(b)
	if err != nil {
		return nil, err
	}
	return left + right, r.Make(len(left) + len(right))
}

// sequences are the operators on strings and lists.
func (r *Env) sequences(op string, a, b any) (v any, done bool, err error) {
	if s, ok := a.(string); ok {
		t, both := b.(string)
		n, times := Integer(b)
		switch {
		case op == "+" && both:
			return s + t, true, r.Make(len(s) + len(t))
		case op == "*" && times:
			return r.repeat(s, n)
		case op == "%":
			v, err := r.Percent(s, b)
			return v, true, err
		}
		return nil, false, nil
	}
	if s, ok := b.(string); ok && op == "*" {
		if n, ok := Integer(a); ok {
			return r.repeat(s, n)
		}
	}
	l, lok := a.(*List)
	m, mok := b.(*List)
	if op == "+" && lok && mok && l.Tuple == m.Tuple {
		items := append(append(make([]any, 0, len(l.Items)+len(m.Items)), l.Items...), m.Items...)
		return &List{items, l.Tuple}, true, r.Make(16 * len(items))
	}
	if n, ok := Integer(b); ok && lok && op == "*" {
		return r.repeatList(l, n)
	}
	return nil, false, nil
}

func (r *Env) repeat(s string, n int64) (any, bool, error) {
	if n <= 0 || s == "" {
		return "", true, nil
	}
	if n > int64(r.Bytes/len(s)) {
		return nil, true, r.Make(math.MaxInt)
	}
	return strings.Repeat(s, int(n)), true, r.Make(len(s) * int(n))
}

func (r *Env) repeatList(l *List, n int64) (any, bool, error) {
	if n <= 0 || len(l.Items) == 0 {
		return &List{Tuple: l.Tuple}, true, nil
	}
	if n > int64(r.Bytes/(16*len(l.Items))) {
		return nil, true, r.Make(math.MaxInt)
	}
	if err := r.Make(16 * len(l.Items) * int(n)); err != nil {
		return nil, true, err
	}
	out := &List{Tuple: l.Tuple}
	for range n {
		out.Items = append(out.Items, l.Items...)
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
		return nil, fmt.Errorf("division by zero")
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
		return nil, fmt.Errorf("an integer of more than 64 bits")
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
			return nil, fmt.Errorf("0 cannot be raised to a negative power")
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
		return nil, fmt.Errorf("division by zero")
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
