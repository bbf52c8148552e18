package tokenizer

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is an entry of tokenizer.json's added_tokens.
type addedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// UnmarshalJSON also takes an id that another writer made a string or a float.
func (a *addedToken) UnmarshalJSON(data []byte) error {
	type plain addedToken
	loose := struct {
		ID looseID `json:"id"`
		*plain
	}{plain: (*plain)(a)}
	if err := json.Unmarshal(data, &loose); err != nil {
		return err
	}
	a.ID = int(loose.ID)
	return nil
}

// addedTokens are looked for in the text itself, or, those marked normalized, after normalisation.
type addedTokens struct {
	raw, normalized addedSet
}

// addedSet finds the tokens of one kind, the longest of those that begin at the leftmost place.
type addedSet struct {
	find   trie
	tokens []addedToken
}

func newAddedTokens(tokens []addedToken, n normalizer) addedTokens {
	var a addedTokens
	for _, tok := range tokens {
		if !tok.Normalized {
			a.raw.add(tok.Content, tok)
			continue
		}
		text := tok.Content
		if n != nil {
			text = n.normalize(text)
		}
		a.normalized.add(text, tok)
	}
	return a
}

func (s *addedSet) add(text string, tok addedToken) {
	s.find.add(text, len(s.tokens))
	s.tokens = append(s.tokens, tok)
}

// cut visits text from left to right: the parts without tokens, and the ids of tokens.
func (s *addedSet) cut(text string, part func(string), token func(id int)) {
	start := 0
	s.find.cut(text, func(string) {}, func(from, to int) {
		index, _ := s.find.longest(text[from:to])
		tok := &s.tokens[index]
		if tok.SingleWord && (endsInWord(text[:from]) || beginsWithWord(text[to:])) {
			return
		}
		if tok.LStrip {
			from = max(start, len(strings.TrimRightFunc(text[:from], unicode.IsSpace)))
		}
		if tok.RStrip {
			to = len(text) - len(strings.TrimLeftFunc(text[to:], unicode.IsSpace))
		}
		if start < from {
			part(text[start:from])
		}
		token(tok.ID)
		start = to
	})
	if start < len(text) {
		part(text[start:])
	}
}

func endsInWord(text string) bool {
	r, n := utf8.DecodeLastRuneInString(text)
	return n > 0 && isWord(r)
}

func beginsWithWord(text string) bool {
	r, n := utf8.DecodeRuneInString(text)
	return n > 0 && isWord(r)
}

// isWord is \w of Rust's regex crate, Unicode's own definition.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.Nl, unicode.Other_Alphabetic, unicode.M, unicode.Nd, unicode.Pc, unicode.Join_Control)
}
