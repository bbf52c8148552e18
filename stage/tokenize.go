package stage

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Tokenize turns texts into token ids, or back.
type Tokenize struct {
	Model   string  `yaml:"model"`
	Text    *string `yaml:"text"`    // nil: File
	File    string  `yaml:"file"`    // texts, or ids to decode
	Field   string  `yaml:"field"`   // column that holds the text; "": data.DefaultField
	Special bool    `yaml:"special"` // add the special tokens that the tokenizer puts around a text
	Decode  bool    `yaml:"decode"`  // turn ids into text; special tokens are left out
	Chat    `yaml:",inline"`
}

// Check finds what can be wrong before any file is opened.
func (o Tokenize) Check() error {
	if o.Text != nil || o.File != "" {
		return nil
	}
	if o.Decode {
		return wrong("{decode}: which ids?").with("pass {file} with [[ids…], …]")
	}
	return wrong("tokenize: which text?").with("pass {text} or {file}")
}

// Run gives emit a report.Tokens or report.Text for every text.
func (o Tokenize) Run(ctx context.Context, env Env, emit func(report.Line) error) error {
	if err := o.Check(); err != nil {
		return err
	}
	dir, err := find(ctx, env, o.Model, hub.NeedTokenizer)
	if err != nil {
		return err
	}
	t, err := tokenizer.Load(dir)
	if err != nil {
		return wantTokenizer(err)
	}
	bos := "no"
	if t.AddsBOS() {
		bos = "yes"
	}
	env.Talk.Detail("tokenizer: %s, %d tokens, adds BOS: %s", t.Kind(), t.VocabSize(), bos)
	if o.Decode {
		return o.decode(ctx, t, emit)
	}
	var texts []string
	if o.File == "" {
		texts = []string{*o.Text}
	} else if texts, err = data.ReadTexts(o.File, o.Field); err != nil {
		return err
	}
	for i, text := range texts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ids := t.Encode(text, o.Special)
		if o.Chat.On {
			if ids, err = o.Chat.ids(env, dir, t, text); err != nil {
				return err
			}
		}
		if err := emit(report.Tokens{Index: i, IDs: ids}); err != nil {
			return err
		}
	}
	return nil
}

func (o Tokenize) decode(ctx context.Context, t *tokenizer.Tokenizer, emit func(report.Line) error) error {
	seqs, err := data.ReadTokens(o.File, 0)
	if err != nil {
		return err
	}
	for i, seq := range seqs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		text, err := t.Decode(ints(seq))
		if err != nil {
			return fmt.Errorf("%s: sequence %d: %w", o.File, i, err)
		}
		if err := emit(report.Text{Index: i, Text: text}); err != nil {
			return err
		}
	}
	return nil
}
