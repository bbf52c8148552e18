package data

import (
	"encoding/json"
	"fmt"
	"strings"
)

// letters are the names of choices.
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// choice reads a question with its choices. The prompt is what the tasks of MMLU ask,
// and what is learnt the letter of the right choice, a space before it.
func (s Schema) choice(r Row, m Renames) (x Example, err error) {
	question, err := r.Text(m.in(r, "question"))
	if err != nil {
		return x, err
	}
	column := m.in(r, "choices")
	value, err := r.Value(column)
	if err != nil {
		return x, err
	}
	choices, _ := elements(value)
	if len(choices) < 2 || len(choices) > len(letters) {
		return x, r.Fail(fmt.Sprintf("column %q holds %s of %d choices", column, kindOf(value), len(choices)), "it must list at least two texts")
	}
	var b strings.Builder
	b.WriteString(strings.TrimSpace(question) + "\n")
	for i, c := range choices {
		fmt.Fprintf(&b, "%c. %v\n", letters[i], read(c))
	}
	b.WriteString("Answer:")
	x.Prompt = b.String()
	if answer := m.in(r, "answer"); !blank(r, answer) {
		x.Answer, err = letter(r, answer, len(choices))
	}
	return x, err
}

// read is a value that may still be as it was written.
func read(v any) any {
	if raw, ok := v.(json.RawMessage); ok {
		return plain(raw)
	}
	return v
}

// blank says that a row's answer is asked for.
func blank(r Row, column string) bool { text, err := r.Text(column); return err == nil && text == "" }

// letter is the right choice of n, given by its place from 0 or by its letter.
func letter(r Row, column string, n int) (string, error) {
	if text, err := r.Text(column); err == nil && len(text) == 1 && strings.Contains(letters[:n], text) {
		return " " + text, nil
	}
	i, err := r.Int(column)
	if err == nil && (i < 0 || i >= int64(n)) {
		err = r.Fail(fmt.Sprintf("column %q holds %d, and there are %d choices, from 0", column, i, n), "")
	}
	if err != nil {
		return "", err
	}
	return " " + letters[i:i+1], nil
}
