package eval

import (
	"fmt"
	"strings"
)

// Doc is one document of a dataset: its columns. Values are text, int64,
// float64, bool, nil, []any and map[string]any.
type Doc = map[string]any

// prompter makes the parts of requests of a task's documents.
type prompter struct {
	task      *Task
	templates map[string]*template
}

func newPrompter(t *Task) *prompter { return &prompter{task: t, templates: map[string]*template{}} }

func (p *prompter) template(source string) (*template, error) {
	if t, ok := p.templates[source]; ok {
		return t, nil
	}
	t, err := compile(source)
	if err != nil {
		return nil, err
	}
	p.templates[source] = t
	return t, nil
}

// field is what a document gives for a field, before it is read as text,
// target or choices. Templates give their text.
func (p *prompter) field(f Field, doc Doc) (value any, rendered bool, err error) {
	switch {
	case f.Function != "":
		value, err = call(f.Function, doc)
		return value, false, err
	case f.Number != nil:
		return int64(*f.Number), false, nil
	case f.List != nil:
		return anys(f.List), false, nil
	}
	if column, ok := doc[f.Text]; ok {
		return column, false, nil
	}
	t, err := p.template(f.Text)
	if err != nil {
		return nil, false, err
	}
	text, err := t.render(doc)
	return text, true, err
}

func anys(texts []string) []any {
	out := make([]any, len(texts))
	for i, t := range texts {
		out[i] = t
	}
	return out
}

// or is the field to use where few-shot examples may have their own.
func (f Field) or(other Field) Field {
	if f.set {
		return f
	}
	return other
}

// text is doc_to_text: a text, or the index of a choice.
func (p *prompter) text(doc Doc, f Field) (any, error) {
	v, rendered, err := p.field(f, doc)
	if err != nil {
		return nil, fmt.Errorf("doc_to_text: %w", err)
	}
	if s, ok := v.(string); ok && rendered && isDigits(s) && p.task.DocToChoice.set {
		n, err := integer(s)
		return int64(n), err
	}
	return v, nil
}

// target is doc_to_target: a text, the index of a choice, or a list of such.
func (p *prompter) target(doc Doc, f Field) (any, error) {
	v, rendered, err := p.field(f, doc)
	if err != nil {
		return nil, fmt.Errorf("doc_to_target: %w", err)
	}
	s, ok := v.(string)
	switch {
	case !ok || !rendered:
		return v, nil
	case isDigits(s) && p.task.DocToChoice.set:
		n, err := integer(s)
		return int64(n), err
	case len(s) >= 2 && s[0] == '[' && s[len(s)-1] == ']':
		if list, err := literal(s); err == nil {
			return list, nil
		}
	}
	return s, nil
}

// choices is doc_to_choice: the texts to choose among.
func (p *prompter) choices(doc Doc, f Field) ([]string, error) {
	v, err := p.choiceList(doc, f)
	if err != nil {
		return nil, fmt.Errorf("doc_to_choice: %w", err)
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("doc_to_choice: want a list, not %v", v)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("doc_to_choice: there are no choices")
	}
	out := make([]string, len(list))
	for i, item := range list {
		out[i] = pythonText(item)
	}
	return out, nil
}

func (p *prompter) choiceList(doc Doc, f Field) (any, error) {
	if _, column := doc[f.Text]; f.Function != "" || f.List != nil || column {
		v, _, err := p.field(f, doc)
		return v, err
	}
	t, err := p.template(f.Text)
	if err != nil {
		return nil, err
	}
	return t.evaluate(doc)
}

// pythonText is str(v) for the values documents hold.
func pythonText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case float64:
		s := fmt.Sprint(v)
		if !strings.ContainsAny(s, ".eIN") {
			s += ".0"
		}
		return s
	}
	return fmt.Sprint(v)
}

// example is a document with its answer, as it stands before a question.
func (p *prompter) example(doc Doc) (string, error) {
	question, answer, answered, err := p.turn(doc)
	if err != nil || !answered {
		return question, err
	}
	return question + p.task.targetDelimiter() + answer + p.task.fewshotDelimiter(), nil
}

// turn is a document and its answer, if it has one.
func (p *prompter) turn(doc Doc) (question, answer string, answered bool, err error) {
	t, rules := p.task, p.task.Fewshot
	text, err := p.text(doc, rules.DocToText.or(t.DocToText))
	if err != nil {
		return "", "", false, err
	}
	target, err := p.target(doc, rules.DocToTarget.or(t.DocToTarget))
	if err != nil {
		return "", "", false, err
	}
	var choices []string
	if f := rules.DocToChoice.or(t.DocToChoice); f.set {
		if choices, err = p.choices(doc, f); err != nil {
			return "", "", false, err
		}
	}
	if question, err = spell(text, choices); err != nil {
		return "", "", false, fmt.Errorf("doc_to_text: %w", err)
	}
	if target == "" {
		return question, "", false, nil
	}
	if list, ok := target.([]any); ok && len(list) > 0 {
		return question, pythonText(list[0]), true, nil
	}
	if answer, err = spell(target, choices); err != nil {
		return "", "", false, fmt.Errorf("doc_to_target: %w", err)
	}
	return question, answer, true, nil
}

// spell gives the text of a choice that is named by its index; texts are themselves.
func spell(v any, choices []string) (string, error) {
	if s, ok := v.(string); ok || choices == nil {
		if ok {
			return s, nil
		}
		return pythonText(v), nil
	}
	i, err := integer(v)
	if err != nil {
		return "", err
	}
	if i < 0 || i >= len(choices) {
		return "", &GoldError{Gold: v, Choices: len(choices)}
	}
	return choices[i], nil
}

// GoldError is a right answer that is none of the choices.
type GoldError struct {
	Gold    any
	Choices int
}

func (e *GoldError) Error() string {
	return fmt.Sprintf("the gold answer %v is not among the %d choices (indices 0 to %d)", e.Gold, e.Choices, e.Choices-1)
}

// gold reads a target as indices of choices.
func gold(target any, choices []string) ([]int, error) {
	if list, ok := target.([]any); ok {
		var out []int
		for _, item := range list {
			one, err := gold(item, choices)
			if err != nil {
				return nil, err
			}
			out = append(out, one...)
		}
		return out, nil
	}
	if s, ok := target.(string); ok {
		for i, c := range choices {
			if c == s {
				return []int{i}, nil
			}
		}
	}
	i, err := integer(target)
	if err != nil || i < 0 || i >= len(choices) {
		return nil, &GoldError{Gold: target, Choices: len(choices)}
	}
	return []int{i}, nil
}
