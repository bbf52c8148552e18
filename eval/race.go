package eval

import (
	"fmt"
	"slices"
	"strings"
)

// problem is a question of RACE.
type problem struct {
	question string
	options  []string
	answer   int
}

// race makes what a field of RACE asks for of an article and its problems, a list or
// one written as a Python literal; the last one is asked.
func race(function string, doc Doc) (any, error) {
	problems, err := problemsOf(doc)
	if err != nil {
		return nil, err
	}
	last := problems[len(problems)-1]
	switch function {
	case raceTarget:
		return int64(last.answer), nil
	case raceChoice:
		return anys(last.options), nil
	}
	article, err := textOf(doc, "article")
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Article: %s\n\n", article)
	for _, p := range problems[:len(problems)-1] {
		if head, gap := strings.CutSuffix(p.question, " _  ."); gap && strings.HasSuffix(head, " ") {
			b.WriteString(head + p.options[p.answer] + "\n") // which fills the gap
			continue
		}
		fmt.Fprintf(&b, "Question: %s\nAnswer: %s\n", p.question, p.options[p.answer])
	}
	return b.String() + last.question, nil
}

func problemsOf(doc Doc) ([]problem, error) {
	list, isList := doc["problems"].([]any)
	if !isList {
		text, err := textOf(doc, "problems")
		if err != nil {
			return nil, err
		}
		value, err := literal(text)
		if err != nil {
			return nil, fmt.Errorf("problems: %w", err)
		}
		list, _ = value.([]any)
	}
	var out []problem
	for i, item := range list {
		m, _ := item.(map[string]any)
		p := problem{}
		var ok bool
		if p.question, ok = m["question"].(string); !ok {
			return nil, fmt.Errorf("problems: %d has no question", i)
		}
		options, _ := m["options"].([]any)
		for _, o := range options[:min(4, len(options))] {
			p.options = append(p.options, pythonText(o))
		}
		letter, _ := m["answer"].(string)
		p.answer = slices.Index([]string{"A", "B", "C", "D"}, letter)
		if p.answer < 0 || len(p.options) < 4 {
			return nil, fmt.Errorf("problems: %d has %d options, the answer %q", i, len(p.options), letter)
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("problems: there are none")
	}
	return out, nil
}
