package cli

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newPPL(a *app) *cobra.Command {
	o := stage.DefaultPPL()
	c := &cobra.Command{
		Use:   "ppl MODEL --data DATA",
		Short: "Perplexity over the windows of a whole text",
		Long: `Print the perplexity of a text: its rows are joined with --join, tokenised once,
and cut into windows of --length tokens that are scored each on its own; the
remainder is left out. A text file is one row; JSON, CSV and Parquet files have
their own. In --join, \n, \t and \\ mean newline, tab and backslash.

There are two conventions, whose numbers cannot be compared. coppice scores every
token of a window but the first, with one BOS at the start of the text where the
tokenizer adds one. llama.cpp scores as its llama-perplexity does: BOS takes the
place of every window's first token, only the second half of a window is scored,
windows have 512 tokens unless --length says otherwise, and a newline at the end
of the text is left out. The result says which it is.`,
		Example: `  coppice ppl ./model --data text.txt --length 2048
  coppice ppl ./model --data wiki.test.raw --convention llama.cpp
  coppice ppl ./model --data Salesforce/wikitext:wikitext-2-raw-v1/test --drop 24-31`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.Model = args[0]
			if c.Flags().Changed("length") && o.Length == 0 {
				return usage("--length 0: want at least 2, a token and one before it")
			}
			result, err := o.Run(c.Context(), a.env())
			if err != nil {
				return err
			}
			return printPerplexity(a, result)
		},
	}
	a.workFlags(c)
	c.Flags().StringVar(&o.Data, "data", "", dataHelp)
	fieldFlag(c.Flags(), &o.Field, "column that holds the text")
	c.Flags().IntVar(&o.Length, "length", 0, "tokens in a window, or as many as the model has positions")
	c.Flags().Lookup("length").DefValue = strconv.Itoa(stage.DefaultWindow)
	c.Flags().StringVar(&o.Join, "join", o.Join, "what stands between two rows")
	c.Flags().StringVar(&o.AddBOS, "add-bos", o.AddBOS, "BOS at the start of the text: auto (where the tokenizer adds one), true or false")
	c.Flags().StringVar(&o.TokensOut, "tokens-out", "", "write the ids of the windows to this new file, for --tokens")
	c.Flags().StringVar(&o.Convention, "convention", stage.CoppicePPL, "what is scored: "+stage.CoppicePPL+" or "+stage.LlamaCppPPL)
	nonEmpty(c, "data", "field", "tokens-out", "convention")
	layerFlags(c, flagsLayers, &o.Layers)
	engineFlags(c, &o.Engine)
	adapterFlag(c, &o.Engine)
	return c
}

func printPerplexity(a *app, r report.Perplexity) error {
	if a.json {
		return a.line(r)
	}
	a.stopProgress()
	if r.Convention == stage.LlamaCppPPL {
		a.note("as llama-perplexity scores: the second half of each window, whose first token is BOS where the text begins with it")
	}
	a.note("%s of %s, %s of the remainder dropped, BOS: %s", report.Plural(r.Windows, "window"), report.Plural(r.Length, "token"), report.Plural(r.Dropped, "token"), yesNo(r.BOS))
	t := &report.Table{Header: []string{"tokens", "loss", "perplexity"}}
	t.Add(report.Int(r.Tokens), report.Float(r.Loss), report.Float(r.Perplexity))
	return a.table(t)
}
