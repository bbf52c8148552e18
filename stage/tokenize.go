package stage

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Tokenize turns texts into token ids, or back.
type Tokenize struct {
	Model   string  `yaml:"model"`
	Text    *string `yaml:"text"`    // or ids to decode; nil: File
	File    string  `yaml:"file"`    // texts, or ids to decode
	Field   string  `yaml:"field"`   // column that holds the text; "": data.DefaultField
	Special bool    `yaml:"special"` // add the special tokens that the tokenizer puts around a text
	Decode  bool    `yaml:"decode"`  // turn ids into text; special tokens are left out
	Chat    `yaml:",inline"`
}

// Check finds what can be wrong before any file is opened.
func (o Tokenize) Check() error {
	if o.Text != nil || o.File != "" {
		return nil
	}
	if o.Decode {
		return wrong("{decode}: which ids?").with("pass {file} with [[ids…], …], or {text} with ids")
	}
	return wrong("tokenize: which text?").with("pass {text} or {file}")
}

// Run gives emit a report.Tokens or report.Text for every text.
func (o Tokenize) Run(ctx context.Context, env Env, emit func(report.Line) error) error {
	if err := o.Check(); err != nil {
		return err
	}
	dir, err := find(ctx, env, o.Model, hub.NeedTokenizer)
	if err != nil {
		return err
	}
	t, err := tokenizer.Load(dir)
	if err != nil {
		return wantTokenizer(err)
	}
	bos := "no"
	if t.AddsBOS() {
		bos = "yes"
	}
	env.Talk.Detail("tokenizer: %s, %d tokens, adds BOS: %s", t.Kind(), t.VocabSize(), bos)
	if o.Decode {
		return o.decode(ctx, t, emit)
	}
	var texts []string
	if o.File == "" {
		texts = []string{*o.Text}
	} else if texts, err = data.ReadTexts(o.File, o.Field); err != nil {
		return err
	}
	for i, text := range texts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ids := t.Encode(text, o.Special)
		if o.Chat.On {
			if ids, err = o.Chat.ids(env, dir, t, text); err != nil {
				return err
			}
		}
		if err := emit(report.Tokens{Index: i, IDs: ids}); err != nil {
			return err
		}
	}
	return nil
}

func (o Tokenize) decode(ctx context.Context, t *tokenizer.Tokenizer, emit func(report.Line) error) error {
	seqs, from, err := o.idLists()
	if err != nil {
		return err
	}
	for i, seq := range seqs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		text, err := t.Decode(ints(seq))
		if err != nil {
			return fmt.Errorf("%s: sequence %d: %w", from, i, err)
		}
		if err := emit(report.Text{Index: i, Text: text}); err != nil {
			return err
		}
	}
	return nil
}

// idLists are the ids to decode, and where they are from: JSON, or lines of numbers as Tokenize's are printed.
func (o Tokenize) idLists() (seqs [][]int32, from string, err error) {
	text := ""
	switch {
	case o.Text != nil:
		text, from = *o.Text, "the ids"
	case filepath.Ext(o.File) == ".txt":
		from = o.File
		raw, err := mmap.ReadNamed(o.File)
		if err != nil {
			return nil, from, err
		}
		text = string(raw)
	default:
		seqs, err = data.ReadTokens(o.File, 0)
		return seqs, o.File, err
	}
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		seq := []int32{}
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return r == ',' || r == '[' || r == ']' || unicode.IsSpace(r) }) {
			id, err := strconv.ParseInt(word, 10, 32)
			if err != nil {
				return nil, from, failed("%s: line %d: %.20q is no token id", from, i+1, word).with("pass ids with spaces or commas between, such as 1 2 3")
			}
			seq = append(seq, int32(id))
		}
		seqs = append(seqs, seq)
	}
	return seqs, from, nil
}
