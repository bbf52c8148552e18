package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

type normalizerJSON struct {
	Normalizers []json.RawMessage `json:"normalizers"`
	Prepend     string            `json:"prepend"`
	Pattern     patternJSON       `json:"pattern"`
	Content     string            `json:"content"`
	StripLeft   bool              `json:"strip_left"`
	StripRight  bool              `json:"strip_right"`
}

// newNormalizer reads a normalizer; nil leaves text as it is.
func newNormalizer(raw json.RawMessage, s *stages) (normalizer, error) {
	if err := s.enter("normalizer"); err != nil {
		return nil, err
	}
	defer s.leave()
	kind, err := componentType("normalizer", raw)
	if err != nil || kind == "" {
		return nil, err
	}
	var n normalizerJSON
	if err := readJSON(raw, &n); err != nil {
		return nil, fmt.Errorf("normalizer %s: %w; correct it or get the file again", kind, err)
	}
	switch kind {
	case "NFC":
		return unicodeForm(norm.NFC), nil
	case "NFD":
		return unicodeForm(norm.NFD), nil
	case "NFKC":
		return unicodeForm(norm.NFKC), nil
	case "NFKD":
		return unicodeForm(norm.NFKD), nil
	case "Lowercase":
		return rewriter{lower, true, nil}, nil
	case "StripAccents":
		return rewriter{stripAccents, false, func(r rune) bool { return unicode.Is(unicode.M, r) }}, nil
	case "Strip":
		head := unicode.IsSpace
		if !n.StripLeft {
			head = nil
		}
		return rewriter{n.strip, false, head}, nil
	case "Prepend":
		return prepend(n.Prepend), checkInsert("normalizer Prepend", n.Prepend)
	case "Replace":
		return newReplace("normalizer Replace", n.Pattern, n.Content)
	case "Sequence":
		return n.sequence(s)
	}
	return nil, unsupported("normalizer", kind, "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents", "Prepend", "Replace", "Sequence")
}

func (n *normalizerJSON) sequence(s *stages) (normalizer, error) {
	all := normalizers{}
	for _, raw := range n.Normalizers {
		item, err := newNormalizer(raw, s)
		if err != nil {
			return nil, err
		}
		if item != nil {
			all = append(all, item)
		}
	}
	return all, nil
}

func (n *normalizerJSON) strip(text string) string {
	if n.StripLeft {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
	}
	if n.StripRight {
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	}
	return text
}

// rewriter is a function of the text alone.
type rewriter struct {
	rewrite func(string) string
	longer  bool              // it may make a text longer
	drops   func(r rune) bool // characters that it takes from the head of a text; nil: none
}

// beheads reports whether normalisation takes away what a text begins with: Hugging Face's library then knows of no
// beginning to put a space before.
func beheads(n normalizer, text string) bool {
	switch n := n.(type) {
	case rewriter:
		r, size := utf8.DecodeRuneInString(text)
		return n.drops != nil && size > 0 && n.drops(r)
	case normalizers:
		for _, one := range n {
			if beheads(one, text) {
				return true
			}
			text = one.normalize(text)
		}
	}
	return false
}

func (f rewriter) normalize(text string) string { return f.rewrite(text) }

// lower is Unicode's full mapping: one character alone becomes two.
func lower(text string) string {
	return strings.ToLower(strings.ReplaceAll(text, "\u0130", "i\u0307"))
}

// stripAccents drops marks of every kind: nonspacing, spacing (the vowel signs of Indic scripts) and enclosing.
func stripAccents(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.M, r) {
			return -1
		}
		return r
	}, text)
}

// prepend puts a string before every text that is not empty.
type prepend string

func (p prepend) normalize(text string) string {
	if text == "" {
		return ""
	}
	return string(p) + text
}

// replace writes content for every match.
type replace struct {
	find    matcher
	content string
}

func newReplace(stage string, pattern patternJSON, content string) (normalizer, error) {
	if err := checkInsert(stage, content); err != nil {
		return nil, err
	}
	find, err := pattern.matcher(stage)
	return &replace{find, content}, err
}

func (r *replace) normalize(text string) string {
	if l, ok := r.find.(literal); ok && l != "" {
		return strings.ReplaceAll(text, string(l), r.content)
	}
	out := make([]byte, 0, len(text))
	r.find.each(text, func(from, to int, delimiter bool) {
		if delimiter {
			out = append(out, r.content...)
			return
		}
		out = append(out, text[from:to]...)
	})
	return string(out)
}
