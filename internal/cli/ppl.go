package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

type pplOptions struct {
	dir         string
	data        string
	field       string
	length      int
	lengthGiven bool
	join        string
	addBOS      string
	layers      layerFlags
	engine      engineFlags
}

func newPPL(a *app) *cobra.Command {
	var o pplOptions
	c := &cobra.Command{
		Use:   "ppl MODEL --data DATA",
		Short: "Perplexity over the windows of a whole text",
		Long: `Print the perplexity of a text: its rows are joined with --join, tokenised once,
and cut into windows of --length tokens that are scored each on its own; the
remainder is left out. A text file is one row; JSON, CSV and Parquet files have
their own. In --join, \n, \t and \\ mean newline, tab and backslash.`,
		Example: `  coppice ppl ./model --data text.txt --length 2048
  coppice ppl ./model --data Salesforce/wikitext:wikitext-2-raw-v1/test --drop 24-31`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.dir, o.lengthGiven = args[0], c.Flags().Changed("length")
			if err := checkField(c, o.data, o.field); err != nil {
				return err
			}
			return withRemedy(wantTokenizer(o.run(c.Context(), a)))
		},
	}
	a.workFlags(c)
	c.Flags().StringVar(&o.data, "data", "", dataHelp)
	c.Flags().StringVar(&o.field, "field", data.DefaultField, "column that holds the text")
	c.Flags().IntVar(&o.length, "length", 2048, "tokens in a window (default: at most the model's positions)")
	c.Flags().StringVar(&o.join, "join", `\n\n`, "what stands between two rows")
	c.Flags().StringVar(&o.addBOS, "add-bos", "auto", "BOS at the start of the text: auto (where the tokenizer adds one), true or false")
	nonEmpty(c, "data", "field")
	o.layers.register(c)
	o.engine.register(c)
	return c
}

func (o pplOptions) run(ctx context.Context, a *app) error {
	if err := o.check(); err != nil {
		return err
	}
	dir, err := a.findModel(ctx, o.dir, hub.NeedAll)
	if err != nil {
		return err
	}
	o.dir = dir
	s, err := o.layers.open(o.dir)
	if err != nil {
		return err
	}
	defer s.close()
	windows, result, err := o.windows(ctx, a, s.m.Spec)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := s.start(a, o.engine, a.progress("perplexity")); err != nil {
		return err
	}
	var all tally
	err = s.logProbs(ctx, a, windows, func(i int, scores []engine.TokenScore) error {
		one, err := count(scores)
		if err != nil {
			return fmt.Errorf("%s: window %d: %w", o.dir, i, err)
		}
		all.merge(one)
		return nil
	})
	if err != nil {
		return err
	}
	result.Tokens, result.Loss, result.Perplexity = all.tokens, all.loss(), all.perplexity()
	result.Seconds, result.Compute = seconds(start), s.compute()
	return printPerplexity(a, result)
}

func (o pplOptions) check() error {
	if o.data == "" {
		return usage("ppl: on what text?").withHint("pass --data with a file, a directory, or a data set of the hub")
	}
	if o.length < 2 {
		return usage("--length %d: want at least 2, a token and one before it", o.length)
	}
	if err := oneOf("add-bos", o.addBOS, "auto", "true", "false"); err != nil {
		return err
	}
	if _, err := unescape(o.join); err != nil {
		return err
	}
	return o.engine.check()
}

// unescape lets a shell pass \n.
func unescape(s string) (string, error) {
	quoted := `"` + strings.ReplaceAll(strings.ReplaceAll(s, "\n", `\n`), `"`, `\"`) + `"`
	out, err := strconv.Unquote(quoted)
	if err != nil {
		return "", usage("--join %s: not a text with \\n, \\t or \\\\ in it", s)
	}
	return out, nil
}

// windows tokenises the whole text and cuts it up.
func (o pplOptions) windows(ctx context.Context, a *app, spec *model.Spec) ([][]int32, report.Perplexity, error) {
	r := report.Perplexity{Data: o.data, Length: o.length}
	if o.length > spec.MaxPositions {
		if o.lengthGiven {
			a.warn("--length %d is capped to the model's %d positions", o.length, spec.MaxPositions)
		} else {
			a.note("windows have %d tokens, as many as the model has positions", spec.MaxPositions)
		}
		r.Length = spec.MaxPositions
	}
	t, err := tokenizer.Load(o.dir)
	if err != nil {
		return nil, r, err
	}
	rows, err := o.rows(ctx, a, &r)
	if err != nil {
		return nil, r, err
	}
	r.Rows = len(rows)
	r.Join, _ = unescape(o.join)
	ids, err := o.encode(ctx, t, strings.Join(rows, r.Join), spec, &r)
	if err != nil {
		return nil, r, err
	}
	r.Windows, r.Dropped = len(ids)/r.Length, len(ids)%r.Length
	if r.Windows == 0 {
		return nil, r, failed("%s: the text has %s, too few for one window of %d", o.data, plural(len(ids), "token"), r.Length).withHint("pass --length %d or less, or a longer text", len(ids))
	}
	windows := make([][]int32, r.Windows)
	for i := range windows {
		windows[i] = ids[i*r.Length : (i+1)*r.Length]
	}
	r.SHA256 = data.HashTokens(windows)
	return windows, r, nil
}

// rows reads the texts.
func (o pplOptions) rows(ctx context.Context, a *app, r *report.Perplexity) ([]string, error) {
	texts, err := openData(ctx, a, o.data)
	if err != nil {
		return nil, err
	}
	r.Data = texts.source
	var rows []string
	for text, err := range data.Texts(texts.files, o.field) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, text)
	}
	if len(rows) == 0 {
		return nil, failed("%s: holds no text", texts.source)
	}
	return rows, nil
}

// encode tokenises the text, with one BOS at its start where that is wanted.
func (o pplOptions) encode(ctx context.Context, t *tokenizer.Tokenizer, text string, spec *model.Spec, r *report.Perplexity) ([]int32, error) {
	bos, err := startOf(t, o.addBOS, o.dir, spec)
	if err != nil {
		return nil, err
	}
	r.BOS = len(bos) > 0
	ids, err := encoder(t, o.dir, spec)(ctx, text)
	return append(bos, ids...), err
}

func printPerplexity(a *app, r report.Perplexity) error {
	if a.json {
		return a.line(r)
	}
	a.stopProgress()
	a.note("%s of %s, %s of the remainder dropped, BOS: %s", plural(r.Windows, "window"), plural(r.Length, "token"), plural(r.Dropped, "token"), yesNo(r.BOS))
	t := &report.Table{Header: []string{"tokens", "loss", "perplexity"}}
	t.Add(report.Int(r.Tokens), report.Float(r.Loss), report.Float(r.Perplexity))
	return a.table(t)
}
