package tokenizer

import (
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// normalizers applies several in turn.
type normalizers []normalizer

func (ns normalizers) normalize(text string) string {
	for _, n := range ns {
		text = n.normalize(text)
	}
	return text
}

// joiner is U+034F, which x/text puts into runs of more than 30 combining marks (the Stream-Safe Text Format).
// The normalisation forms themselves do not, nor do other tokenizers.
const joiner = "\u034f"

// unicodeForm is a Unicode normalisation form.
type unicodeForm norm.Form

func (f unicodeForm) normalize(text string) string {
	out := norm.Form(f).String(text)
	if strings.Count(out, joiner) != strings.Count(text, joiner) {
		return f.definition(text)
	}
	return out
}

// definition follows the Unicode standard step by step: decompose, order the marks, compose. It is slow, and
// right for marks in any number.
func (f unicodeForm) definition(text string) string {
	form := norm.Form(f)
	apart, compose := norm.NFD, form == norm.NFC || form == norm.NFKC
	if form == norm.NFKC || form == norm.NFKD {
		apart = norm.NFKD
	}
	var runes []rune
	for _, r := range text {
		runes = append(runes, []rune(apart.String(string(r)))...)
	}
	for start := 0; start < len(runes); {
		end := start + 1
		for end < len(runes) && combining(runes[end]) != 0 {
			end++
		}
		if combining(runes[start]) != 0 {
			start--
		}
		slices.SortStableFunc(runes[start+1:end], func(a, b rune) int { return int(combining(a)) - int(combining(b)) })
		start = end
	}
	if compose {
		runes = composed(runes)
	}
	return string(runes)
}

func combining(r rune) uint8 { return norm.NFD.PropertiesString(string(r)).CCC() }

// composed joins each character to the last starter unless a mark of the same or a higher class stands between.
func composed(runes []rune) []rune {
	var out []rune
	starter, last := -1, uint8(0)
	for _, r := range runes {
		class := combining(r)
		if adjacent := starter == len(out)-1; starter >= 0 && (adjacent || last < class && class != 0) {
			if pair := []rune(norm.NFC.String(string([]rune{out[starter], r}))); len(pair) == 1 {
				out[starter] = pair[0]
				continue
			}
		}
		if class == 0 {
			starter = len(out)
		}
		last = class
		out = append(out, r)
	}
	return out
}
