package eval

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestTemplates(t *testing.T) {
	doc := Doc{
		"goal": "a <b> & 'c' ", "n": int64(3), "f": 2.0, "none": nil, "yes": true, "two": []any{"it's", `"x"`},
		"choices": map[string]any{"text": []any{"a", "b's\n"}, "label": []any{"A", "B"}}, "key": " B", "text": "one two  three",
	}
	for _, tt := range []struct{ template, want string }{
		{"Question: {{goal}}\nAnswer:\n", "Question: a <b> & 'c' \nAnswer:\n"},
		{"{{goal.strip()}}|{{key.lstrip()}}", "a <b> & 'c'|B"},
		{"{{choices.label.index(key.lstrip())}}", "1"},
		{"{{text.split(' ')[:-1]|join(' ')}}|{{' '+text.split(' ')[-1]}}", "one two | three"},
		{"{{n}} {{f}} {{none}} {{yes}}", "3 2.0 None True"},
		{"{{two}}", `["it's", '"x"']`},
		{"{{ {'1': 0, '2': 1}['2'] }}", "1"},
		{"{% if n == 3 %}\nyes\n{% endif %}", "\nyes\n"},
		{"{{ goal|regex_replace('<(.)>', '[\\\\1]') }}", "a [b] & 'c' "},
		{"{{ goal.replace('a', 'z') }}{{ '%s-%s' % (n, key) }}", "z <b> & 'c' 3- B"},
	} {
		t.Run(tt.template, func(t *testing.T) {
			c, err := compile(tt.template)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.render(doc)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	for _, bad := range []string{"{{missing}}", "{{choices.missing}}", "{{goal.index('zz')}}", "{% include '/etc/passwd' %}", "{{ unclosed"} {
		c, err := compile(bad)
		if err == nil {
			_, err = c.render(doc)
		}
		if err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestChoices(t *testing.T) {
	doc := Doc{"sol1": `it's "a"`, "sol2": "b\\\n☃", "choices": map[string]any{"text": []any{"x", "y"}}}
	for _, tt := range []struct {
		field Field
		want  []string
	}{
		{Field{Text: "{{[sol1, sol2]}}", set: true}, []string{`it's "a"`, "b\\\n☃"}},
		{Field{Text: "{{choices.text}}", set: true}, []string{"x", "y"}},
		{Field{Text: "['p', \"q\", 3]", set: true}, []string{"p", "q", "3"}},
		{Field{List: []string{"A", "B"}, set: true}, []string{"A", "B"}},
	} {
		got, err := newPrompter(&Task{}).choices(doc, tt.field)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.field, diff)
		}
	}
}

func TestLiteral(t *testing.T) {
	for _, tt := range []struct {
		text string
		want any
	}{
		{`['a', "b\n", 'c\x41\u2603']`, []any{"a", "b\n", "cA☃"}}, {"(1, 2.5, -3)", []any{int64(1), 2.5, int64(-3)}},
		{"[True, False, None, []]", []any{true, false, nil, []any{}}}, {"'x'", "x"}, {"['a',]", []any{"a"}},
	} {
		got, err := literal(tt.text)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", tt.text, err, diff)
		}
	}
	for _, bad := range []string{"", "[", "['a'", "'a", "a", "[1 2]", "'\\x4'", "[1]x", strings.Repeat("[", 1000)} {
		if got, err := literal(bad); err == nil {
			t.Errorf("%s: %v and no error", bad, got)
		}
	}
}

func FuzzLiteral(f *testing.F) {
	for _, s := range []string{"['a', \"b\"]", "(1, 2.5)", "[[]]", "'\\u2603'", "None"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { _, _ = literal(s) })
}

func FuzzTaskFile(f *testing.F) {
	f.Add("task: x\ndataset_path: y\ntest_split: test\noutput_type: loglikelihood\ndoc_to_text: a\ndoc_to_target: '{{b}}'\n")
	f.Add("group: g\ntask: [a, b]\naggregate_metric_list: [{metric: acc}]\n")
	f.Add("include: x.yaml\ntask: t\n")
	f.Fuzz(func(t *testing.T, s string) {
		l := &Library{tasks: map[string]*Task{}, groups: map[string]*Group{}, tags: map[string][]string{}}
		_ = l.add(files{fs: mapFS(s), name: "fuzz"}, true)
	})
}

func TestTaskFiles(t *testing.T) {
	const good = "task: x\ndataset_path: y\ntest_split: test\noutput_type: multiple_choice\ndoc_to_text: a\ndoc_to_target: b\ndoc_to_choice: c\n"
	for _, tt := range []struct{ name, file, want string }{
		{"unknown key", "doc_to_txt: x\n" + good, "line 1: unknown key doc_to_txt; did you mean doc_to_text?"},
		{"inner key", good + "metric_list:\n- metric: acc\n  agregation: mean\n", "line 10: unknown key metric_list[0].agregation; did you mean aggregation?"},
		{"python", good + "process_docs: !function utils.process_docs\n", "!function utils.process_docs is Python"},
		{"prompt", good + "use_prompt: x\n", "promptsource is Python"},
		{"metric", good + "metric_list: [{metric: bleu}]\n", `metric "bleu" of multiple_choice: want one of acc, acc_norm, exact_match`},
		{"output", strings.Replace(good, "multiple_choice", "generate", 1), `output_type "generate": want one of`},
		{"template", strings.Replace(good, "doc_to_text: a", `doc_to_text: "{{a"`, 1), "doc_to_text: line 1:"},
		{"split", strings.Replace(good, "test_split", "training_split", 1), "neither a test_split nor a validation_split"},
		{"filter", good + "filter_list: [{name: a, filter: [{function: magic}]}]\n", `unknown filter "magic"`},
		{"yaml", "task: [", "did not find expected"},
		{"loop", "include: t.yaml\ntask: x\n", "includes itself"},
		{"repeats", good + "repeats: 3\n", "every request is asked once"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &Library{tasks: map[string]*Task{}, groups: map[string]*Group{}, tags: map[string][]string{}}
			err := l.add(files{fs: mapFS(tt.file), name: "dir"}, true)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "dir/t.yaml") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestPython(t *testing.T) {
	for in, want := range map[string]string{"": "", "hello WORLD": "Hello world", "ÉTÉ": "Été", "ǆx": "ǅx", "ΑΣ": "Ας", "ßA": "Ssa", "1AB": "1ab"} {
		if got := capitalize(in); got != want {
			t.Errorf("capitalize(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]int{"": 1, "a": 1, " a b ": 4, "a\u00a0\x1cb": 2, "\n\n": 2} {
		if got := countWords(in); got != want {
			t.Errorf("countWords(%q) = %d, want %d", in, got, want)
		}
	}
}

func mapFS(text string) fstest.MapFS { return fstest.MapFS{"t.yaml": {Data: []byte(text)}} }
