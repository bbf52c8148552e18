// Package chat turns messages into the text that a chat model was trained on, by the template it is published
// with: chat_template.jinja, or chat_template in tokenizer_config.json. Models published without one have theirs
// built in, under names of its own.
//
// Templates are programs by strangers; package chat/jinja runs them and bounds them. Token ids belong to package
// tokenizer: the text has its special tokens written out, for EncodeMarked.
package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/chat/jinja"
	"github.com/coppice-ml/coppice/chat/jinja/py"
)

// ErrNone is wrapped by the error of Load for a directory without a template.
var ErrNone = errors.New("no chat template")

// ErrRefused is wrapped where a template refuses the messages, for instance two of the user in a row.
var ErrRefused = errors.New("the chat template does not take these messages")

// Message is one turn; roles are system, user and assistant, and others a template knows.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
	// More are further members, such as tool_calls: a JSON object, whose order templates
	// keep. A "content" in it, such as null, replaces Content. nil: there are none.
	More json.RawMessage `json:"-"`
}

// Template renders messages. It is immutable and safe for concurrent use.
type Template struct {
	source string // for errors
	hash   string
	text   string
	tokens map[string]any
	jinja  *jinja.Template
}

// Options of a rendering.
type Options struct {
	// Prompt adds what makes the model answer: the head of an assistant's message.
	Prompt bool
	Tools  json.RawMessage // a list of tools the model may call; nil: none
	Now    func() time.Time
}

// Hash is the SHA-256 of the template's text, in hexadecimal.
func (t *Template) Hash() string { return t.hash }

// Source names the file or the built-in template.
func (t *Template) Source() string { return t.source }

// BOS is the token that templates know as the one that begins a text, or "".
func (t *Template) BOS() string {
	bos, _ := t.tokens["bos_token"].(string)
	return bos
}

// Text is the template itself.
func (t *Template) Text() string { return t.text }

// Render returns the text of messages.
func (t *Template) Render(messages []Message, o Options) (string, error) {
	text, _, err := t.render(messages, o)
	return text, err
}

// dict is a message as templates have it.
func (m Message) dict() (*jinja.Dict, error) {
	d := &jinja.Dict{}
	d.Set("role", m.Role)
	d.Set("content", m.Content)
	if m.More == nil {
		return d, nil
	}
	more := json.NewDecoder(bytes.NewReader(m.More))
	if t, err := more.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("its further members are no JSON object")
	}
	for more.More() {
		name, err := more.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := more.Decode(&value); err != nil {
			return nil, err
		}
		d.Set(name.(string), value)
	}
	return d, nil
}

func (t *Template) render(messages []Message, o Options) (string, []Span, error) {
	values := make(map[string]any, len(t.tokens)+4)
	for name, text := range t.tokens {
		values[name] = text
	}
	list := make([]any, len(messages))
	for i, m := range messages {
		d, err := m.dict()
		if err != nil {
			return "", nil, fmt.Errorf("message %d: %w", i, err)
		}
		list[i] = d
	}
	values["messages"], values["add_generation_prompt"] = list, o.Prompt
	values["tools"], values["documents"] = nil, nil
	if o.Tools != nil {
		values["tools"] = o.Tools
	}
	text, spans, err := t.jinja.Render(values, jinja.Options{Now: o.Now})
	switch {
	case errors.Is(err, py.ErrRaised):
		return "", nil, fmt.Errorf("%s: %w: %w", t.source, ErrRefused, err)
	case err != nil:
		return "", nil, fmt.Errorf("%s: %w", t.source, err)
	}
	return text, spans, nil
}

// Span is a part of a text in bytes, or of ids, from Start up to End.
type Span = jinja.Span

// Conversation returns the text of messages and where in it the assistant's parts lie, those a model learns to
// write: what the template itself marks by {% generation %}, else from the end of the prompt before each
// message of the assistant to the end of what the message adds. The latter needs a template that only ever
// appends; one that rewrites earlier messages is an error.
func (t *Template) Conversation(messages []Message, o Options) (string, []Span, error) {
	o.Prompt = false
	text, spans, err := t.render(messages, o)
	if err != nil || t.jinja.MarksGeneration() {
		return text, spans, err
	}
	for i, m := range messages {
		if m.Role != "assistant" {
			continue
		}
		span, err := t.span(messages[:i+1], text, o)
		if err != nil {
			return "", nil, fmt.Errorf("message %d: %w", i, err)
		}
		spans = append(spans, span)
	}
	return text, spans, nil
}

// span is where the last of messages lies in text.
func (t *Template) span(messages []Message, text string, o Options) (Span, error) {
	with, _, err := t.render(messages, o)
	if err != nil {
		return Span{}, err
	}
	o.Prompt = true
	prompt, _, err := t.render(messages[:len(messages)-1], o)
	if err != nil {
		return Span{}, err
	}
	if !strings.HasPrefix(with, prompt) || !strings.HasPrefix(text, with) {
		return Span{}, fmt.Errorf("%s: the text of a message depends on those after it, so the assistant's part is unknown: mark it with {%% generation %%} in the template", t.source)
	}
	return Span{Start: len(prompt), End: len(with)}, nil
}

// TokenSpans returns the ids of text and the spans in ids. A token that lies across the start of a span is
// outside, one across its end inside.
func TokenSpans(encode func(string) []int, text string, spans []Span) ([]int, []Span) {
	ids := encode(text)
	out := make([]Span, len(spans))
	for i, s := range spans {
		out[i] = Span{Start: tokensBefore(encode, ids, text, s.Start), End: tokensBefore(encode, ids, text, s.End)}
	}
	return ids, out
}

// tokensBefore is how many of ids it takes to cover text up to at.
func tokensBefore(encode func(string) []int, ids []int, text string, at int) int {
	head := encode(text[:at])
	same := 0
	for same < min(len(head), len(ids)) && head[same] == ids[same] {
		same++
	}
	if same < len(head) && same < len(ids) {
		same++ // the token that the cut went through
	}
	return same
}
