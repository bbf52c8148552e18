package cli

import (
	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/chat"
	"github.com/coppice-ml/coppice/tokenizer"
)

// chatFlags put a text into a model's chat template.
type chatFlags struct {
	on       bool
	system   string
	template string
}

func (f *chatFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.on, "chat", false, "put the text into the model's chat template, as the user's message")
	c.Flags().StringVar(&f.system, "system", "", "system message before it")
	c.Flags().StringVar(&f.template, "chat-template", "", "another template: a name of the model's own, a .jinja file, or chatml, vicuna, chatglm2, chatglm3, baichuan2")
	nonEmpty(c, "chat-template")
	before := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		for _, name := range []string{"system", "chat-template"} {
			if c.Flags().Changed(name) && !f.on {
				return usage("--%s has no effect without --chat", name).withHint("add --chat")
			}
		}
		return before(c, args)
	}
}

// ids are the tokens of the chat so far, ready for an answer.
func (f *chatFlags) ids(a *app, dir string, t *tokenizer.Tokenizer, text string) ([]int, error) {
	choice := chat.Choice{Name: f.template}
	if id, ok := t.BOS(); ok {
		choice.BOS = t.Token(id)
	}
	if id, ok := t.EOS(); ok {
		choice.EOS = t.Token(id)
	}
	template, err := chat.Load(dir, choice)
	if err != nil {
		return nil, err
	}
	messages := []chat.Message{{Role: "user", Content: text}}
	if f.system != "" {
		messages = append([]chat.Message{{Role: "system", Content: f.system}}, messages...)
	}
	written, err := template.Render(messages, chat.Options{Prompt: true})
	if err != nil {
		return nil, err
	}
	a.detail("chat template: %s\n%s", template.Source(), written)
	return t.EncodeMarked(written), nil
}
