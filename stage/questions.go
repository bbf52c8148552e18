package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/coppice-ml/coppice/chat"
	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/report"
)

// question is a row that is answered.
type question struct {
	ids    []int32
	most   int // new tokens it has room for
	chat   bool
	turns  []data.Turn // of a conversation, else
	prompt string
	tools  json.RawMessage
	row    int // of the data, from 0
}

// permutation draws as heal does, so that of the same rows both take the same.
func permutation(seed uint64, n int) []int { return rand.New(rand.NewPCG(seed, drawStream)).Perm(n) }

// read makes prompts of the rows.
func (a *answers) read(ctx context.Context) error {
	c, err := openData(ctx, a.env, "data", a.Data)
	if err != nil {
		return err
	}
	m := &sampler{d: TrainData{Template: a.Questions.Template}, t: a.t, dir: a.s.Checkpoint.Dir(), spec: a.s.Model.Spec, set: &trainSet{}, env: a.env}
	if m.d.Template == "" {
		m.d.Template = a.Chat.Template
	}
	if m.names, err = data.ParseRenames(a.Map); err != nil {
		return err
	}
	bos, err := startOf(a.t, "auto", m.dir, m.spec)
	if err != nil {
		return err
	}
	m.bos = ints(bos)
	var all []question
	schema, n := data.Schema(a.Schema), 0
	for _, path := range c.files {
		for row, err := range data.Rows(path, data.RowOptions{Raw: true}) {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				return err
			}
			if schema, row, err = schema.AsPrompt(row, m.names); err != nil {
				return err
			}
			q, err := a.question(m, schema, row)
			if err != nil {
				return err
			}
			q.row, n = n, n+1
			all = append(all, q)
		}
	}
	if len(all) == 0 {
		return failed("%s: there are no rows", c.source)
	}
	a.fit(a.draw(all, a.Seed))
	if len(a.asked) == 0 {
		return failed("%s: no prompt leaves room for an answer within the model's %d positions", c.source, m.spec.MaxPositions)
	}
	a.env.Talk.Note("%s of %s", report.Plural(len(a.asked), "prompt"), c.source)
	return nil
}

// fit leaves out rows whose prompts leave no room for a token.
func (a *answers) fit(all []question) {
	for _, q := range all {
		if q.most = min(a.MaxTokens, a.s.Model.Spec.MaxPositions-len(q.ids)+1); q.most < 1 {
			a.skipped++
			continue
		}
		a.asked = append(a.asked, q)
	}
	if a.skipped > 0 {
		a.env.Talk.Warn("%s skipped: the prompts leave no room within the model's %d positions", report.Plural(a.skipped, "row"), a.s.Model.Spec.MaxPositions)
	}
}

// question makes the prompt of a row: in the chat template, or as its text where the
// model has none and the row is no conversation. A text goes into a template that is
// asked for.
func (a *answers) question(m *sampler, schema data.Schema, row data.Row) (q question, err error) {
	x, err := schema.Read(row, m.names)
	if err != nil {
		return q, err
	}
	if schema == data.SchemaText {
		x.Prompt, x.Answer = x.Answer, ""
	}
	asked := m.d.Template != "" || a.Chat.On
	asText := schema == data.SchemaText && !asked || m.d.Template == templateAlpaca
	if x.Turns == nil && !asText {
		_, err := m.template()
		if asText = !asked && errors.Is(err, chat.ErrNone); asText && !m.set.warned {
			m.set.warned = true
			a.env.Talk.Note("the model has no chat template: prompts are continued as texts")
		}
	}
	switch {
	case x.Turns != nil && m.d.Template == templateAlpaca:
		return q, row.Fail("it is a conversation, and Alpaca's words are for an instruction", "use the model's chat template")
	case asText && a.System != "":
		return q, wrong("{system} has no effect: the prompts go in without a chat template").with("pass {chat_template} with one, or leave {system} out")
	case asText:
		if q.prompt = x.Prompt; m.d.Template == templateAlpaca && !x.Instructed {
			q.prompt = data.AlpacaPrompt(x.Prompt, "")
		}
		q.ids = int32s(m.encode(q.prompt))
	default:
		if err := a.converse(m, &q, x, row); err != nil {
			return q, err
		}
	}
	if len(q.ids) == 0 {
		return q, row.Fail("its prompt is empty, and the tokenizer adds no BOS to start from", "remove the row")
	}
	return q, checkIDs(ints(q.ids), m.t, m.dir, m.spec)
}

// converse renders the turns before the last answer.
func (a *answers) converse(m *sampler, q *question, x data.Example, row data.Row) error {
	t, err := m.template()
	if err != nil {
		return err
	}
	if x.Turns == nil {
		x = asTurns(x)
	}
	turns := x.Turns
	if x.Given > 0 {
		turns = turns[:x.Given]
	} else if turns[len(turns)-1].Role == "assistant" {
		turns = turns[:len(turns)-1]
	}
	if a.System != "" && turns[0].Role != "system" {
		turns = append([]data.Turn{{Role: "system", Content: a.System}}, turns...)
	}
	messages := messagesOf(turns)
	text, err := t.Render(messages, chat.Options{Prompt: true, Tools: x.Tools, Now: templateDate})
	if err != nil {
		return row.Fail("messages: "+err.Error(), "")
	}
	m.warn(t, text, messages)
	q.chat, q.turns, q.tools = true, turns, x.Tools
	q.ids = int32s(m.t.EncodeMarked(text))
	return nil
}

// answered is the row with its answer, as heal reads it.
func (q question) answered(l answerLine) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	type rest struct {
		Finish string `json:"finish"`
		Tokens int    `json:"tokens"`
		Row    int    `json:"row"`
	}
	end := rest{l.Finish, l.Tokens, q.row}
	if !q.chat {
		err := e.Encode(struct {
			Prompt     string `json:"prompt"`
			Completion string `json:"completion"`
			rest
		}{q.prompt, l.Text, end})
		return b.Bytes(), err
	}
	var turns []json.RawMessage
	for _, t := range append(slices.Clone(q.turns), data.Turn{Role: "assistant", Content: l.Text}) {
		raw, err := t.MarshalJSON()
		if err != nil {
			return nil, err
		}
		turns = append(turns, raw)
	}
	err := e.Encode(struct {
		Messages []json.RawMessage `json:"messages"`
		Tools    json.RawMessage   `json:"tools,omitempty"`
		rest
	}{turns, q.tools, end})
	return b.Bytes(), err
}
