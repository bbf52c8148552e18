package cli

import (
	"context"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newGenerate(a *app) *cobra.Command {
	o := stage.DefaultGenerate()
	var prompt string
	c := &cobra.Command{
		Use:   "generate MODEL (--prompt TEXT | --tokens FILE | --data DATA --out FILE.jsonl)",
		Short: "Continue a prompt, or answer a data set",
		Long: `Continue a prompt with a model, or with a pruning of it that is never written
(--drop, --keep, --plan). Text comes out as it is made. Prompts of --prompt get
the special tokens that the tokenizer puts before a text; those of --tokens are
used as they are, several at a time. With --chat the prompt is a user's message
in the model's chat template. Generation ends at the model's end-of-text tokens,
before a --stop text, or after --max-tokens; JSON says which ("finish").

With --data, the prompts of a data set are answered in the model's chat template, as
many at once as memory allows, each as it would be alone: conversations up to their
last answer, instructions, prompts; the answers that are there are not looked at.
Lines of a text file are continued, but for --chat or --template.
--out gets rows with the new answers, for heal --data; "finish":"length" marks those
that ran out of tokens. The same command goes on where it was interrupted.`,
		Example: `  coppice generate ./model --prompt "Once upon a time" --max-tokens 100
  coppice generate ./model --chat --prompt "Who are you?" --drop 24-31
  coppice generate ./model --data yahma/alpaca-cleaned --out own.jsonl --max-tokens 256`,
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
			if err := checkGenerate(c, o); err != nil {
				return err
			}
			if o.Data != "" {
				return runAnswers(c.Context(), a, o)
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
	answerFlags(c, &o)
	exclusive(c, "prompt", "tokens")
	exclusive(c, "prompt", "data")
	exclusive(c, "tokens", "data")
	exclusive(c, "tokens", "chat")
	exclusive(c, "template", "chat-template")
	chatFlags(c, &o.Chat)
	layerFlags(c, flagsLayers, &o.Layers)
	engineFlags(c, &o.Engine)
	adapterFlag(c, &o.Engine)
	return c
}

// answerFlags are those of answering a data set.
func answerFlags(c *cobra.Command, o *stage.Generate) {
	f := c.Flags()
	f.StringVar(&o.Data, "data", "", dataHelp+"; rows whose prompts are answered")
	schemaFlags(f, &o.Schema, &o.Map)
	f.StringVar(&o.Questions.Template, "template", "", "with --data: alpaca, chat (the model's own) or a chat template, as heal has them (default chat)")
	f.IntVar(&o.Samples, "samples", 0, "with --data: number of rows, drawn by --seed (default: all)")
	f.StringVar(&o.Out, "out", "", "with --data: .jsonl file for the rows with their answers")
	f.BoolVar(&o.Force, "force", false, "with --data: start over, whatever --out holds")
	nonEmpty(c, "tokens", "data", "out", "schema", "template")
}

// checkGenerate refuses flags that would change nothing.
func checkGenerate(c *cobra.Command, o stage.Generate) error {
	for _, name := range []string{"top-k", "top-p"} {
		if c.Flags().Changed(name) && o.Temperature == 0 {
			return usage("--%s has no effect at temperature 0, which always takes the likeliest token", name).withHint("pass a --temperature above 0, such as 0.8")
		}
	}
	if err := atLeastOne(c, "samples", o.Samples); err != nil {
		return err
	}
	if o.Data != "" {
		return nil
	}
	for _, name := range []string{"out", "schema", "map", "template", "samples", "force"} {
		if c.Flags().Changed(name) {
			return usage("--%s goes with --data, which is not given", name)
		}
	}
	return nil
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
		_ = a.printf("\n") // the line was cut off, by err
		return err
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

// runAnswers answers a data set.
func runAnswers(ctx context.Context, a *app, o stage.Generate) error {
	done, err := o.Answer(ctx, a.env())
	if err != nil {
		return err
	}
	if a.json {
		return a.line(*done)
	}
	t := &report.Table{Header: []string{"rows", "out of tokens", "skipped", "tokens"}}
	t.Add(report.Int(done.Rows), report.Int(done.OutOfTokens), report.Int(done.Skipped), report.Int(done.Tokens))
	return a.table(t)
}
