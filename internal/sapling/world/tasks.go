package world

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Doc is a document of a task, in the columns of the benchmark it is shaped after.
type Doc = map[string]any

// Task is a set of questions that training does not hold.
type Task struct {
	Name string // of the benchmark
	Docs []Doc
}

// Tasks makes the tasks. No two documents of one are the same.
func (w *World) Tasks(seed uint64) []Task {
	r := newRand(seed, "tasks")
	return []Task{
		{"piqa", unique(200, func() (string, Doc) { return w.piqa(r) })},
		{"hellaswag", unique(200, func() (string, Doc) { return w.hellaswag(r) })},
		{"winogrande", unique(200, func() (string, Doc) { return w.winogrande(r) })},
		{"arc_easy", w.known(r, func(f fact) []string { return f.asked }, arc)},
		{"arc_challenge", append(unique(150, func() (string, Doc) { c := compared(r, true); return c.question, arc(c) }),
			unique(50, func() (string, Doc) { c := sum(r, true); return c.question, arc(c) })...)},
		{"openbookqa", w.known(r, func(f fact) []string { return one2(f.stem) }, openbook)},
		{"mmlu", unique(200, func() (string, Doc) { return w.Fixed().mmlu(r) })},
	}
}

// unique collects n documents, made until their keys differ; fewer where there
// seem to be no more.
func unique(n int, make func() (string, Doc)) []Doc {
	seen := map[string]bool{}
	var out []Doc
	for tries := 0; len(out) < n && tries < 100*n; tries++ {
		key, d := make()
		if !seen[key] {
			seen[key] = true
			out = append(out, d)
		}
	}
	return out
}

// known asks for every fact about those who are held out, in all forms.
func (w *World) known(r *rand.Rand, forms func(fact) []string, doc func(choice) Doc) []Doc {
	var out []Doc
	for _, s := range w.kinds() {
		for _, f := range s.facts(0, s.held) {
			for _, form := range forms(f) {
				out = append(out, doc(f.choice(r, form)))
			}
		}
	}
	return out
}

func one2(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func (w *World) piqa(r *rand.Rand) (string, Doc) {
	g := w.goal(r, true)
	sols := []string{g.way(), goal{tool: one(r, tools(g.tool))}.way()}
	label := r.IntN(2)
	if label == 1 {
		slices.Reverse(sols)
	}
	d := Doc{"goal": "How do you " + g.does + "?", "sol1": sols[0], "sol2": sols[1], "label": label}
	return fmt.Sprint(g.does, sols), d
}

func (w *World) hellaswag(r *rand.Rand) (string, Doc) {
	s, n := w.scene(r, true)
	var wrong []string
	for _, o := range needs() {
		if o != n {
			wrong = append(wrong, o.act+".")
		}
	}
	c := choose(r, s.before, s.ending+".", others(r, wrong, "", 3))
	return s.before, Doc{"activity_label": s.label, "ctx_a": s.before, "ctx_b": s.pronoun, "ctx": s.before + " " + s.pronoun, "endings": c.answers, "label": fmt.Sprint(c.right)}
}

func (w *World) winogrande(r *rand.Rand) (string, Doc) {
	t := w.twin(r, true)
	return t.sentence, Doc{"sentence": t.sentence, "option1": t.options[0], "option2": t.options[1], "answer": fmt.Sprint(t.right + 1)}
}

// letters are answers as ARC and OpenBookQA list them.
func (c choice) letters() Doc {
	return Doc{"text": c.answers, "label": []string{"A", "B", "C", "D"}[:len(c.answers)]}
}

func arc(c choice) Doc {
	return Doc{"question": c.question, "choices": c.letters(), "answerKey": c.letter()}
}

func openbook(c choice) Doc {
	return Doc{"question_stem": c.question, "choices": c.letters(), "answerKey": c.letter()}
}

func (w *World) mmlu(r *rand.Rand) (string, Doc) {
	subject, c := w.multiple(r, true)
	return fmt.Sprint(c.question, c.answers), Doc{"question": c.question, "subject": subject, "choices": c.answers, "answer": c.right}
}
