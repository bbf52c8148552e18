package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newTokenize(a *app) *cobra.Command {
	var o stage.Tokenize
	var text string
	c := &cobra.Command{
		Use:   "tokenize MODEL (--text TEXT | --file FILE)",
		Short: "Turn texts into token ids, or back",
		Long: `Turn texts into token ids with a model's tokenizer, or ids into text.

--file is a .json list of strings, a .jsonl, or a .txt; with --decode it is a
JSON list of lists of token ids, or a .txt of ids as this command prints them,
which --text takes, too. With --chat each text is a user's message in
the model's chat template, ready for an answer; -v shows what is written. Only the tokenizer's files are read.`,
		Example: `  coppice tokenize ./model --text "Once upon a time"
  coppice tokenize ./model --chat --text "Who are you?" -v
  coppice tokenize ./model --text "403 407 261 378" --decode`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.Model = args[0]
			if c.Flags().Changed("text") {
				o.Text = &text
			}
			return o.Run(c.Context(), a.env(), a.printTokens)
		},
	}
	a.workFlags(c)
	c.Flags().StringVar(&text, "text", "", "the text, or ids with --decode")
	c.Flags().StringVar(&o.File, "file", "", "a file of texts, or of id lists with --decode")
	fieldFlag(c.Flags(), &o.Field, "field that holds the text, where the file holds objects")
	c.Flags().BoolVar(&o.Special, "special", false, "add the special tokens that the tokenizer puts around a text")
	c.Flags().BoolVar(&o.Decode, "decode", false, "turn ids into text; special tokens are left out")
	nonEmpty(c, "file", "field")
	exclusive(c, "text", "file")
	exclusive(c, "decode", "special")
	exclusive(c, "decode", "field")
	exclusive(c, "text", "field")
	exclusive(c, "chat", "decode")
	exclusive(c, "chat", "special")
	chatFlags(c, &o.Chat)
	return c
}

// printTokens prints ids or a text.
func (a *app) printTokens(l report.Line) error {
	if a.json {
		return a.line(l)
	}
	switch l := l.(type) {
	case report.Tokens:
		return a.printf("%s\n", joined(l.IDs, " "))
	case report.Text:
		return a.printf("%s\n", l.Text)
	}
	return fmt.Errorf("no text for %T", l)
}
