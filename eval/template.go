package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
)

// template is a compiled Jinja template.
type template struct {
	text *exec.Template
	// value is the template when it is one expression and nothing else, made to
	// give its value as JSON: where Python reads the text of a list back.
	value *exec.Template
}

const (
	rootTemplate = "template"
	valueFilter  = "coppice_value"
)

// compile parses a template. Names that a document lacks are errors, and no
// file can be reached from it.
func compile(source string) (*template, error) {
	t := &template{}
	var err error
	if t.text, err = parse(source); err != nil {
		return nil, err
	}
	if inner, ok := expression(source); ok {
		t.value, _ = parse("{{ (" + inner + ")|" + valueFilter + " }}")
	}
	return t, nil
}

// expression is what stands between {{ and }} when that is all there is.
func expression(source string) (string, bool) {
	inner, ok := strings.CutPrefix(source, "{{")
	if !ok {
		return "", false
	}
	inner, ok = strings.CutSuffix(inner, "}}")
	return inner, ok && !strings.Contains(inner, "{{") && !strings.Contains(inner, "}}")
}

func parse(source string) (t *exec.Template, err error) {
	defer recovered(&err)
	c := config.New()
	c.StrictUndefined, c.KeepTrailingNewline = true, true
	loader, err := loaders.NewMemoryLoader(map[string]string{"/" + rootTemplate: source})
	if err != nil {
		return nil, err
	}
	return exec.NewTemplate("/"+rootTemplate, c, loader, environment())
}

// recovered turns the template library's panics, over % on a string for one,
// into errors.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("template: %v", r)
	}
}

func environment() *exec.Environment {
	filters := exec.NewFilterSet(map[string]exec.FilterFunction{}).Update(builtins.Filters).Update(exec.NewFilterSet(map[string]exec.FilterFunction{
		valueFilter: filterValue, "regex_replace": filterReplace,
	}))
	methods := builtins.Methods
	methods.Str, methods.List = stringMethods(), listMethods()
	return &exec.Environment{
		Context:           exec.EmptyContext().Update(builtins.GlobalFunctions).Update(builtins.GlobalVariables),
		Filters:           filters,
		Tests:             builtins.Tests,
		ControlStructures: builtins.ControlStructures,
		Methods:           methods,
	}
}

// render fills a template in.
func (t *template) render(doc Doc) (text string, err error) {
	defer recovered(&err)
	return t.text.ExecuteToString(exec.NewContext(doc))
}

// evaluate is the template's value: of an expression what it gives, of another
// text what Python's literal_eval reads in it.
func (t *template) evaluate(doc Doc) (value any, err error) {
	defer recovered(&err)
	if t.value == nil {
		text, err := t.render(doc)
		if err != nil {
			return nil, err
		}
		return literal(text)
	}
	text, err := t.value.ExecuteToString(exec.NewContext(doc))
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	return numbers(value), nil
}

// numbers makes int64 and float64 of what JSON has.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	}
	return v
}

func filterValue(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	raw, err := json.Marshal(plain(in))
	if err != nil {
		return exec.AsValue(err)
	}
	return exec.AsSafeValue(string(raw))
}

// plain takes the library's wrapping off a value.
func plain(v *exec.Value) any {
	switch {
	case v.IsString():
		return v.String()
	case v.IsList():
		out := make([]any, v.Len())
		for i := range out {
			out[i] = plain(v.Index(i))
		}
		return out
	}
	return v.ToGoSimpleType(false)
}

// filterReplace is the harness's own filter: re.sub(pattern, repl, string).
func filterReplace(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) *exec.Value {
	var pattern, replacement string
	if err := args.Take(
		exec.PositionalArgument("pattern", nil, exec.StringArgument(&pattern)),
		exec.PositionalArgument("repl", nil, exec.StringArgument(&replacement)),
	); err != nil {
		return exec.AsValue(exec.ErrInvalidCall(err))
	}
	re, err := compileRegex(pattern)
	if err != nil {
		return exec.AsValue(err)
	}
	return exec.AsValue(re.replace(in.String(), replacement))
}

type stringMethod = exec.Method[string]

// stringMethods are Python's that the library lacks or has otherwise, beside
// the library's own.
func stringMethods() *exec.MethodSet[string] {
	set := func(chars *string) func(rune) bool {
		return func(r rune) bool {
			if *chars == "" {
				return isSpace(r)
			}
			return strings.ContainsRune(*chars, r)
		}
	}
	trim := func(cut func(string, func(rune) bool) string) stringMethod {
		return func(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
			var chars string
			if err := args.Take(exec.PositionalArgument("chars", exec.AsValue(""), exec.StringArgument(&chars))); err != nil {
				return nil, exec.ErrInvalidCall(err)
			}
			return cut(self, set(&chars)), nil
		}
	}
	index := func(last bool) stringMethod {
		return func(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
			var sub string
			if err := args.Take(exec.PositionalArgument("sub", nil, exec.StringArgument(&sub))); err != nil {
				return nil, exec.ErrInvalidCall(err)
			}
			at := strings.Index(self, sub)
			if last {
				at = strings.LastIndex(self, sub)
			}
			if at < 0 {
				return nil, fmt.Errorf("%q is not in the text", sub)
			}
			return utf8.RuneCountInString(self[:at]), nil
		}
	}
	own := map[string]stringMethod{
		"strip": trim(strings.TrimFunc), "lstrip": trim(strings.TrimLeftFunc), "rstrip": trim(strings.TrimRightFunc),
		"index": index(false), "rindex": index(true),
		"split": methodSplit, "replace": methodReplace,
		"capitalize": func(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
			return capitalize(self), args.Take()
		},
	}
	for _, name := range []string{
		"capwords", "casefold", "center", "count", "endswith", "expandtabs", "find", "format", "isalnum", "isalpha", "isdigit", "islower",
		"isnumeric", "isspace", "istitle", "isupper", "join", "ljust", "lower", "partition", "removeprefix", "removesuffix", "rfind", "rjust",
		"rpartition", "rsplit", "splitlines", "startswith", "swapcase", "title", "upper", "zfill",
	} {
		if m, ok := builtins.Methods.Str.Get(name); ok {
			own[name] = m
		}
	}
	return exec.NewMethodSet(own)
}

func methodSplit(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
	var separator any
	limit := -1
	if err := args.Take(
		exec.PositionalArgument("sep", exec.AsValue(nil), exec.AnyArgument(&separator)),
		exec.PositionalArgument("maxsplit", exec.AsValue(-1), exec.IntArgument(&limit)),
	); err != nil {
		return nil, exec.ErrInvalidCall(err)
	}
	var parts []string
	switch s := separator.(type) {
	case nil:
		parts = fields(self)
		if limit >= 0 && len(parts) > limit+1 {
			return nil, errors.New("split: maxsplit needs a separator here")
		}
	case string:
		if s == "" {
			return nil, errors.New("split: empty separator")
		}
		n := -1
		if limit >= 0 {
			n = limit + 1
		}
		parts = strings.SplitN(self, s, n)
	default:
		return nil, fmt.Errorf("split: the separator is %v, not a text", s)
	}
	return anys(parts), nil
}

func anys(parts []string) []any {
	out := make([]any, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return out
}

func methodReplace(self string, _ *exec.Value, args *exec.VarArgs) (any, error) {
	var old, fresh string
	count := -1
	if err := args.Take(
		exec.PositionalArgument("old", nil, exec.StringArgument(&old)),
		exec.PositionalArgument("new", nil, exec.StringArgument(&fresh)),
		exec.PositionalArgument("count", exec.AsValue(-1), exec.IntArgument(&count)),
	); err != nil {
		return nil, exec.ErrInvalidCall(err)
	}
	return strings.Replace(self, old, fresh, count), nil
}

func listMethods() *exec.MethodSet[[]any] {
	search := func(args *exec.VarArgs, self *exec.Value) (first, n int, err error) {
		var item any
		if err := args.Take(exec.PositionalArgument("value", nil, exec.AnyArgument(&item))); err != nil {
			return 0, 0, exec.ErrInvalidCall(err)
		}
		first = -1
		for i := range self.Len() {
			if self.Index(i).EqualValueTo(exec.AsValue(item)) {
				n++
				if first < 0 {
					first = i
				}
			}
		}
		if first < 0 {
			err = fmt.Errorf("%#v is not in the list", item)
		}
		return first, n, err
	}
	return exec.NewMethodSet(map[string]exec.Method[[]any]{
		"index": func(_ []any, self *exec.Value, args *exec.VarArgs) (any, error) {
			at, _, err := search(args, self)
			return at, err
		},
		"count": func(_ []any, self *exec.Value, args *exec.VarArgs) (any, error) {
			_, n, err := search(args, self)
			if n == 0 && err != nil {
				err = nil
			}
			return n, err
		},
	})
}
