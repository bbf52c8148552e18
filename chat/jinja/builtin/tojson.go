package builtin

import (
	"fmt"
	"strings"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

// filterToJSON is transformers' tojson: nothing is escaped for HTML, and characters stay as they are.
func filterToJSON(r *py.Env, a py.Args) (any, error) {
	v, err := a.Bind("tojson", "value", "ensure_ascii", "indent", "separators", "sort_keys")
	if err != nil {
		return nil, err
	}
	form := py.JSONForm{ASCII: py.Truth(py.Given(v[1], false)), Sorted: py.Truth(py.Given(v[4], false)), Comma: ", ", Colon: ": "}
	switch indent := py.Given(v[2], nil).(type) {
	case nil:
	case string:
		form.Indent, form.Pretty = indent, true
	default:
		n, ok := py.Integer(indent)
		if !ok || n > 100 {
			return nil, fmt.Errorf("tojson: an indent of type %s, or above 100", py.TypeName(indent))
		}
		form.Indent, form.Pretty = strings.Repeat(" ", int(max(n, 0))), true
	}
	if form.Pretty {
		form.Comma = ","
	}
	if l, ok := py.Given(v[3], nil).(*py.List); ok && len(l.Items) == 2 {
		comma, okComma := l.Items[0].(string)
		colon, okColon := l.Items[1].(string)
		if !okComma || !okColon {
			return nil, fmt.Errorf("tojson: separators are two strings")
		}
		form.Comma, form.Colon = comma, colon
	}
	return r.JSON(v[0], form)
}
