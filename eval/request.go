package eval

import (
	"fmt"
	"reflect"
)

// Request is one thing asked of a model, as text.
type Request struct {
	Doc          int    // index of the document in its split
	Choice       int    // index among the document's requests
	Context      string // empty for a whole text that is rolled over
	Continuation string // empty where the model is to write it
}

// Asked is a task with its documents and the requests they make, in order.
type Asked struct {
	Task     *Task
	Shots    int
	Docs     []Doc // processed
	Total    int   // documents of the split, of which Docs are the first
	Requests []Request

	delimiter string // before a choice

	choices [][]string // of multiple choice, by document
	right   [][]int    // the right ones among them
	targets []any
	first   []int // index of each document's first request, and the end
}

// BuildOptions say which requests a task makes.
type BuildOptions struct {
	Limit       int    // first so many documents; 0: all
	Shots       int    // examples before each question; below 0: as the task says
	FewshotSeed uint64 // of drawing examples
	System      string // instruction before everything
	Chat        *Chat  // nil: requests are plain texts
}

// DefaultFewshotSeed is the harness's.
const DefaultFewshotSeed = 1234

// EmptyError is a split without documents.
type EmptyError struct{ Task, Split string }

func (e *EmptyError) Error() string {
	return fmt.Sprintf("task %s: the split %q holds no documents", e.Task, e.Split)
}

// docError names the document that a request could not be made of.
func docError(t *Task, doc int, err error) error {
	return fmt.Errorf("task %s: document %d: %w", t.Name, doc, err)
}

// Build makes the requests of a task: of docs, the documents of its split, with
// examples from fewshot. Examples are drawn for one document after the other,
// so --limit changes none.
func Build(t *Task, docs, fewshot []Doc, opt BuildOptions) (*Asked, error) {
	a := &Asked{Task: t, Shots: t.Shots(opt.Shots), Total: len(docs), delimiter: t.targetDelimiter()}
	if opt.Chat != nil {
		a.delimiter = "" // the template ends the question
	}
	if len(docs) == 0 {
		return nil, &EmptyError{t.Name, t.Split()}
	}
	if opt.Limit > 0 && opt.Limit < len(docs) {
		docs = docs[:opt.Limit]
	}
	var err error
	if a.Docs, err = processAll(t, docs); err != nil {
		return nil, err
	}
	p := newPrompter(t)
	examples, err := newSampler(p, fewshot, a.Shots, opt.FewshotSeed)
	if err != nil {
		return nil, err
	}
	for i, doc := range a.Docs {
		context, err := examples.context(doc, opt)
		if err != nil {
			return nil, docError(t, i, err)
		}
		a.first = append(a.first, len(a.Requests))
		if err := a.ask(p, i, context); err != nil {
			return nil, docError(t, i, err)
		}
	}
	a.first = append(a.first, len(a.Requests))
	return a, nil
}

func processAll(t *Task, docs []Doc) ([]Doc, error) {
	if t.ProcessDocs.Function == "" {
		return docs, nil
	}
	out := make([]Doc, len(docs))
	for i, doc := range docs {
		var err error
		if out[i], err = process(t.ProcessDocs.Function, doc); err != nil {
			return nil, docError(t, i, err)
		}
	}
	return out, nil
}

// Of returns the requests of the i-th document.
func (a *Asked) Of(i int) []Request { return a.Requests[a.first[i]:a.first[i+1]] }

// Partial says that not all documents of the published split are asked.
func (a *Asked) Partial() bool {
	return len(a.Docs) < a.Total || a.Total < a.Task.Metadata.Documents
}

// Published is how many documents the split has.
func (a *Asked) Published() int { return max(a.Total, a.Task.Metadata.Documents) }

// ask adds a document's requests.
func (a *Asked) ask(p *prompter, i int, before contextOf) error {
	t, doc := a.Task, a.Docs[i]
	target, err := p.target(doc, t.DocToTarget)
	if err != nil {
		return err
	}
	a.targets = append(a.targets, target)
	text, err := p.text(doc, t.DocToText)
	if err != nil {
		return err
	}
	if t.Output == MultipleChoice {
		return a.askChoices(p, i, before, text, target)
	}
	a.choices, a.right = append(a.choices, nil), append(a.right, nil)
	question, ok := text.(string)
	if !ok {
		question = pythonText(text)
	}
	context, err := before(question)
	if err != nil {
		return err
	}
	r := Request{Doc: i, Context: context}
	switch t.Output {
	case LogLikelihood:
		r.Continuation = pythonText(target)
	case Rolling:
		r.Context, r.Continuation = "", pythonText(target)
	}
	a.Requests = append(a.Requests, r)
	return nil
}

// askChoices adds a request a choice: a continuation after the question, or,
// where the text is the index of a choice, the target after each choice.
func (a *Asked) askChoices(p *prompter, i int, before contextOf, text, target any) error {
	context := ""
	choices, err := p.choices(a.Docs[i], a.Task.DocToChoice)
	if err != nil {
		return err
	}
	a.choices = append(a.choices, choices)
	_, isText := text.(string)
	right := target
	if !isText {
		right = text
	}
	indices, err := gold(right, choices)
	if err != nil {
		return err
	}
	a.right = append(a.right, indices)
	for c, choice := range choices {
		r := Request{Doc: i, Choice: c}
		question := choice
		if r.Continuation = a.delimiter + pythonText(target); isText {
			question, r.Continuation = text.(string), a.delimiter+choice
		}
		if c == 0 || !isText {
			if context, err = before(question); err != nil {
				return err
			}
		}
		r.Context = context
		a.Requests = append(a.Requests, r)
	}
	return nil
}

// sampler draws few-shot examples as the harness does.
type sampler struct {
	p      *prompter
	docs   []Doc
	shots  int
	draw   int // one more than shots where the document itself may be drawn
	random *Random
	first  bool
	texts  map[int]string // of examples written before
	intro  *template
}

func newSampler(p *prompter, docs []Doc, shots int, seed uint64) (*sampler, error) {
	t := p.task
	s := &sampler{p: p, shots: shots, draw: shots, random: NewRandom(seed), first: t.Fewshot.Sampler == "first_n", texts: map[int]string{}}
	var err error
	if t.Description != "" {
		if s.intro, err = compile(t.Description); err != nil {
			return nil, t.fail("description: %v", err)
		}
	}
	if shots == 0 {
		return s, nil
	}
	if t.Fewshot.Samples != nil && t.FewshotSplit == "" {
		docs = t.Fewshot.Samples
	} else if docs, err = processAll(t, docs); err != nil {
		return nil, err
	}
	s.docs = docs
	if t.FewshotSplit == t.TestSplit {
		s.draw++
	}
	if s.draw > len(docs) {
		return nil, fmt.Errorf("task %s: %d examples are asked for, and the split %q holds %d documents", t.Name, shots, t.FewshotFrom(), len(docs))
	}
	return s, nil
}

// drawn are the examples for a document.
func (s *sampler) drawn(doc Doc) (out []int) {
	if s.shots == 0 {
		return nil
	}
	for _, i := range s.sample() {
		if len(out) < s.shots && !reflect.DeepEqual(s.docs[i], doc) {
			out = append(out, i)
		}
	}
	return out
}

// before is the examples for a document, as text.
func (s *sampler) before(examples []int) (out string, err error) {
	for _, i := range examples {
		text, ok := s.texts[i]
		if !ok {
			if text, err = s.p.example(s.docs[i]); err != nil {
				return "", fmt.Errorf("example %d: %w", i, err)
			}
			s.texts[i] = text
		}
		out += text
	}
	return out, nil
}

func (s *sampler) sample() []int {
	if !s.first {
		return s.random.Sample(len(s.docs), s.draw)
	}
	out := make([]int, s.draw)
	for i := range out {
		out[i] = i
	}
	return out
}

// Target is what the i-th document's right answer is: a text, the index of a
// choice, or several.
func (a *Asked) Target(i int) any { return a.targets[i] }
