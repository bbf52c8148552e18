package eval

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Message is one turn of a chat: of system, user or assistant.
type Message struct{ Role, Content string }

// Chat says how requests are put into a chat.
type Chat struct {
	// Render writes messages by a chat template, up to where the assistant begins.
	Render func([]Message) (string, error)
	// Multiturn makes a turn of each example and of its answer; otherwise they stand
	// in the user's message, before the question.
	Multiturn bool
}

// contextOf makes the context of a question.
type contextOf func(question string) (string, error)

// context is how questions of a document are asked: after the instruction, the
// task's description and examples, in a chat where one is wanted. The messages are
// those of the harness's fewshot_context: what is said before everything is the
// system's, and answers have no space before them.
func (s *sampler) context(doc Doc, opt BuildOptions) (contextOf, error) {
	intro := ""
	if s.intro != nil {
		var err error
		if intro, err = s.intro.render(doc); err != nil {
			return nil, fmt.Errorf("description: %w", err)
		}
	}
	intro = delimit(opt.System, intro, s.p.task.fewshotDelimiter())
	examples := s.drawn(doc)
	if opt.Chat == nil {
		before, err := s.before(examples)
		return func(question string) (string, error) { return intro + before + question, nil }, err
	}
	var turns []Message
	if intro != "" {
		turns = append(turns, Message{"system", intro})
	}
	before := ""
	var err error
	if opt.Chat.Multiturn {
		turns, err = s.turns(turns, examples)
	} else {
		before, err = s.before(examples)
	}
	return func(question string) (string, error) {
		return opt.Chat.Render(append(turns[:len(turns):len(turns)], Message{"user", before + question}))
	}, err
}

// turns adds examples as turns of their own.
func (s *sampler) turns(out []Message, examples []int) ([]Message, error) {
	for _, i := range examples {
		question, answer, answered, err := s.p.turn(s.docs[i])
		if err != nil {
			return nil, fmt.Errorf("example %d: %w", i, err)
		}
		if out = append(out, Message{"user", question}); answered {
			out = append(out, Message{"assistant", answer})
		}
	}
	return out, nil
}

// delimit joins two texts, with delimiter where neither has white space there.
func delimit(a, b, delimiter string) string {
	if a == "" || b == "" {
		return a + b
	}
	last, _ := utf8.DecodeLastRuneInString(a)
	if first, _ := utf8.DecodeRuneInString(b); unicode.IsSpace(last) || unicode.IsSpace(first) {
		return a + b
	}
	return a + delimiter + b
}
