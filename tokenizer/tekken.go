package tokenizer

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/coppice-ml/coppice/internal/pyjson"
)

// tekkenJSON is a tekken.json, Mistral's form since Nemo: raw tokens in the order of their ranks, and the pattern that
// cuts texts. Special tokens have the first ids; of the others only as many count as the size that is named leaves.
// Source: mistral-common's tokens/tokenizers/tekken.py.
type tekkenJSON struct {
	Config struct {
		Pattern  string `json:"pattern"`
		Size     int    `json:"default_vocab_size"`
		Specials int    `json:"default_num_special_tokens"`
	} `json:"config"`
	Vocab []struct {
		Rank  int    `json:"rank"`
		Bytes string `json:"token_bytes"`
	} `json:"vocab"`
	Special []struct {
		Rank int    `json:"rank"`
		Text string `json:"token_str"`
	} `json:"special_tokens"`
}

// parseTekken reads a tekken.json. As the tokenizer.json that is published beside one does, it puts <s> before a text.
func parseTekken(data []byte, cfg config) (*Tokenizer, error) {
	var f tekkenJSON
	if err := pyjson.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("not a tekken vocabulary: %w; copy the file again", err)
	}
	ranks, err := f.ranks()
	if err != nil {
		return nil, fmt.Errorf("not a tekken vocabulary: %w; copy the file again", err)
	}
	split := preJSON{Pattern: patternJSON{Regex: &f.Config.Pattern}, Behavior: isolated}
	pre, err := split.newSplit()
	if err != nil {
		return nil, err
	}
	own, err := f.specials()
	if err != nil {
		return nil, err
	}
	rules := tiktokenRules{before: []string{"<s>"}, eos: "</s>"}
	return ofRanks(ranks, cfg, rules, pre, func(size int) ([]addedToken, error) {
		return cfg.extend(own, size, func(string) (int, bool) { return -1, false })
	})
}

// ranks gives the raw tokens their ids.
func (f *tekkenJSON) ranks() (map[string]int32, error) {
	n, first := f.Config.Size-f.Config.Specials, f.Config.Specials
	switch {
	case first < 0 || n < 1 || f.Config.Size > maxTokens:
		return nil, fmt.Errorf("default_vocab_size = %d, default_num_special_tokens = %d: want more of the first, up to %d", f.Config.Size, first, maxTokens)
	case len(f.Vocab) < n:
		return nil, fmt.Errorf("%d tokens in vocab, %d are named", len(f.Vocab), n)
	case f.Config.Pattern == "":
		return nil, errors.New("no pattern")
	}
	ranks := make(map[string]int32, n)
	var cost squares
	for i, v := range f.Vocab[:n] {
		raw, err := base64.StdEncoding.DecodeString(v.Bytes)
		token := string(raw)
		_, twice := ranks[token]
		switch {
		case v.Rank != i:
			return nil, fmt.Errorf("vocab[%d] has rank %d", i, v.Rank)
		case err != nil || len(token) == 0 || len(token) > maxToken:
			return nil, fmt.Errorf("vocab[%d]: %.40q is no token of 1 to %d bytes in base64", i, v.Bytes, maxToken)
		case twice:
			return nil, fmt.Errorf("vocab[%d]: token %q a second time", i, token)
		}
		if err := cost.add(token); err != nil {
			return nil, err
		}
		ranks[token] = int32(first + i)
	}
	return ranks, nil
}

// specials are the tokens with the first ids: the file's, and in files that have no list the ones of the code.
func (f *tekkenJSON) specials() ([]addedToken, error) {
	texts := make([]string, f.Config.Specials)
	for i := range texts {
		texts[i] = fmt.Sprintf("<SPECIAL_%d>", i)
	}
	if f.Special == nil {
		copy(texts, firstTekken())
	}
	for _, s := range f.Special {
		if s.Rank < 0 || s.Rank >= len(texts) {
			return nil, fmt.Errorf("special token %q has rank %d of %d; copy the file again", s.Text, s.Rank, len(texts))
		}
		texts[s.Rank] = s.Text
	}
	own := make([]addedToken, len(texts))
	for i, text := range texts {
		own[i] = addedToken{ID: i, Content: text, Special: true}
	}
	return own, nil
}

// firstTekken are the special tokens of files that list none.
func firstTekken() []string {
	return []string{"<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]",
		"[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"}
}
