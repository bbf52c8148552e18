package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Data says which token sequences a model is run on: those of a file of ids, or
// windows drawn from texts.
type Data struct {
	Tokens    string `yaml:"tokens"`     // JSON file of token ids, [[ids…], …], used exactly as given
	Source    string `yaml:"data"`       // texts: a file, a directory, or a data set of the hub
	Field     string `yaml:"field"`      // column that holds the text; "": data.DefaultField
	Windows   string `yaml:"windows"`    // drawn: from documents; joined: all rows joined by blank lines and cut up, the remainder dropped
	Samples   int    `yaml:"samples"`    // number of windows; joined: drawn from all of them, 0: all
	Length    int    `yaml:"length"`     // tokens in a window, BOS included
	AddBOS    string `yaml:"add_bos"`    // begin every window with BOS: true, false or auto (where the tokenizer adds one)
	TokensOut string `yaml:"tokens_out"` // new file for the token ids
	Seed      uint64 `yaml:"seed"`       // of everything drawn at random
}

// DefaultData draws the windows that metrics were published with.
func DefaultData() Data {
	return Data{Windows: windowsDrawn, Samples: 10, Length: 128, AddBOS: "false", Seed: 42}
}

// Given says that tokens or texts are named.
func (d Data) Given() bool { return d.Tokens != "" || d.Source != "" }

// Check finds what can be wrong before any file is opened.
func (d Data) Check() error {
	if err := oneOf("windows", cmp.Or(d.Windows, windowsDrawn), windowsDrawn, windowsJoined); err != nil {
		return err
	}
	if d.Samples < 1 && (d.Samples < 0 || d.Windows != windowsJoined) {
		return wrong("{samples} %d: want at least 1", d.Samples)
	}
	if d.Length < 2 {
		return wrong("{length} %d: want at least 2, a token and one before it", d.Length)
	}
	if err := oneOf("add_bos", d.AddBOS, "auto", "true", "false"); err != nil {
		return err
	}
	if d.TokensOut != "" {
		if err := checkNew(d.TokensOut); err != nil {
			return err
		}
		if err := Writable("tokens_out", d.TokensOut); err != nil {
			return err
		}
	}
	return checkField(d.Source, d.Field)
}

// checkField refuses a field for a file that cannot have columns.
func checkField(path, field string) error {
	if field != "" && !data.HasFields(path) {
		return wrong("{field} %s: %s has no fields", field, path).with("fields are for files of rows, such as .jsonl, .csv and .parquet")
	}
	return nil
}

// source is where texts come from: the calibration set, where none are named.
func (d Data) source() string {
	if d.Source == "" {
		return data.Calibration
	}
	return d.Source
}

// field is the column that holds the text.
func (d Data) field() string {
	if d.Field == "" {
		return data.DefaultField
	}
	return d.Field
}

// describe names the data in plans.
func (d Data) describe() string {
	if d.Tokens != "" {
		return d.Tokens
	}
	if d.Windows == windowsJoined && d.Samples == 0 {
		return fmt.Sprintf("all windows of %d tokens of %s", d.Length, d.source())
	}
	return fmt.Sprintf("%d x %d tokens of %s, seed %d", d.Samples, d.Length, d.source(), d.Seed)
}

// read returns the sequences for a model, every id of them in its vocabulary, and
// what results say of them.
func (d Data) read(ctx context.Context, env Env, dir string, spec *model.Spec) ([][]int32, *report.Data, error) {
	if d.Tokens != "" {
		seqs, err := data.ReadTokens(d.Tokens, spec.Vocab)
		return seqs, &report.Data{Source: d.Tokens, SHA256: data.HashTokens(seqs)}, err
	}
	if d.Length > spec.MaxPositions {
		return nil, nil, wrong("{length} %d is longer than the model's %d positions", d.Length, spec.MaxPositions).with("pass {length} %d or less", spec.MaxPositions)
	}
	t, err := tokenizer.Load(dir)
	if err != nil {
		return nil, nil, err
	}
	bos, err := startOf(t, d.AddBOS, dir, spec)
	if err != nil {
		return nil, nil, err
	}
	if d.Length == len(bos) {
		return nil, nil, wrong("{length} %d: nothing is left beside BOS", d.Length)
	}
	if d.Source == "" {
		env.Talk.Note("no {data} and no {tokens}: running on %s", data.Calibration)
	}
	texts, err := openData(ctx, env, "data", d.source())
	if err != nil && d.Source == "" && ctx.Err() == nil {
		err = ownTexts(err)
	}
	if err != nil {
		return nil, nil, err
	}
	if d.Windows == windowsJoined {
		return d.joined(ctx, texts, t, bos, dir, spec)
	}
	seqs, err := d.draw(ctx, texts, t, bos, dir, spec)
	if err != nil {
		return nil, nil, err
	}
	info := &report.Data{
		Source: texts.source, Field: d.field(), Samples: d.Samples, Length: d.Length, Seed: &d.Seed,
		BOS: len(bos) > 0, SHA256: data.HashTokens(seqs),
	}
	return seqs, info, d.write(seqs)
}

// ownTexts adds to an error of the calibration set that other texts serve as well.
func ownTexts(err error) error {
	_, remedy := Describe(hubError(err), func(field string) string { return field })
	if remedy != "" {
		remedy = "; or " + remedy
	}
	p := failed("%w", err).with("pass {data} FILE with texts of your own%s", remedy)
	var below *Problem
	if errors.As(err, &below) {
		p.Kind = below.Kind
	}
	return p
}

// draw samples windows and puts bos, which may be empty, before each.
func (d Data) draw(ctx context.Context, texts corpus, t *tokenizer.Tokenizer, bos []int32, dir string, spec *model.Spec) ([][]int32, error) {
	seqs, err := data.Sample(ctx, data.Texts(texts.files, d.field()), encoder(t, dir, spec), data.SampleOptions{
		Samples: d.Samples, Length: d.Length - len(bos), Seed: d.Seed,
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

// write leaves the sequences in the file of TokensOut.
func (d Data) write(seqs [][]int32) error { return writeTokens(d.TokensOut, seqs) }

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
		return nil, wrong("{add_bos} true: the tokenizer of %s has no BOS token", dir).with("pass {add_bos} false")
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

func countTokens(seqs [][]int32) (tokens int) {
	for _, s := range seqs {
		tokens += len(s)
	}
	return tokens
}
