package cli

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/coppice-ml/coppice/report"
)

// trainDataFlags say what is learnt.
func (o *healOptions) trainDataFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.Data.Sources, "data", nil, dataHelp+"; rows of instructions, conversations or texts (repeatable; DATA:WEIGHT takes that share of the samples)")
	f.StringVar(&o.Data.Tokens, "train-tokens", "", "JSON rows of input_ids, labels (-100: not learnt) and attention_mask, used as they are")
	schemaFlags(f, &o.Data.Schema, &o.Data.Map)
	f.StringVar(&o.Data.Template, "template", "", "alpaca, chat (the model's own) or a chat template: a .jinja file or a built-in one (default: alpaca's words for instructions, chat for conversations)")
	f.StringVar(&o.Data.Learn, "train-on", "", "which tokens are learnt: assistant (every answer, with what ends it), last (answer) or all (default assistant)")
	f.IntVar(&o.Data.MaxLength, "max-length", o.Data.MaxLength, "tokens of a sample, cut on the right")
	f.IntVar(&o.Data.Samples, "samples", 0, "number of samples, drawn by --seed (default: all)")
	f.IntVar(&o.Data.Validation, "validation", o.Data.Validation, "samples held out (default: the smaller of 2000 and 4 %)")
	f.Lookup("validation").DefValue = ""
	f.StringVar(&o.Data.ValidationData, "validation-data", "", "rows of their own to hold out")
	f.IntVar(&o.Data.Preview, "preview", 0, "only show so many samples, token by token, with what is learnt of them")
	f.BoolVar(&o.NoShuffle, "no-shuffle", false, "take the samples in their order")
	f.Uint64Var(&o.Data.Seed, "seed", o.Data.Seed, "seed of everything drawn at random")
}

// schemaFlags say what the columns of rows mean.
func schemaFlags(f *pflag.FlagSet, schema *string, names *[]string) {
	f.StringVar(schema, "schema", "", "what the columns mean: messages, sharegpt, alpaca, dolly, prompt-completion, multiple-choice or text (default: recognised)")
	f.StringSliceVar(names, "map", nil, "a column that is called otherwise than in the schema: output=answer (repeatable)")
}

// splitTargets tells what is learnt from what is adapted: --targets names both.
func (o *healOptions) splitTargets() error {
	if !o.given.Flags().Changed("targets") {
		return nil
	}
	learn := []string{"assistant", "last"}
	if o.Method != "lora" {
		learn = append(learn, "all")
	}
	var rest []string
	for _, word := range o.Targets {
		if !slices.Contains(learn, word) {
			rest = append(rest, word)
			continue
		}
		if o.Data.Learn != "" && o.Data.Learn != word {
			return usage("--targets %s and %s: which tokens are learnt is said twice", o.Data.Learn, word)
		}
		o.Data.Learn = word
	}
	switch {
	case len(rest) == 0:
		o.Targets = []string{"all"}
	case o.Method != "lora" && o.Data.Learn != "":
		return usage("--targets %s: want assistant, last or all", strings.Join(rest, ","))
	default:
		o.Targets = rest
	}
	return nil
}

// printPreview shows a sample, a token a line, those that are learnt marked.
func printPreview(a *app, p report.Preview) error {
	if a.json {
		return a.line(p)
	}
	t := &report.Table{Header: []string{"learnt", "id", "token"}}
	for i, id := range p.IDs {
		mark, piece := "", ""
		if i > 0 && p.Labels[i] >= 0 {
			mark = "*"
		}
		if p.Pieces != nil {
			piece = p.Pieces[i]
		}
		t.Add(report.String(mark), report.Int(int(id)), report.String(piece))
	}
	cut := ""
	if p.Cut {
		cut = ", cut on the right"
	}
	if err := a.printf("sample %d, %s: %s, %d learnt%s\n", p.Index, p.Row, report.Plural(p.Tokens, "token"), p.Targets, cut); err != nil {
		return err
	}
	return a.table(t)
}
