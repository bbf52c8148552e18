package jinja

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

func fixed() time.Time { return time.Date(2024, 7, 26, 9, 5, 3, 0, time.UTC) }

type goldenCase struct {
	Template string
	Out      *string
	Error    string
}

func goldens(tb testing.TB) (values map[string]any, cases []goldenCase) {
	tb.Helper()
	data, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		tb.Fatal(err)
	}
	var file struct {
		Values map[string]json.RawMessage
		Cases  []goldenCase
	}
	if err := json.Unmarshal(data, &file); err != nil {
		tb.Fatal(err)
	}
	values = make(map[string]any)
	for name, raw := range file.Values {
		values[name] = raw
	}
	return values, file.Cases
}

func render(source string, values map[string]any, o Options) (string, []Span, error) {
	t, err := Parse(source)
	if err != nil {
		return "", nil, err
	}
	o.Now = fixed
	return t.Render(values, o)
}

// TestPython compares with what Python's Jinja2 made of the same templates (testdata/cases.py); where Python
// fails, so must we.
func TestPython(t *testing.T) {
	values, cases := goldens(t)
	exact := 0
	for _, c := range cases {
		out, _, err := render(c.Template, values, Options{})
		switch {
		case c.Out == nil && err != nil, c.Out != nil && err == nil && out == *c.Out:
			exact++
		case c.Out == nil:
			t.Errorf("%q\n got %q\nwant an error, %s", c.Template, out, c.Error)
		default:
			t.Errorf("%q\n got %q, %v\nwant %q", c.Template, out, err, *c.Out)
		}
	}
	t.Logf("%d of %d as in Python", exact, len(cases))
}
