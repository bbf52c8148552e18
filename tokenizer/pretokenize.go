package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// The patterns that have a splitter written by hand.
const (
	patternGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

type preJSON struct {
	Pretokenizers  []json.RawMessage `json:"pretokenizers"`
	AddPrefixSpace *bool             `json:"add_prefix_space"`
	UseRegex       *bool             `json:"use_regex"`
	Pattern        patternJSON       `json:"pattern"`
	Behavior       behavior          `json:"behavior"`
	Invert         bool              `json:"invert"`
	Individual     bool              `json:"individual_digits"`
	Replacement    string            `json:"replacement"`
	PrependScheme  string            `json:"prepend_scheme"`
	Split          *bool             `json:"split"`
}

// patternJSON is a regular expression or a plain string.
type patternJSON struct {
	Regex  *string
	String *string
}

// pieces is what a pre_tokenizer reads as: its stages, and whether they spell bytes (ByteLevel).
type pieces struct {
	stages preSequence
	bytes  bool
	read   stages
}

// newPreTokenizer reads a pre_tokenizer and reports whether it spells bytes.
func newPreTokenizer(raw json.RawMessage) (preTokenizer, bool, error) {
	var p pieces
	if err := p.add(raw); err != nil {
		return nil, false, err
	}
	switch len(p.stages) {
	case 0:
		return whole{}, p.bytes, nil
	case 1:
		return p.stages[0], p.bytes, nil
	}
	return p.stages, p.bytes, nil
}

func (ps *pieces) add(raw json.RawMessage) error {
	if err := ps.read.enter("pre_tokenizer"); err != nil {
		return err
	}
	defer ps.read.leave()
	kind, err := componentType("pre_tokenizer", raw)
	if err != nil || kind == "" {
		return err
	}
	var p preJSON
	if err := readJSON(raw, &p); err != nil {
		return fmt.Errorf("pre_tokenizer %s: %w; correct it or get the file again", kind, err)
	}
	switch kind {
	case "Sequence":
		for _, item := range p.Pretokenizers {
			if err := ps.add(item); err != nil {
				return err
			}
		}
		return nil
	case "ByteLevel":
		return ps.addByteLevel(&p)
	}
	stage, err := p.stage(kind)
	if err != nil {
		return err
	}
	if ps.bytes {
		stage = afterByteLevel(stage)
	}
	ps.stages = append(ps.stages, stage)
	return nil
}

func (ps *pieces) addByteLevel(p *preJSON) error {
	if ps.bytes {
		return unsupported("pre_tokenizer ByteLevel", "twice")
	}
	if p.AddPrefixSpace != nil && *p.AddPrefixSpace {
		ps.stages = append(ps.stages, prefixSpace{})
	}
	if p.UseRegex == nil || *p.UseRegex {
		ps.stages = append(ps.stages, &splitter{classes: newClasses(), next: nextGPT2})
	}
	ps.bytes = true
	return nil
}

// stage builds one stage that sees characters.
func (p *preJSON) stage(kind string) (preTokenizer, error) {
	switch kind {
	case "Split":
		return p.newSplit()
	case "Digits":
		how := contiguous
		if p.Individual {
			how = isolated
		}
		return &delimited{find: characters{isDigit}, how: how}, nil
	case "Punctuation":
		how := p.Behavior
		if how == "" {
			how = isolated
		}
		return &delimited{find: characters{isPunctuation}, how: how}, how.check("pre_tokenizer Punctuation")
	case "WhitespaceSplit":
		return &delimited{find: characters{unicode.IsSpace}, how: removed}, nil
	case "Metaspace":
		return p.metaspace()
	}
	return nil, unsupported("pre_tokenizer", fmt.Sprintf("%q", kind), "Sequence", "ByteLevel", "Split", "Digits", "Punctuation", "WhitespaceSplit", "Metaspace")
}

func (p *preJSON) newSplit() (preTokenizer, error) {
	const stage = "pre_tokenizer Split"
	if err := p.Behavior.check(stage); err != nil {
		return nil, err
	}
	if p.Behavior == isolated && p.Pattern.Regex != nil {
		switch *p.Pattern.Regex {
		case patternGPT2:
			return &splitter{classes: newClasses(), next: nextGPT2}, nil
		case patternLlama3:
			return &splitter{classes: newClasses(), next: nextLlama3}, nil
		case patternQwen2:
			return &splitter{classes: newClasses(), next: nextQwen2}, nil
		}
	}
	find, err := p.Pattern.matcher(stage)
	return &delimited{find: find, how: p.Behavior, invert: p.Invert}, err
}

func (p patternJSON) matcher(stage string) (matcher, error) {
	switch {
	case p.String != nil:
		return literal(*p.String), nil
	case p.Regex == nil:
		return nil, errors.New(stage + ": no pattern; correct it or get the file again")
	case *p.Regex == patternThreeDigits:
		return threeDigits{}, nil
	}
	return newExpression(stage, *p.Regex)
}

func (p *preJSON) metaspace() (preTokenizer, error) {
	m := &metaspace{replacement: p.Replacement, prepend: p.PrependScheme}
	if m.prepend == "" {
		m.prepend = prependAlways
		if p.AddPrefixSpace != nil && !*p.AddPrefixSpace {
			m.prepend = prependNever
		}
	}
	if m.prepend != prependAlways && m.prepend != prependFirst && m.prepend != prependNever {
		return nil, unsupported("pre_tokenizer Metaspace", fmt.Sprintf("with prepend_scheme %q", m.prepend), prependAlways, prependFirst, prependNever)
	}
	if m.replacement == "" {
		return nil, errors.New("pre_tokenizer Metaspace: no replacement; correct it or get the file again")
	}
	if !oneCharacter(m.replacement) {
		return nil, errors.New("pre_tokenizer Metaspace: the replacement is not one character; correct it or get the file again")
	}
	if p.Split == nil || *p.Split {
		m.cut = &delimited{find: literal(m.replacement), how: mergedWithNext}
	}
	return m, nil
}

// marksHead reports whether a stage is Metaspace that puts a space before the first piece alone.
func marksHead(p preTokenizer) bool {
	switch p := p.(type) {
	case *metaspace:
		return p.prepend == prependFirst
	case *spelled:
		return marksHead(p.stage)
	case preSequence:
		return slices.ContainsFunc(p, marksHead)
	}
	return false
}

// preSequence applies each stage to the pieces of the one before.
type preSequence []preTokenizer

func (ps preSequence) split(text string, first bool, yield func(string)) {
	if len(ps) == 1 {
		ps[0].split(text, first, yield)
		return
	}
	d, ok := ps[0].(*delimited)
	removes := ok && d.how == removed
	ps[0].split(text, first, func(piece string) {
		if removes && !strings.HasPrefix(text, piece) {
			first = false // what the text begins with is gone
		}
		ps[1:].split(piece, first, yield)
		first = false
	})
}

// whole leaves text in one piece.
type whole struct{}

func (whole) split(text string, _ bool, yield func(string)) {
	if text != "" {
		yield(text)
	}
}

// prefixSpace is ByteLevel's add_prefix_space.
type prefixSpace struct{}

func (prefixSpace) split(text string, _ bool, yield func(string)) {
	if !strings.HasPrefix(text, " ") {
		text = " " + text
	}
	yield(text)
}

// The values of prepend_scheme.
const (
	prependAlways = "always"
	prependFirst  = "first"
	prependNever  = "never"
)

// metaspace writes spaces as U+2581, puts one before the text, and cuts before each.
type metaspace struct {
	replacement, prepend string
	cut                  *delimited // nil: text stays in one piece
}

func (m *metaspace) split(text string, first bool, yield func(string)) {
	text = strings.ReplaceAll(text, " ", m.replacement)
	if (m.prepend == prependAlways || m.prepend == prependFirst && first) && !strings.HasPrefix(text, m.replacement) {
		text = m.replacement + text
	}
	if m.cut == nil {
		yield(text)
		return
	}
	m.cut.split(text, first, yield)
}
