package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

type tokenizeOptions struct {
	dir     string
	text    string
	hasText bool
	file    string
	field   string
	special bool
	decode  bool
	chat    chatFlags
}

func newTokenize(a *app) *cobra.Command {
	var o tokenizeOptions
	c := &cobra.Command{
		Use:   "tokenize MODEL (--text TEXT | --file FILE)",
		Short: "Turn texts into token ids, or back",
		Long: `Turn texts into token ids with a model's tokenizer, or ids into text.

--file is a .json list of strings, a .jsonl, or a .txt; with --decode it is a
JSON list of lists of token ids. With --chat each text is a user's message in
the model's chat template, ready for an answer; -v shows what is written. Only the tokenizer's files are read.`,
		Example: `  coppice tokenize ./model --text "Once upon a time"
  coppice tokenize ./model --chat --text "Who are you?" -v
  coppice tokenize ./model --file ids.json --decode`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.dir, o.hasText = args[0], c.Flags().Changed("text")
			return withRemedy(wantTokenizer(o.run(c.Context(), a)))
		},
	}
	a.workFlags(c)
	c.Flags().StringVar(&o.text, "text", "", "the text")
	c.Flags().StringVar(&o.file, "file", "", "a file of texts, or of id lists with --decode")
	c.Flags().StringVar(&o.field, "field", data.DefaultField, "field that holds the text, where the file holds objects")
	c.Flags().BoolVar(&o.special, "special", false, "add the special tokens that the tokenizer puts around a text")
	c.Flags().BoolVar(&o.decode, "decode", false, "turn ids into text; special tokens are left out")
	nonEmpty(c, "file", "field")
	exclusive(c, "text", "file")
	exclusive(c, "text", "decode")
	exclusive(c, "decode", "special")
	exclusive(c, "decode", "field")
	exclusive(c, "text", "field")
	exclusive(c, "chat", "decode")
	exclusive(c, "chat", "special")
	o.chat.register(c)
	return c
}

func (o tokenizeOptions) run(ctx context.Context, a *app) error {
	if !o.hasText && o.file == "" {
		if o.decode {
			return usage("--decode: which ids?").withHint("pass --file with [[ids…], …]")
		}
		return usage("tokenize: which text?").withHint("pass --text or --file")
	}
	dir, err := a.findModel(ctx, o.dir, hub.NeedTokenizer)
	if err != nil {
		return err
	}
	o.dir = dir
	t, err := tokenizer.Load(o.dir)
	if err != nil {
		return err
	}
	a.detail("tokenizer: %s, %d tokens, adds BOS: %s", t.Kind(), t.VocabSize(), yesNo(t.AddsBOS()))
	if o.decode {
		return o.decodeAll(ctx, a, t)
	}
	texts := []string{o.text}
	if o.file != "" {
		if texts, err = data.ReadTexts(o.file, o.field); err != nil {
			return err
		}
	}
	for i, text := range texts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ids, err := o.encode(a, t, text)
		if err != nil {
			return err
		}
		if err := printTokens(a, report.Tokens{Index: i, IDs: ids}); err != nil {
			return err
		}
	}
	return nil
}

func (o tokenizeOptions) encode(a *app, t *tokenizer.Tokenizer, text string) ([]int, error) {
	if o.chat.on {
		return o.chat.ids(a, o.dir, t, text)
	}
	return t.Encode(text, o.special), nil
}

func printTokens(a *app, l report.Tokens) error {
	if a.json {
		return a.line(l)
	}
	return a.printf("%s\n", strings.Trim(fmt.Sprint(l.IDs), "[]"))
}

func (o tokenizeOptions) decodeAll(ctx context.Context, a *app, t *tokenizer.Tokenizer) error {
	seqs, err := data.ReadTokens(o.file, 0)
	if err != nil {
		return err
	}
	for i, seq := range seqs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		text, err := t.Decode(ints(seq))
		if err != nil {
			return fmt.Errorf("%s: sequence %d: %w", o.file, i, err)
		}
		if a.json {
			err = a.line(report.Text{Index: i, Text: text})
		} else {
			err = a.printf("%s\n", text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func ints(ids []int32) []int {
	out := make([]int, len(ids))
	for i, id := range ids {
		out[i] = int(id)
	}
	return out
}

func int32s(ids []int) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out
}
