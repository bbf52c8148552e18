package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/chat"
	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// templateAlpaca and templateChat are values of TrainData.Template that are no
// names of chat templates.
const (
	templateAlpaca = "alpaca"
	templateChat   = "chat"
)

// makeSamples makes samples of a source that a field names.
type makeSamples func(ctx context.Context, field, source string) ([]made, error)

// maker returns what makes samples of a named source.
func (d TrainData) maker(env Env, dir string, spec *model.Spec, set *trainSet) (makeSamples, error) {
	if d.Tokens != "" {
		return func(_ context.Context, _, path string) ([]made, error) { return set.labelled(path, spec) }, nil
	}
	t, err := tokenizer.Load(dir)
	if err != nil {
		return nil, wantTokenizer(err)
	}
	bos, err := startOf(t, "auto", dir, spec)
	if err != nil {
		return nil, err
	}
	m := &sampler{d: d, t: t, bos: ints(bos), dir: dir, spec: spec, set: set, env: env}
	if m.names, err = data.ParseRenames(d.Map); err != nil {
		return nil, err
	}
	return m.source, nil
}

// labelled takes rows of ids as they are.
func (s *trainSet) labelled(path string, spec *model.Spec) ([]made, error) {
	s.name(path)
	rows, err := data.ReadLabelled(path, spec.Vocab)
	if err != nil {
		return nil, err
	}
	var out []made
	for i, r := range rows {
		if len(r.Tokens) > spec.MaxPositions {
			return nil, failed("%s: row %d has %s, the model %d positions", path, i, report.Plural(len(r.Tokens), "token"), spec.MaxPositions).with("cut it")
		}
		out = s.keep(out, made{Sample: heal.Sample{Tokens: r.Tokens, Labels: r.Labels}, row: fmt.Sprintf("%s: row %d", path, i)})
	}
	return out, nil
}

func (s *trainSet) name(source string) {
	if s.source != "" {
		s.source += ", "
	}
	s.source += source
}

// keep appends a sample that has a target.
func (s *trainSet) keep(out []made, one made) []made {
	if one.Targets() == 0 {
		s.skipped++
		if one.cut {
			s.cutAway++
		}
		return out
	}
	if one.cut {
		s.cut++
	}
	return append(out, one)
}

// sampler makes samples of texts and conversations.
type sampler struct {
	d     TrainData
	t     *tokenizer.Tokenizer
	names data.Renames
	bos   []int
	dir   string
	spec  *model.Spec
	set   *trainSet
	env   Env

	chat *chat.Template // once it is needed
}

// source makes samples of one source.
func (m *sampler) source(ctx context.Context, field, source string) ([]made, error) {
	c, err := openData(ctx, m.env, field, source)
	if err != nil {
		return nil, err
	}
	m.set.name(c.source)
	var out []made
	for _, path := range c.files {
		if out, err = m.file(ctx, path, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (m *sampler) file(ctx context.Context, path string, out []made) ([]made, error) {
	if !data.HasFields(path) { // a text file is one text
		for text, err := range data.Texts([]string{path}, "") {
			if err == nil {
				err = m.plain()
			}
			if err != nil {
				return nil, err
			}
			if out, err = m.text(out, text, path); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	schema := data.Schema(m.d.Schema)
	for row, err := range data.Rows(path, data.RowOptions{Raw: true}) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil && schema == "" {
			schema, err = data.DetectSchema(row, m.names)
		}
		if err == nil {
			out, err = m.row(out, schema, row)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// plain refuses a template for rows that are texts.
func (m *sampler) plain() error {
	if m.d.Template == "" {
		return nil
	}
	return wrong("{template} %s: texts are learnt as they are, without a template", m.d.Template)
}

// row makes samples of a row.
func (m *sampler) row(out []made, schema data.Schema, row data.Row) ([]made, error) {
	x, err := schema.Read(row, m.names)
	if err != nil {
		return nil, err
	}
	asChat := m.d.Template != "" && m.d.Template != templateAlpaca
	switch {
	case schema == data.SchemaText:
		if err := m.plain(); err != nil {
			return nil, err
		}
		return m.text(out, x.Answer, row.Place())
	case x.Turns != nil && m.d.Template == templateAlpaca:
		return nil, row.Fail("it is a conversation, and Alpaca's words are for an instruction", "use the model's chat template")
	case x.Turns == nil && !asChat:
		if m.d.Template == templateAlpaca && !x.Instructed {
			x.Prompt = data.AlpacaPrompt(x.Prompt, "")
		}
		return m.exchange(out, x, row)
	case x.Turns == nil:
		x = asTurns(x)
	}
	return m.conversation(out, x, row)
}

// asTurns makes a conversation of a prompt and its answer.
func asTurns(x data.Example) data.Example {
	prompt := x.Prompt
	if x.Instructed {
		prompt = x.Instruction
	}
	return data.Example{Turns: []data.Turn{{Role: "user", Content: prompt}, {Role: "assistant", Content: x.Answer}}}
}

// encode begins with BOS where the tokenizer does.
func (m *sampler) encode(text string) []int {
	return append(slices.Clone(m.bos), m.t.Encode(text, false)...)
}

// end is EOS, where there is one.
func (m *sampler) end() []int {
	if eos, ok := m.t.EOS(); ok {
		return []int{eos}
	}
	return nil
}

// text makes samples of a text, all of it learnt, cut into pieces of MaxLength. A
// last piece of one token teaches nothing: it is dropped, and no row is skipped by it.
func (m *sampler) text(out []made, text, row string) ([]made, error) {
	ids := append(m.encode(text), m.end()...)
	if err := checkIDs(ids, m.t, m.dir, m.spec); err != nil {
		return nil, err
	}
	for piece := range slices.Chunk(int32s(ids), m.d.MaxLength) {
		if len(piece) == 1 && len(ids) > 1 {
			break
		}
		out = m.set.keep(out, made{Sample: heal.Sample{Tokens: piece, Labels: piece}, row: row})
	}
	return out, nil
}

// exchange makes a sample whose answer, its EOS with it, is learnt.
func (m *sampler) exchange(out []made, x data.Example, row data.Row) ([]made, error) {
	text := x.Prompt + x.Answer
	ids, spans := chat.TokenSpans(m.encode, text, []chat.Span{{Start: len(x.Prompt), End: len(text)}})
	ids = append(ids, m.end()...)
	return m.sample(out, ids, []chat.Span{{Start: spans[0].Start, End: len(ids)}}, row)
}

// conversation makes a sample by the chat template, which says what begins and
// ends a turn. EOS is added where the template does not end the last answer.
func (m *sampler) conversation(out []made, x data.Example, row data.Row) ([]made, error) {
	t, err := m.template()
	if err != nil {
		return nil, err
	}
	messages := messagesOf(x.Turns)
	text, spans, err := t.Conversation(messages, chat.Options{Tools: x.Tools, Now: templateDate})
	if err != nil {
		return nil, row.Fail("messages: "+err.Error(), "")
	}
	m.warn(t, text, messages)
	last := ""
	if len(spans) > 0 {
		last = text[spans[len(spans)-1].Start:]
	}
	spans = learnt(spans, x, m.d.learn())
	ids, marked := chat.TokenSpans(m.t.EncodeMarked, text, spans)
	if turn := x.Turns[len(x.Turns)-1]; turn.Role == "assistant" && unended(last, turn.Content) {
		if n := len(marked); n > 0 && marked[n-1].End == len(ids) {
			marked[n-1].End += len(m.end())
		}
		ids = append(ids, m.end()...)
	}
	return m.sample(out, ids, marked, row)
}

// messagesOf are turns as package chat has them.
func messagesOf(turns []data.Turn) []chat.Message {
	out := make([]chat.Message, len(turns))
	for i, t := range turns {
		out[i] = chat.Message{Role: t.Role, Content: t.Content, More: t.More}
	}
	return out
}

// learnt are the spans to learn: of an example's answers those after what is
// given, or only the last. A template that marks them in its own way may mark
// several parts of an answer; then all count.
func learnt(spans []chat.Span, x data.Example, how string) []chat.Span {
	answers, given := 0, 0
	for i, t := range x.Turns {
		if t.Role == "assistant" {
			answers++
			if i < x.Given {
				given++
			}
		}
	}
	switch {
	case len(spans) == 0:
		return nil
	case how == "last":
		if given == answers {
			return nil
		}
		return spans[len(spans)-1:]
	case len(spans) == answers:
		return spans[given:]
	}
	return spans
}

// unended says that a template ends an answer by nothing but space.
func unended(rest, answer string) bool {
	answer = strings.TrimSpace(answer)
	at := strings.LastIndex(rest, answer)
	return at >= 0 && strings.TrimSpace(rest[at+len(answer):]) == "" && (answer != "" || strings.TrimSpace(rest) == "")
}

// template loads the chat template once.
func (m *sampler) template() (*chat.Template, error) {
	if m.chat != nil {
		return m.chat, nil
	}
	name := m.d.Template
	if name == templateChat {
		name = ""
	}
	var err error
	if m.chat, err = loadTemplate(m.dir, name, m.t); errors.Is(err, chat.ErrNone) {
		return nil, wrong("{template}: %w", err)
	}
	return m.chat, err
}

// warn says once what of the template is not in the vocabulary.
func (m *sampler) warn(t *chat.Template, text string, messages []chat.Message) {
	if m.set.warned {
		return
	}
	m.set.warned = true
	var own []string
	for _, msg := range messages {
		own = append(own, msg.Content)
	}
	m.env.Talk.Detail("chat template: %s\n%s", t.Source(), text)
	if lost := m.t.Unmarked(text, own...); len(lost) > 0 {
		m.env.Talk.Warn("chat template: %s: no such token in this vocabulary, so it is spelled in pieces: the model may not know this template", strings.Join(lost, ", "))
	}
}

// templateDate is what templates of training data take for today: that of Llama
// 3's, so that samples do not change overnight.
func templateDate() time.Time { return time.Date(2024, 7, 26, 0, 0, 0, 0, time.UTC) }

// sample cuts on the right and labels what lies in spans of the ids, or all.
func (m *sampler) sample(out []made, ids []int, spans []chat.Span, row data.Row) ([]made, error) {
	if err := checkIDs(ids, m.t, m.dir, m.spec); err != nil {
		return nil, err
	}
	one := made{row: row.Place(), cut: len(ids) > m.d.MaxLength}
	ids = ids[:min(len(ids), m.d.MaxLength)]
	one.Tokens, one.Labels = int32s(ids), int32s(ids)
	if m.d.learn() == "all" {
		return m.set.keep(out, one), nil
	}
	for i := range one.Labels {
		if !slices.ContainsFunc(spans, func(s chat.Span) bool { return s.Start <= i && i < s.End }) {
			one.Labels[i] = heal.Ignore
		}
	}
	return m.set.keep(out, one), nil
}
