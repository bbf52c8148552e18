package py

import (
	"fmt"
	"strconv"
	"strings"
)

// Percent is s % v with %s, %r, %d, %i, %f, %x and %%.
func (r *Env) Percent(s string, v any) (any, error) {
	values := []any{v}
	if l, ok := v.(*List); ok && l.Tuple {
		values = l.Items
	}
	var out strings.Builder
	for {
		before, after, ok := strings.Cut(s, "%")
		out.WriteString(before)
		if !ok {
			break
		}
		end := strings.IndexFunc(after, func(c rune) bool { return !strings.ContainsRune("-+ 0123456789.", c) })
		if end < 0 || end > 8 {
			return nil, fmt.Errorf("incomplete or too long format")
		}
		flags, verb := after[:end], after[end]
		s = after[end+1:]
		if verb == '%' {
			out.WriteByte('%')
			continue
		}
		if len(values) == 0 {
			return nil, fmt.Errorf("not enough arguments for format string")
		}
		text, err := r.verb(flags, verb, values[0])
		if err == nil {
			err = r.Make(len(text))
		}
		if err != nil {
			return nil, err
		}
		out.WriteString(text)
		values = values[1:]
	}
	if l, ok := v.(*List); len(values) > 0 && (!ok || l.Tuple) {
		if _, mapping := v.(*Dict); !mapping {
			return nil, fmt.Errorf("not all arguments converted during string formatting")
		}
	}
	return out.String(), r.Make(out.Len())
}

func (r *Env) verb(flags string, verb byte, v any) (string, error) {
	if n, _ := strconv.Atoi(strings.Trim(flags, "-+ 0")); n > 1000 {
		return "", fmt.Errorf("a width above 1000")
	}
	switch verb {
	case 's':
		text, err := r.Str(v)
		return fmt.Sprintf("%"+strings.Trim(flags, "+ ")+"s", text), err
	case 'r':
		w := &writer{r: r}
		err := w.repr(v)
		return fmt.Sprintf("%"+flags+"s", w.String()), err
	case 'd', 'i', 'x':
		f, ok := Number(v)
		n, isInt := Integer(v)
		if !isInt {
			n = int64(f)
		}
		if !ok || verb == 'x' && !isInt {
			return "", fmt.Errorf("%%%c format: a number is required, not %s", verb, TypeName(v))
		}
		if verb == 'x' {
			return fmt.Sprintf("%"+flags+"x", n), nil
		}
		return fmt.Sprintf("%"+flags+"d", n), nil
	case 'f':
		f, ok := Number(v)
		if !ok {
			return "", fmt.Errorf("must be real number, not %s", TypeName(v))
		}
		return fmt.Sprintf("%"+flags+"f", f), nil
	}
	return "", fmt.Errorf("unsupported format character '%c'", verb)
}
