package eval

import (
	"fmt"

	"github.com/coppice-ml/coppice/chat/jinja"
)

// template is a parsed Jinja template, as the harness's environment has it:
// nothing is trimmed, and a column that is not there is an error.
type template struct{ *jinja.Template }

func compile(source string) (*template, error) {
	t, err := jinja.ParseAs(source, jinja.Dialect{
		Plain: true, Strict: true,
		Filters: map[string]func(string, []string) (string, error){"regex_replace": regexReplace},
	})
	if err != nil {
		return nil, err
	}
	return &template{t}, nil
}

// render fills a template in.
func (t *template) render(doc Doc) (string, error) {
	text, _, err := t.Render(doc, jinja.Options{})
	return text, err
}

// evaluate reads the text back as a Python literal, as the harness does where it
// wants a list.
func (t *template) evaluate(doc Doc) (any, error) {
	text, err := t.render(doc)
	if err != nil {
		return nil, err
	}
	return literal(text)
}

// regexReplace is the harness's own filter: re.sub(pattern, repl, string).
func regexReplace(text string, args []string) (string, error) {
	if len(args) != 2 {
		return "", fmt.Errorf("regex_replace: want a pattern and a replacement")
	}
	re, err := compileRegex(args[0])
	if err != nil {
		return "", err
	}
	return re.replace(text, args[1]), nil
}
