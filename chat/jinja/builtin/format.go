package builtin

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

// formatMethod is str.format with {} , {0}, {name}, {{ and }}; format specifications are refused.
func formatMethod(r *py.Env, s string, a py.Args) (any, error) {
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
			return nil, fmt.Errorf("single '}' encountered in format string")
		}
		if c != '{' {
			out.WriteByte(c)
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			return nil, fmt.Errorf("'{' without '}' in format string")
		}
		v, err := field(a, s[i+1:i+end], &next)
		if err != nil {
			return nil, err
		}
		text, err := r.Str(v)
		if err != nil {
			return nil, err
		}
		if err := r.Make(len(text)); err != nil {
			return nil, err
		}
		out.WriteString(text)
		i += end
	}
	return out.String(), r.Make(out.Len())
}

// field is the argument that a replacement field names; next counts those without a name,
// and is -1 once there was one with a number.
func field(a py.Args, name string, next *int) (any, error) {
	if name == "" {
		if *next < 0 {
			return nil, fmt.Errorf("cannot switch between numbered and automatic fields")
		}
		name = strconv.Itoa(*next)
		*next++
	} else if _, err := strconv.Atoi(name); err == nil {
		if *next > 0 {
			return nil, fmt.Errorf("cannot switch between numbered and automatic fields")
		}
		*next = -1
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 {
		if n >= len(a.Plain) {
			return nil, fmt.Errorf("replacement index %d out of range for positional args", n)
		}
		return a.Plain[n], nil
	}
	for _, n := range a.Named {
		if n.Name == name {
			return n.Value, nil
		}
	}
	return nil, fmt.Errorf("format field %q is not supported", name)
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
			return "", fmt.Errorf("strftime_now: %% at the end of the format")
		}
		text, known := timeField(t, plain[0])
		if !known {
			return "", fmt.Errorf("strftime_now: unknown field %%%c", plain[0])
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
