package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// sequenceFlags say which token sequences a model is run on.
type sequenceFlags struct {
	tokens    string
	data      string
	field     string
	samples   int
	length    int
	addBOS    string
	tokensOut string
	seed      uint64

	preset bool // the command has a default for --data
}

func (f *sequenceFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.tokens, "tokens", "", "JSON file of token ids, [[ids…], …], used exactly as given")
	c.Flags().StringVar(&f.data, "data", "", dataHelp)
	c.Flags().StringVar(&f.field, "field", data.DefaultField, "with --data: column that holds the text")
	c.Flags().IntVar(&f.samples, "samples", 10, "with --data: number of windows")
	c.Flags().IntVar(&f.length, "length", 128, "with --data: tokens in a window, BOS included")
	c.Flags().StringVar(&f.addBOS, "add-bos", "false", "with --data: begin every window with BOS: true, false or auto (where the tokenizer adds one)")
	c.Flags().StringVar(&f.tokensOut, "tokens-out", "", "with --data: write the token ids to this new file, for --tokens")
	c.Flags().Uint64Var(&f.seed, "seed", 42, "seed of everything drawn at random")
	nonEmpty(c, "tokens", "data", "field", "tokens-out")
	exclusive(c, "tokens", "data")
	for _, name := range dataFlagNames() {
		exclusive(c, "tokens", name)
	}
}

// dataFlagNames are the flags that only --data uses.
func dataFlagNames() []string {
	return []string{"field", "samples", "length", "add-bos", "tokens-out"}
}

func (f sequenceFlags) given() bool { return f.tokens != "" || f.data != "" }

// check finds what can be wrong before any file is opened. The command says
// whether a flag that only --data uses was given.
func (f sequenceFlags) check(c *cobra.Command) error {
	if f.samples < 1 {
		return usage("--samples %d: want at least 1", f.samples)
	}
	if f.length < 2 {
		return usage("--length %d: want at least 2, a token and one before it", f.length)
	}
	if err := oneOf("add-bos", f.addBOS, "auto", "true", "false"); err != nil {
		return err
	}
	for _, name := range dataFlagNames() {
		if f.data == "" && !f.preset && c.Flags().Changed(name) {
			return usage("--%s goes with --data, which is not given", name)
		}
	}
	return checkField(c, f.data, f.field)
}

// checkField refuses --field for a file that cannot have columns.
func checkField(c *cobra.Command, path, field string) error {
	if c.Flags().Changed("field") && !data.HasFields(path) {
		return usage("--field %s: %s has no fields", field, path).withHint("fields are for files of rows, such as .jsonl, .csv and .parquet")
	}
	return nil
}

// source is what --data names, or stands for when it is not given.
func (f sequenceFlags) source() string {
	if f.data == "" && f.preset {
		return defaultData
	}
	return f.data
}

// describe names the data in plans.
func (f sequenceFlags) describe() string {
	if f.tokens != "" {
		return f.tokens
	}
	return fmt.Sprintf("%d x %d tokens of %s, seed %d", f.samples, f.length, f.source(), f.seed)
}

// read returns the sequences, every id of them in the model's vocabulary, and
// what results say of them.
func (f sequenceFlags) read(ctx context.Context, a *app, dir string, spec *model.Spec) ([][]int32, *report.Data, error) {
	if f.tokens != "" {
		seqs, err := data.ReadTokens(f.tokens, spec.Vocab)
		return seqs, &report.Data{Source: f.tokens, SHA256: data.HashTokens(seqs)}, err
	}
	if f.length > spec.MaxPositions {
		return nil, nil, usage("--length %d is longer than the model's %d positions", f.length, spec.MaxPositions).withHint("pass --length %d or less", spec.MaxPositions)
	}
	if err := checkNew(f.tokensOut); err != nil && f.tokensOut != "" {
		return nil, nil, err
	}
	t, err := tokenizer.Load(dir)
	if err != nil {
		return nil, nil, err
	}
	bos, err := startOf(t, f.addBOS, dir, spec)
	if err != nil {
		return nil, nil, err
	}
	if f.length == len(bos) {
		return nil, nil, usage("--length %d: nothing is left beside BOS", f.length)
	}
	if f.data == "" {
		a.note("no --data and no --tokens: running on %s", defaultData)
	}
	texts, err := openData(ctx, a, f.source())
	if err != nil {
		return nil, nil, err
	}
	seqs, err := f.draw(ctx, texts, t, bos, dir, spec)
	if err != nil {
		return nil, nil, err
	}
	info := &report.Data{
		Source: texts.source, Field: f.field, Samples: f.samples, Length: f.length, Seed: &f.seed,
		BOS: len(bos) > 0, SHA256: data.HashTokens(seqs),
	}
	return seqs, info, f.write(seqs)
}

// draw samples windows and puts bos, which may be empty, before each.
func (f sequenceFlags) draw(ctx context.Context, texts corpus, t *tokenizer.Tokenizer, bos []int32, dir string, spec *model.Spec) ([][]int32, error) {
	seqs, err := data.Sample(ctx, data.Texts(texts.files, f.field), encoder(t, dir, spec), data.SampleOptions{
		Samples: f.samples, Length: f.length - len(bos), Seed: f.seed,
	})
	if err != nil {
		var vocabulary *vocabularyError
		var file *data.Error
		if !errors.As(err, &vocabulary) && !errors.As(err, &file) && ctx.Err() == nil {
			err = fmt.Errorf("%s: %w", texts.source, err)
		}
		return nil, err
	}
	for i, seq := range seqs {
		seqs[i] = slices.Concat(bos, seq)
	}
	return seqs, nil
}

// write leaves the sequences in the file of --tokens-out.
func (f sequenceFlags) write(seqs [][]int32) error {
	if f.tokensOut == "" {
		return nil
	}
	var b bytes.Buffer
	if err := data.WriteTokens(&b, seqs); err != nil {
		return err
	}
	return writeNew(f.tokensOut, b.Bytes())
}

// vocabularyError: tokenizer and weights do not belong together.
type vocabularyError struct {
	dir       string
	id, vocab int
	tokenizer int
}

func (e *vocabularyError) Error() string {
	return fmt.Sprintf("%s: the tokenizer (%d tokens) makes id %d, outside the model's vocabulary of %d; put the tokenizer files that belong to the weights there", e.dir, e.tokenizer, e.id, e.vocab)
}

// startOf is what begins a text: BOS, or nothing. How is auto, true or false.
func startOf(t *tokenizer.Tokenizer, how, dir string, spec *model.Spec) ([]int32, error) {
	if how == "false" || how == "auto" && !t.AddsBOS() {
		return nil, nil
	}
	bos, has := t.BOS()
	if !has {
		return nil, usage("--add-bos true: the tokenizer of %s has no BOS token", dir).withHint("pass --add-bos false")
	}
	return []int32{int32(bos)}, checkIDs([]int{bos}, t, dir, spec)
}

// encoder encodes without special tokens and checks the ids. A long text keeps
// the tokenizer busy for a while; it is left alone there when the context ends.
func encoder(t *tokenizer.Tokenizer, dir string, spec *model.Spec) data.Encode {
	const long = 1 << 20 // bytes, some tenths of a second
	return func(ctx context.Context, text string) ([]int32, error) {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if len(text) < long {
			ids := t.Encode(text, false)
			return int32s(ids), checkIDs(ids, t, dir, spec)
		}
		done := make(chan []int, 1)
		go func() { done <- t.Encode(text, false) }()
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case ids := <-done:
			return int32s(ids), checkIDs(ids, t, dir, spec)
		}
	}
}

func checkIDs(ids []int, t *tokenizer.Tokenizer, dir string, spec *model.Spec) error {
	for _, id := range ids {
		if id >= spec.Vocab {
			return &vocabularyError{dir: dir, id: id, vocab: spec.Vocab, tokenizer: t.VocabSize()}
		}
	}
	return nil
}
