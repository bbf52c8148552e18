package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/stage"
)

func newGenerate(a *app) *cobra.Command {
	o := stage.DefaultGenerate()
	var prompt string
	c := &cobra.Command{
		Use:   "generate MODEL (--prompt TEXT | --tokens FILE)",
		Short: "Continue a prompt",
		Long: `Continue a prompt with a model, or with a pruning of it that is never written
(--drop, --keep, --plan). Text comes out as it is made. Prompts of --prompt get
the special tokens that the tokenizer puts before a text; those of --tokens are
used as they are, several at a time. With --chat the prompt is a user's message
in the model's chat template. Generation ends at the model's end-of-text tokens,
before a --stop text, or after --max-tokens; JSON says which ("finish").`,
		Example: `  coppice generate ./model --prompt "Once upon a time" --max-tokens 100
  coppice generate ./model --chat --prompt "Who are you?" --drop 24-31`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.Model = args[0]
			if c.Flags().Changed("prompt") {
				o.Prompt = &prompt
			}
			if prompt == stage.Stdin {
				text, err := io.ReadAll(a.sys.In)
				if err != nil {
					return failed("--prompt -: %w", err)
				}
				prompt = strings.TrimRight(string(text), "\r\n")
			}
			for _, name := range []string{"top-k", "top-p"} {
				if c.Flags().Changed(name) && o.Temperature == 0 {
					return usage("--%s has no effect at temperature 0, which always takes the likeliest token", name).withHint("pass a --temperature above 0, such as 0.8")
				}
			}
			return runGenerate(c.Context(), a, o)
		},
	}
	a.workFlags(c)
	c.Flags().StringVar(&prompt, "prompt", "", "text to continue, or - for the standard input")
	c.Flags().StringVar(&o.Tokens, "tokens", "", "JSON file of prompts as token ids, [[ids…], …]")
	c.Flags().IntVar(&o.MaxTokens, "max-tokens", o.MaxTokens, "most tokens to make")
	c.Flags().Float64Var(&o.Temperature, "temperature", 0, "0 takes the likeliest token; above 0, tokens are drawn")
	c.Flags().IntVar(&o.TopK, "top-k", 0, "draw from this many likeliest tokens (0: all)")
	c.Flags().Float64Var(&o.TopP, "top-p", o.TopP, "draw from the fewest tokens that have this share together")
	c.Flags().Uint64Var(&o.Seed, "seed", o.Seed, "seed of drawing")
	c.Flags().StringArrayVar(&o.Stop, "stop", nil, "end before this text; may be given several times")
	nonEmpty(c, "tokens")
	exclusive(c, "prompt", "tokens")
	exclusive(c, "tokens", "chat")
	chatFlags(c, &o.Chat)
	layerFlags(c, &o.Layers)
	engineFlags(c, &o.Engine)
	adapterFlag(c, &o.Engine)
	return c
}

// shown leaves out what would move a terminal's cursor, ring its bell or set it up anew.
func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
}

// runGenerate prints text as it comes where there is one prompt and people read.
func runGenerate(ctx context.Context, a *app, o stage.Generate) error {
	var listen stage.Listener
	begun := false
	if o.Prompt != nil && !a.json {
		listen = func(_ int, text string) error {
			begun = true
			if a.terminal {
				text = shown(text)
			}
			return a.printf("%s", text)
		}
	}
	made, err := o.Run(ctx, a.env(), listen)
	switch {
	case err != nil && begun:
		return errors.Join(err, a.printf("\n")) // the line was cut off
	case err != nil:
		return err
	case listen != nil:
		return a.printf("\n")
	}
	for _, l := range made {
		switch {
		case a.json:
			err = a.line(l)
		case l.Text != nil:
			err = a.printf("%s\n", *l.Text)
		default:
			err = a.printf("%s\n", joined(l.IDs, " "))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
