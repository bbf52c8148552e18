package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// percent is s % v with %s, %r, %d, %i, %f, %x and %%.
func (r *run) percent(s string, v any) (any, error) {
	values := []any{v}
	if l, ok := v.(*list); ok && l.tuple {
		values = l.items
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
			return nil, errorf("incomplete or too long format")
		}
		flags, verb := after[:end], after[end]
		s = after[end+1:]
		if verb == '%' {
			out.WriteByte('%')
			continue
		}
		if len(values) == 0 {
			return nil, errorf("not enough arguments for format string")
		}
		text, err := r.verb(flags, verb, values[0])
		if err == nil {
			err = r.make(len(text))
		}
		if err != nil {
			return nil, err
		}
		out.WriteString(text)
		values = values[1:]
	}
	if l, ok := v.(*list); len(values) > 0 && (!ok || l.tuple) {
		if _, mapping := v.(*Dict); !mapping {
			return nil, errorf("not all arguments converted during string formatting")
		}
	}
	return out.String(), r.make(out.Len())
}

func (r *run) verb(flags string, verb byte, v any) (string, error) {
	if n, _ := strconv.Atoi(strings.Trim(flags, "-+ 0")); n > 1000 {
		return "", errorf("a width above 1000")
	}
	switch verb {
	case 's':
		text, err := r.str(v)
		return fmt.Sprintf("%"+strings.Trim(flags, "+ ")+"s", text), err
	case 'r':
		w := &writer{r: r}
		err := w.repr(v)
		return fmt.Sprintf("%"+flags+"s", w.String()), err
	case 'd', 'i', 'x':
		f, ok := number(v)
		n, isInt := integer(v)
		if !isInt {
			n = int64(f)
		}
		if !ok || verb == 'x' && !isInt {
			return "", errorf("%%%c format: a number is required, not %s", verb, typeName(v))
		}
		if verb == 'x' {
			return fmt.Sprintf("%"+flags+"x", n), nil
		}
		return fmt.Sprintf("%"+flags+"d", n), nil
	case 'f':
		f, ok := number(v)
		if !ok {
			return "", errorf("must be real number, not %s", typeName(v))
		}
		return fmt.Sprintf("%"+flags+"f", f), nil
	}
	return "", errorf("unsupported format character '%c'", verb)
}

// formatMethod is str.format with {} , {0}, {name}, {{ and }}; format specifications are refused.
func formatMethod(r *run, s string, a args) (any, error) {
	var out strings.Builder
	next := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c == '{' || c == '}') && i+1 < len(s) && s[i+1] == c {
			out.WriteByte(c)
			i++
			continue
		}
		if c == '}' {
			return nil, errorf("single '}' encountered in format string")
		}
		if c != '{' {
			out.WriteByte(c)
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			return nil, errorf("'{' without '}' in format string")
		}
		v, err := a.field(s[i+1:i+end], &next)
		if err != nil {
			return nil, err
		}
		text, err := r.str(v)
		if err != nil {
			return nil, err
		}
		if err := r.make(len(text)); err != nil {
			return nil, err
		}
		out.WriteString(text)
		i += end
	}
	return out.String(), r.make(out.Len())
}

// field is the argument that a replacement field names; next counts those without a name,
// and is -1 once there was one with a number.
func (a args) field(name string, next *int) (any, error) {
	if name == "" {
		if *next < 0 {
			return nil, errorf("cannot switch between numbered and automatic fields")
		}
		name = strconv.Itoa(*next)
		*next++
	} else if _, err := strconv.Atoi(name); err == nil {
		if *next > 0 {
			return nil, errorf("cannot switch between numbered and automatic fields")
		}
		*next = -1
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 {
		if n >= len(a.plain) {
			return nil, errorf("replacement index %d out of range for positional args", n)
		}
		return a.plain[n], nil
	}
	for _, n := range a.named {
		if n.name == name {
			return n.value, nil
		}
	}
	return nil, errorf("format field %q is not supported", name)
}

// strftime writes a time as C's function does in English.
func strftime(t time.Time, format string) (string, error) {
	var out strings.Builder
	for {
		before, after, ok := strings.Cut(format, "%")
		out.WriteString(before)
		if !ok {
			return out.String(), nil
		}
		plain := strings.TrimPrefix(after, "-") // without padding
		if plain == "" {
			return "", errorf("strftime_now: %% at the end of the format")
		}
		text, known := timeField(t, plain[0])
		if !known {
			return "", errorf("strftime_now: unknown field %%%c", plain[0])
		}
		if plain != after {
			text = strings.TrimLeft(text[:len(text)-1], "0 ") + text[len(text)-1:]
		}
		out.WriteString(text)
		format = plain[1:]
	}
}

func timeField(t time.Time, field byte) (string, bool) {
	switch field {
	case 'j':
		return fmt.Sprintf("%03d", t.YearDay()), true
	case 'w':
		return strconv.Itoa(int(t.Weekday())), true
	case 'u':
		return strconv.Itoa((int(t.Weekday())+6)%7 + 1), true
	case '%':
		return "%", true
	case 'n':
		return "\n", true
	case 't':
		return "\t", true
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000), true
	case 's':
		return strconv.FormatInt(t.Unix(), 10), true
	}
	layout := map[byte]string{
		'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM",
		'B': "January", 'b': "Jan", 'h': "Jan", 'A': "Monday", 'a': "Mon", 'Z': "MST", 'z': "-0700",
		'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'x': "01/02/06", 'X': "15:04:05", 'c': "Mon Jan _2 15:04:05 2006",
	}[field]
	return t.Format(layout), layout != ""
}
