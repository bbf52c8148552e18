package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/dlclark/regexp2"
)

// The patterns that have a splitter written by hand.
const (
	patternGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

type preJSON struct {
	Pretokenizers  []json.RawMessage `json:"pretokenizers"`
	AddPrefixSpace bool              `json:"add_prefix_space"`
	UseRegex       *bool             `json:"use_regex"`
	Pattern        struct {
		Regex  *string
		String *string
	} `json:"pattern"`
	Behavior string `json:"behavior"`
	Invert   bool   `json:"invert"`
}

// newPreTokenizer reads the pre_tokenizer of a byte-level model: Split stages, then ByteLevel as the last.
func newPreTokenizer(raw json.RawMessage) (preTokenizer, error) {
	items := []json.RawMessage{raw}
	kind, err := componentType("pre_tokenizer", raw)
	if err != nil {
		return nil, err
	}
	if kind == "Sequence" {
		var list preJSON
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, fmt.Errorf("pre_tokenizer Sequence: %w; correct it or download the file again", err)
		}
		items = list.Pretokenizers
	}
	var stages preSequence
	for i, item := range items {
		if stages, err = stages.with(item, i == len(items)-1); err != nil {
			return nil, err
		}
	}
	if len(stages) == 1 {
		return stages[0], nil
	}
	return stages, nil
}

// with adds one stage; the last must be ByteLevel, since later ones would see its spelling of bytes.
func (ps preSequence) with(raw json.RawMessage, last bool) (preSequence, error) {
	kind, err := componentType("pre_tokenizer", raw)
	if err != nil {
		return nil, err
	}
	var p preJSON
	if kind != "" {
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, fmt.Errorf("pre_tokenizer %s: %w; correct it or download the file again", kind, err)
		}
	}
	switch {
	case kind == "ByteLevel" && last:
		return ps.withByteLevel(&p), nil
	case kind == "Split" && !last:
		stage, err := p.split()
		return append(ps, stage), err
	}
	where := "in the middle"
	if last {
		where = "at the end"
	}
	return nil, unsupported("pre_tokenizer", fmt.Sprintf("%q %s", kind, where), "Sequence of Split and a last ByteLevel", "ByteLevel")
}

func (ps preSequence) withByteLevel(p *preJSON) preSequence {
	if p.AddPrefixSpace {
		ps = append(ps, prefixSpace{})
	}
	if p.UseRegex == nil || *p.UseRegex {
		ps = append(ps, &splitter{classes: newClasses(), next: nextGPT2})
	}
	if len(ps) == 0 {
		ps = append(ps, whole{})
	}
	return ps
}

func (p *preJSON) split() (preTokenizer, error) {
	if p.Behavior != "Isolated" || p.Invert {
		return nil, unsupported("pre_tokenizer Split", fmt.Sprintf("with behavior %q, invert %v", p.Behavior, p.Invert), "Isolated, invert false")
	}
	switch {
	case p.Pattern.String != nil:
		return newRegexSplitter(regexp.QuoteMeta(*p.Pattern.String))
	case p.Pattern.Regex == nil:
		return nil, errors.New("pre_tokenizer Split: no pattern; correct it or download the file again")
	}
	switch *p.Pattern.Regex {
	case patternGPT2:
		return &splitter{classes: newClasses(), next: nextGPT2}, nil
	case patternLlama3:
		return &splitter{classes: newClasses(), next: nextLlama3}, nil
	case patternQwen2:
		return &splitter{classes: newClasses(), next: nextQwen2}, nil
	}
	return newRegexSplitter(*p.Pattern.Regex)
}

// preSequence applies each stage to the pieces of the one before.
type preSequence []preTokenizer

func (ps preSequence) split(text string, yield func(string)) {
	if len(ps) == 0 {
		whole{}.split(text, yield)
		return
	}
	ps[0].split(text, func(piece string) { ps[1:].split(piece, yield) })
}

// whole leaves text in one piece.
type whole struct{}

func (whole) split(text string, yield func(string)) {
	if text != "" {
		yield(text)
	}
}

// prefixSpace is ByteLevel's add_prefix_space.
type prefixSpace struct{}

func (prefixSpace) split(text string, yield func(string)) {
	if !strings.HasPrefix(text, " ") {
		text = " " + text
	}
	yield(text)
}

// regexSplitter runs a pattern that has no splitter of its own. Matches and what lies between them are pieces.
type regexSplitter struct {
	re *regexp2.Regexp
}

func newRegexSplitter(pattern string) (preTokenizer, error) {
	re, err := regexp2.Compile(pattern, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("pre_tokenizer Split: pattern %q: %w (%w)", pattern, ErrUnsupported, err)
	}
	return &regexSplitter{re}, nil
}

func (s *regexSplitter) split(text string, yield func(string)) {
	piece := func(runes []rune) {
		if len(runes) > 0 {
			yield(string(runes))
		}
	}
	runes := []rune(text)
	start := 0
	m, err := s.re.FindRunesMatch(runes)
	for ; err == nil && m != nil; m, err = s.re.FindNextMatch(m) {
		piece(runes[start:m.Index])
		start = m.Index + m.Length
		piece(runes[m.Index:start])
	}
	piece(runes[start:])
}
