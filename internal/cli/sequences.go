package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/tokenizer"
)

// sequenceFlags say which token sequences a model is run on.
type sequenceFlags struct {
	tokens  string
	data    string
	field   string
	samples int
	length  int
	seed    uint64
}

func (f *sequenceFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.tokens, "tokens", "", "JSON file of token ids, [[ids…], …], used exactly as given")
	c.Flags().StringVar(&f.data, "data", "", "file of texts (.txt, .json, .jsonl) to draw windows from, without special tokens")
	c.Flags().StringVar(&f.field, "field", data.DefaultField, "with --data: field that holds the text")
	c.Flags().IntVar(&f.samples, "samples", 10, "with --data: number of windows")
	c.Flags().IntVar(&f.length, "length", 128, "with --data: tokens in a window")
	c.Flags().Uint64Var(&f.seed, "seed", 42, "seed of everything drawn at random")
	nonEmpty(c, "tokens", "data", "field")
	exclusive(c, "tokens", "data")
	for _, name := range []string{"field", "samples", "length"} {
		exclusive(c, "tokens", name)
	}
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
	for _, name := range []string{"field", "samples", "length"} {
		if f.data == "" && c.Flags().Changed(name) {
			return usage("--%s goes with --data, which is not given", name)
		}
	}
	return checkField(c, f.data, f.field)
}

// checkField refuses --field for a file that cannot have fields.
func checkField(c *cobra.Command, path, field string) error {
	if c.Flags().Changed("field") && !data.HasFields(path) {
		return usage("--field %s: %s has no fields", field, path).withHint("fields are for .json and .jsonl")
	}
	return nil
}

// describe names the data in results and plans.
func (f sequenceFlags) describe() string {
	if f.tokens != "" {
		return f.tokens
	}
	return fmt.Sprintf("%d x %d tokens of %s, seed %d", f.samples, f.length, f.data, f.seed)
}

// read returns the sequences; every id is in the model's vocabulary.
func (f sequenceFlags) read(dir string, spec *model.Spec) ([][]int32, error) {
	if f.tokens != "" {
		return data.ReadTokens(f.tokens, spec.Vocab)
	}
	if f.length > spec.MaxPositions {
		return nil, usage("--length %d is longer than the model's %d positions", f.length, spec.MaxPositions).withHint("pass --length %d or less", spec.MaxPositions)
	}
	texts, err := data.ReadTexts(f.data, f.field)
	if err != nil {
		return nil, err
	}
	t, err := tokenizer.Load(dir)
	if err != nil {
		return nil, err
	}
	seqs, err := data.Sample(texts, encoder(t, dir, spec), data.SampleOptions{Samples: f.samples, Length: f.length, Seed: f.seed})
	var vocabulary *vocabularyError
	if err != nil && !errors.As(err, &vocabulary) {
		return nil, fmt.Errorf("%s: %w", f.data, err)
	}
	return seqs, err
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

// encoder encodes without special tokens and checks the ids.
func encoder(t *tokenizer.Tokenizer, dir string, spec *model.Spec) func(string) ([]int32, error) {
	return func(text string) ([]int32, error) {
		ids := t.Encode(text, false)
		return int32s(ids), checkIDs(ids, t, dir, spec)
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
