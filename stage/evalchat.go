package stage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/chat"
	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// EvalChat says how tasks are put to chat models.
type EvalChat struct {
	Apply       bool   `yaml:"apply_chat_template"`  // ask in the model's chat template
	Template    string `yaml:"chat_template"`        // another one: a name of the model's own, a file, or a built-in
	Multiturn   bool   `yaml:"fewshot_as_multiturn"` // examples are turns of their own
	Instruction string `yaml:"system_instruction"`   // before everything
}

// evalChat is the same with the template loaded.
type evalChat struct {
	EvalChat
	render *eval.Chat
	hash   string // of the template
}

func (c EvalChat) check() error {
	switch {
	case c.Multiturn && !c.Apply:
		return wrong("{fewshot_as_multiturn} goes with {apply_chat_template}, which is not given")
	case c.Template != "" && !c.Apply:
		return wrong("{chat_template} goes with {apply_chat_template}, which is not given")
	}
	return nil
}

// load finds the template of a model. What it refuses to take with a system message
// it is given without, as the harness does.
func (c EvalChat) load(ctx context.Context, env Env, model string) (evalChat, error) {
	out := evalChat{EvalChat: c}
	if !c.Apply {
		return out, nil
	}
	if model == "" {
		return out, wrong("{apply_chat_template}: of which model?").with("name the model")
	}
	dir, err := find(ctx, env, model, hub.NeedTokenizer)
	if err != nil {
		return out, err
	}
	t, err := tokenizer.Load(dir)
	if err != nil {
		return out, wantTokenizer(err)
	}
	template, err := loadTemplate(dir, c.Template, t)
	if err != nil {
		return out, err
	}
	out.hash = template.Hash()
	warned := false
	render := func(messages []eval.Message) (string, error) {
		all := make([]chat.Message, len(messages))
		for i, m := range messages {
			all[i] = chat.Message{Role: m.Role, Content: m.Content}
		}
		text, err := template.Render(all, chat.Options{Prompt: true})
		if errors.Is(err, chat.ErrRefused) && all[0].Role == "system" {
			if !warned {
				env.Talk.Warn("the chat template takes no system message: it is left out")
				warned = true
			}
			text, err = template.Render(slices.Clone(all[1:]), chat.Options{Prompt: true})
		}
		return text, err
	}
	out.render = &eval.Chat{Render: render, Multiturn: c.Multiturn}
	return out, nil
}

// origin says in results how questions were put.
func (c evalChat) origin(o *report.EvalOrigin) {
	o.ChatTemplate, o.Multiturn, o.System = c.hash, c.Multiturn, c.Instruction
	if c.Instruction != "" {
		o.SystemHash = fmt.Sprintf("%x", sha256.Sum256([]byte(c.Instruction)))
	}
}

// marked encodes texts in which special tokens are written out.
type marked struct{ *tokenizer.Tokenizer }

// Encode implements eval.Tokenizer.
func (m marked) Encode(text string, special bool) []int {
	ids := m.EncodeMarked(text)
	if bos, ok := m.BOS(); special && ok && m.AddsBOS() && (len(ids) == 0 || ids[0] != bos) {
		ids = append([]int{bos}, ids...)
	}
	return ids
}
