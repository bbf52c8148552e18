package stage

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/coppice-ml/coppice/chat"
	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// TrainData says what a model is trained on: rows of text by their schema, or
// rows of ids with labels.
type TrainData struct {
	Sources        []string `yaml:"data"`            // files, directories, data sets of the hub
	Tokens         string   `yaml:"train_tokens"`    // JSON rows of input_ids, labels and attention_mask, used as they are
	Schema         string   `yaml:"schema"`          // alpaca or text; "": recognised by its columns
	MaxLength      int      `yaml:"max_length"`      // tokens of a sample, cut on the right
	Samples        int      `yaml:"samples"`         // drawn by seed; 0: all
	Validation     int      `yaml:"validation"`      // samples held out; -1: the smaller of 2000 and 4 %
	ValidationData string   `yaml:"validation_data"` // held-out rows of their own, in the form of the others
	Seed           uint64   `yaml:"seed"`
}

// DefaultTrainData is the paper's: all rows, 256 tokens.
func DefaultTrainData() TrainData { return TrainData{MaxLength: 256, Validation: -1, Seed: 42} }

// Check finds what can be wrong before any file is opened.
func (d TrainData) Check() error {
	switch {
	case d.Tokens == "" && len(d.Sources) == 0:
		return wrong("{data}: on what rows?").with("pass {data} with a file, a directory or a data set of the hub, or {train_tokens} with rows of ids")
	case d.Tokens != "" && len(d.Sources) > 0:
		return wrong("{train_tokens} and {data} are both given").with("give one of them")
	case d.MaxLength < 2:
		return wrong("{max_length} %d: want at least 2, a token and one before it", d.MaxLength)
	case d.Samples < 0:
		return wrong("{samples} %d: want at least 1", d.Samples)
	case d.Validation < -1:
		return wrong("{validation} %d: want 0 or more samples", d.Validation)
	}
	if d.Schema != "" {
		var names []string
		for _, s := range data.Schemas() {
			names = append(names, string(s))
		}
		return oneOf("schema", d.Schema, names...)
	}
	return nil
}

// trainSet is what was made of the rows.
type trainSet struct {
	train, valid []heal.Sample
	skipped      int // rows without a target
	cut          int // samples cut at MaxLength
	source       string
	sha256       string
}

// read makes samples of the rows.
func (d TrainData) read(ctx context.Context, env Env, dir string, spec *model.Spec) (*trainSet, error) {
	if d.Tokens == "" && d.MaxLength > spec.MaxPositions {
		return nil, wrong("{max_length} %d is longer than the model's %d positions", d.MaxLength, spec.MaxPositions).with("pass {max_length} %d or less", spec.MaxPositions)
	}
	set := &trainSet{}
	make, err := d.maker(env, dir, spec, set)
	if err != nil {
		return nil, err
	}
	all, err := make(ctx, append(slices.Clone(d.Sources), nonEmpty(d.Tokens)...))
	if err != nil {
		return nil, err
	}
	if d.ValidationData != "" {
		if set.valid, err = make(ctx, []string{d.ValidationData}); err != nil {
			return nil, err
		}
	}
	if err := set.divide(all, d); err != nil {
		return nil, err
	}
	set.sha256 = hashSamples(set.train, set.valid)
	env.Talk.Note("data: %s, %s held out%s", report.Plural(len(set.train), "sample"), report.Plural(len(set.valid), "sample"), set.remarks())
	return set, nil
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func (s *trainSet) remarks() string {
	out := ""
	if s.cut > 0 {
		out += fmt.Sprintf(", %d cut on the right", s.cut)
	}
	if s.skipped > 0 {
		out += fmt.Sprintf(", %d skipped: nothing to learn in them", s.skipped)
	}
	return out
}

// divide draws samples and holds some out.
func (s *trainSet) divide(all []heal.Sample, d TrainData) error {
	if len(all) == 0 && s.skipped == 0 {
		return failed("%s: there are no rows", s.source)
	}
	if len(all) == 0 {
		return failed("%s: none of %s has anything to learn", s.source, report.Plural(s.skipped, "row")).with("the prompts may be longer than {max_length}")
	}
	order := rand.New(rand.NewPCG(d.Seed, 0x76616c6964)).Perm(len(all))
	if d.Samples > 0 && d.Samples < len(order) {
		order = order[:d.Samples]
	}
	hold := d.Validation
	switch {
	case d.ValidationData != "":
		hold = 0
	case hold < 0:
		hold = min(2000, len(order)*4/100)
	}
	if hold >= len(order) {
		return wrong("{validation} %d: there are only %s", hold, report.Plural(len(order), "sample")).with("hold fewer out")
	}
	held := slices.Sorted(slices.Values(order[:hold]))
	for _, i := range held {
		s.valid = append(s.valid, all[i])
	}
	for _, i := range slices.Sorted(slices.Values(order[hold:])) {
		s.train = append(s.train, all[i])
	}
	return nil
}

// maker returns what makes samples of named sources.
func (d TrainData) maker(env Env, dir string, spec *model.Spec, set *trainSet) (func(context.Context, []string) ([]heal.Sample, error), error) {
	if d.Tokens != "" {
		return func(_ context.Context, paths []string) ([]heal.Sample, error) { return set.labelled(paths, spec) }, nil
	}
	t, err := tokenizer.Load(dir)
	if err != nil {
		return nil, err
	}
	bos, err := startOf(t, "auto", dir, spec)
	if err != nil {
		return nil, err
	}
	m := &sampler{d: d, t: t, bos: ints(bos), dir: dir, spec: spec, set: set}
	return func(ctx context.Context, sources []string) ([]heal.Sample, error) { return m.texts(ctx, env, sources) }, nil
}

// labelled takes rows of ids as they are.
func (s *trainSet) labelled(paths []string, spec *model.Spec) ([]heal.Sample, error) {
	var out []heal.Sample
	for _, path := range paths {
		s.name(path)
		rows, err := data.ReadLabelled(path, spec.Vocab)
		if err != nil {
			return nil, err
		}
		for i, r := range rows {
			if len(r.Tokens) > spec.MaxPositions {
				return nil, failed("%s: row %d has %s, the model %d positions", path, i, report.Plural(len(r.Tokens), "token"), spec.MaxPositions).with("cut it")
			}
			out = s.keep(out, heal.Sample{Tokens: r.Tokens, Labels: r.Labels})
		}
	}
	return out, nil
}

func (s *trainSet) name(source string) {
	if s.source != "" {
		s.source += ", "
	}
	s.source += source
}

// keep appends a sample that has a target.
func (s *trainSet) keep(out []heal.Sample, sample heal.Sample) []heal.Sample {
	if sample.Targets() == 0 {
		s.skipped++
		return out
	}
	return append(out, sample)
}

// sampler makes samples of texts.
type sampler struct {
	d    TrainData
	t    *tokenizer.Tokenizer
	bos  []int
	dir  string
	spec *model.Spec
	set  *trainSet
}

func (m *sampler) texts(ctx context.Context, env Env, sources []string) ([]heal.Sample, error) {
	var out []heal.Sample
	for _, source := range sources {
		c, err := openData(ctx, env, source)
		if err != nil {
			return nil, err
		}
		m.set.name(c.source)
		for _, path := range c.files {
			if out, err = m.file(ctx, path, out); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (m *sampler) file(ctx context.Context, path string, out []heal.Sample) ([]heal.Sample, error) {
	if !data.HasFields(path) { // a text file is one text
		for text, err := range data.Texts([]string{path}, "") {
			if err != nil {
				return nil, err
			}
			if out, err = m.text(out, text); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	schema := data.Schema(m.d.Schema)
	for row, err := range data.Rows(path, data.RowOptions{}) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil && schema == "" {
			schema, err = data.DetectSchema(row)
		}
		if err != nil {
			return nil, err
		}
		x, err := schema.Exchange(row)
		if err == nil && x.Prompt == "" {
			out, err = m.text(out, x.Answer)
		} else if err == nil {
			out, err = m.exchange(out, x)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// encode begins with BOS where the tokenizer does.
func (m *sampler) encode(text string) []int {
	return append(slices.Clone(m.bos), m.t.Encode(text, false)...)
}

// end is EOS, where there is one.
func (m *sampler) end() []int {
	if eos, ok := m.t.EOS(); ok {
		return []int{eos}
	}
	return nil
}

// text makes samples of a text, all of it learnt, cut into pieces of MaxLength.
func (m *sampler) text(out []heal.Sample, text string) ([]heal.Sample, error) {
	ids := append(m.encode(text), m.end()...)
	if err := checkIDs(ids, m.t, m.dir, m.spec); err != nil {
		return nil, err
	}
	for piece := range slices.Chunk(int32s(ids), m.d.MaxLength) {
		out = m.set.keep(out, heal.Sample{Tokens: piece, Labels: piece})
	}
	return out, nil
}

// exchange makes a sample whose answer, its EOS with it, is learnt.
func (m *sampler) exchange(out []heal.Sample, x data.Exchange) ([]heal.Sample, error) {
	text := x.Prompt + x.Answer
	ids, spans := chat.TokenSpans(m.encode, text, []chat.Span{{Start: len(x.Prompt), End: len(text)}})
	ids = append(ids, m.end()...)
	if err := checkIDs(ids, m.t, m.dir, m.spec); err != nil {
		return nil, err
	}
	if len(ids) > m.d.MaxLength {
		ids = ids[:m.d.MaxLength]
		m.set.cut++
	}
	s := heal.Sample{Tokens: int32s(ids), Labels: int32s(ids)}
	for i := range min(spans[0].Start, len(ids)) {
		s.Labels[i] = heal.Ignore
	}
	return m.set.keep(out, s), nil
}

// hashSamples identifies training data: ids and labels, in order.
func hashSamples(sets ...[]heal.Sample) string {
	h := sha256.New()
	for _, set := range sets {
		_ = binary.Write(h, binary.LittleEndian, int64(len(set)))
		for _, s := range set {
			_ = binary.Write(h, binary.LittleEndian, int64(len(s.Tokens)))
			_ = binary.Write(h, binary.LittleEndian, s.Tokens)
			_ = binary.Write(h, binary.LittleEndian, s.Labels)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
