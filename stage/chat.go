package stage

import (
	"strings"

	"github.com/coppice-ml/coppice/chat"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Chat puts a text into a model's chat template, as the user's message.
type Chat struct {
	On       bool   `yaml:"chat"`
	System   string `yaml:"system"`        // message before it
	Template string `yaml:"chat_template"` // another one: a name of the model's own, a file, or a built-in
}

// ids are the tokens of the chat so far, ready for an answer.
func (c Chat) ids(env Env, dir string, t *tokenizer.Tokenizer, text string) ([]int, error) {
	template, err := loadTemplate(dir, c.Template, t)
	if err != nil {
		return nil, err
	}
	messages := []chat.Message{{Role: "user", Content: text}}
	if c.System != "" {
		messages = append([]chat.Message{{Role: "system", Content: c.System}}, messages...)
	}
	written, err := template.Render(messages, chat.Options{Prompt: true})
	if err != nil {
		return nil, err
	}
	env.Talk.Detail("chat template: %s\n%s", template.Source(), written)
	if lost := t.Unmarked(written, text, c.System); len(lost) > 0 {
		env.Talk.Warn("chat template: %s: no such token in this vocabulary, so it is spelled in pieces: the model may not know this template", strings.Join(lost, ", "))
	}
	return t.EncodeMarked(written), nil
}

// loadTemplate loads a chat template of a model, "" for its own.
func loadTemplate(dir, name string, t *tokenizer.Tokenizer) (*chat.Template, error) {
	choice := chat.Choice{Name: name}
	if id, ok := t.BOS(); ok {
		choice.BOS = t.Token(id)
	}
	if id, ok := t.EOS(); ok {
		choice.EOS = t.Token(id)
	}
	return chat.Load(dir, choice)
}

// ChatTemplates lists the built-in templates.
func ChatTemplates() []string { return chat.Builtin() }
