package jinja

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/chat/jinja/py"
)

// TestHostile: templates that would run for ever or eat the machine end soon, with an error that says why.
func TestHostile(t *testing.T) {
	tests := []struct{ name, template string }{
		{"long loop", `{% for i in range(100000000) %}{% endfor %}`},
		{"loops in loops", `{% for i in range(1000) %}{% for j in range(1000) %}{% for k in range(1000) %}{% endfor %}{% endfor %}{% endfor %}`},
		{"absurd range", `{{ range(1000000000000000000) }}`},
		{"repeated string", `{{ 'a' * 1000000000000 }}`},
		{"repeated list", `{{ ([0] * 100000) * 100000000 }}`},
		{"doubling", `{% set ns = namespace(s='a') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}`},
		{"doubling without a loop", `{% set s = 'a' * 1000000 %}` + strings.Repeat(`{% set s = s + s %}`, 60)},
		{"doubling a list", `{% set ns = namespace(s=[0]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`},
		{"endless recursion", `{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}`},
		{"recursion in two", `{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}`},
		{"fan-out", `{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}`},
		{"recursive loop", `{% set l = [[0]] %}{% for x in l recursive %}{{ loop(l) }}{% endfor %}`},
		{"deep value, printed", `{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}`},
		{"deep value, JSON", `{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l | tojson }}`},
		{"deep values, compared", `{% set ns = namespace(l=[], m=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% set ns.m = [ns.m] %}{% endfor %}{{ ns.l == ns.m }}`},
		{"deep values, ordered", `{% set ns = namespace(l=[], m=[1]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% set ns.m = [ns.m] %}{% endfor %}{{ ns.l < ns.m }}`},
		{"wide sharing, printed", `{% set ns = namespace(l=[0]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}`},
		{"replace", `{% set s = 'a' * 1000000 %}{{ s | replace('a', s) }}`},
		{"replace nothing", `{% set s = 'a' * 1000000 %}{{ s.replace('', s) }}`},
		{"join", `{% set s = 'a' * 1000000 %}{{ (range(10000) | join(s)) }}`},
		{"method join", `{% set s = 'a' * 1000000 %}{{ s.join(s) }}`},
		{"indent", `{{ ('\n' * 10000000) | indent('a' * 10000000) }}`},
		{"padding", `{{ 'a'.zfill(100000000000) }}`},
		{"JSON indent", `{{ [[[[[0]]]]] * 1000 | tojson(indent='a' * 100000000) }}`},
		{"format", `{{ ('%900s' * 1000000) % ((1,) * 1000000) }}`},
		{"unique", `{{ range(1000000) | unique | list }}`},
		{"search", `{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{{ s.find('b') }}{% endfor %}`},
		{"characters", `{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{{ s[-1] }}{% endfor %}`},
		{"output", `{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{{ s }}{% endfor %}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			_, _, err := render(tt.template, nil, Options{Bytes: 64 << 20})
			if !errors.Is(err, py.ErrLimit) {
				t.Errorf("error %v, want a limit", err)
			}
			if took := time.Since(start); took > time.Minute { // less than a second where nothing else runs
				t.Errorf("it took %v", took)
			}
		})
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapSys > 2<<30 {
		t.Errorf("the heap grew to %d bytes", m.HeapSys)
	}
}

func TestDeepSource(t *testing.T) {
	for name, source := range map[string]string{
		"parentheses": `{{ ` + strings.Repeat("(", 50000) + strings.Repeat(")", 50000) + ` }}`,
		"lists":       `{{ ` + strings.Repeat("[", 50000) + strings.Repeat("]", 50000) + ` }}`,
		"not":         `{{ ` + strings.Repeat("not ", 50000) + `1 }}`,
		"minus":       `{{ ` + strings.Repeat("- ", 50000) + `1 }}`,
		"blocks":      strings.Repeat("{% if 1 %}", 20000) + strings.Repeat("{% endif %}", 20000),
		"size":        strings.Repeat(" ", maxSource+1),
	} {
		if _, err := Parse(source); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// Long chains are fine: they are as deep as the source is long, and no deeper.
	for name, source := range map[string]string{
		"sum":     `{{ 0` + strings.Repeat("+1", 100000) + ` }}`,
		"filters": `{{ 'a'` + strings.Repeat("|trim", 40000) + ` }}`,
	} {
		if _, _, err := render(source, nil, Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		template, message string
		line              int
	}{
		{"a\n\n{{ 1 + }}", `unexpected "}}"`, 3},
		{"a\n{% if x %}\n", "the template ends before {% endif %}", 2},
		{"\n{% include 'f' %}", "stands alone", 2},
		{"\n\n{{ x | nosuch }}", `unknown filter "nosuch"`, 3},
		{"\n{{ x.y }}", "'x' is undefined", 2},
		{"{% for a in [1] %}\n{{ a.b.c }}{% endfor %}", "'int object' has no attribute 'b'", 2},
		{"{{ raise_exception('only user and assistant') }}", "refused by the template: only user and assistant", 1},
		{"{{ 'abc }}", "a string without its closing", 1},
		{"{{ ) }}", `unexpected ")"`, 1},
	}
	for _, tt := range tests {
		_, _, err := render(tt.template, nil, Options{})
		var at *Error
		if !errors.As(err, &at) || at.Line != tt.line || !strings.Contains(err.Error(), tt.message) {
			t.Errorf("%q: %v; want line %d, %s", tt.template, err, tt.line, tt.message)
		}
	}
	if _, _, err := render("{{ raise_exception('x') }}", nil, Options{}); !errors.Is(err, py.ErrRaised) {
		t.Errorf("%v is not ErrRaised", err)
	}
}

func TestGenerationSpans(t *testing.T) {
	const template = `{% for m in messages %}<{{ m }}>{% if loop.index is even %}{% generation %}{{ m }}!{% endgeneration %}{% endif %}{% endfor %}{% macro f() %}{% generation %}no{% endgeneration %}{% endmacro %}{{ f() }}`
	out, spans, err := render(template, map[string]any{"messages": []any{"a", "bé", "c", "d"}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, s := range spans {
		parts = append(parts, out[s.Start:s.End])
	}
	if strings.Join(parts, " ") != "bé! d!" {
		t.Errorf("%q: %q", out, parts)
	}
}

func TestOrderedValues(t *testing.T) {
	d := &Dict{}
	d.Set("z", 1)
	d.Set("a", []any{map[string]any{"q": nil, "b": 2.0}})
	out, _, err := render("{{ d | tojson }}", map[string]any{"d": d}, Options{})
	if want := `{"z": 1, "a": [{"b": 2.0, "q": null}]}`; err != nil || out != want {
		t.Errorf("%s, %v; want %s", out, err, want)
	}
	if _, _, err := render("", map[string]any{"d": struct{}{}}, Options{}); err == nil {
		t.Error("a struct gives no error")
	}
}

func FuzzRender(f *testing.F) {
	values, cases := goldens(f)
	for _, c := range cases {
		f.Add(c.Template)
	}
	f.Fuzz(func(t *testing.T, source string) {
		out, spans, err := render(source, values, Options{Steps: 20_000, Bytes: 1 << 20})
		if err == nil {
			for _, s := range spans {
				_ = out[s.Start:s.End]
			}
		}
	})
}
