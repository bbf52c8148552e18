package tokenizer

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// chatGLM4 is the class of GLM-4, which comes with a tokenizer.model of tiktoken's form.
const chatGLM4 = "ChatGLM4Tokenizer"

// isTiktoken reports whether a file begins as tiktoken's do: a token in base64, a space and its rank.
func isTiktoken(data []byte) bool {
	line, _, _ := bytes.Cut(data[:min(len(data), 2*maxToken)], []byte("\n"))
	_, _, err := tiktokenLine(string(line))
	return err == nil
}

// tiktokenLine reads a token and its rank.
func tiktokenLine(line string) (token string, rank int, err error) {
	code, number, ok := strings.Cut(strings.TrimRight(line, "\r"), " ")
	if !ok {
		return "", 0, errors.New("a token in base64 and its rank are expected")
	}
	raw, err := base64.StdEncoding.DecodeString(code)
	if err != nil || len(raw) == 0 || len(raw) > maxToken {
		return "", 0, fmt.Errorf("%.40q is no token of 1 to %d bytes in base64", code, maxToken)
	}
	rank, err = strconv.Atoi(number)
	if err != nil || rank < 0 || rank > maxID {
		return "", 0, fmt.Errorf("%.40q is no rank", number)
	}
	return string(raw), rank, nil
}

// readTiktoken reads the lines of a file: bytes -> rank, which is the id.
func readTiktoken(data []byte) (map[string]int32, error) {
	ranks := make(map[string]int32, min(maxTokens, len(data)/16))
	var cost squares
	n := 0
	for line := range strings.SplitSeq(string(data), "\n") {
		n++
		if strings.TrimSpace(line) == "" {
			continue
		}
		token, rank, err := tiktokenLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if _, twice := ranks[token]; twice {
			return nil, fmt.Errorf("line %d: token %q a second time", n, token)
		}
		if len(ranks) >= maxTokens {
			return nil, fmt.Errorf("line %d: %w: more than %d tokens", n, ErrUnsupported, maxTokens)
		}
		if err := cost.add(token); err != nil {
			return nil, err
		}
		ranks[token] = int32(rank)
	}
	return ranks, nil
}

// parseTiktoken reads a file of tiktoken's form. It holds no pattern and no special tokens, which live in code
// beside it: GLM-4's and Llama 3's for a tokenizer.model, Qwen's for a qwen.tiktoken.
func parseTiktoken(data []byte, cfg config, rules tiktokenRules) (*Tokenizer, error) {
	ranks, err := readTiktoken(data)
	if err != nil {
		return nil, fmt.Errorf("not a tiktoken vocabulary: %w; copy the file again", err)
	}
	pre := &splitter{classes: newClasses(), next: rules.next}
	return ofRanks(ranks, cfg, rules, pre, func(size int) ([]addedToken, error) { return rules.added(cfg, size) })
}

// ofRanks makes a tokenizer of raw tokens and their ids, which are in the order of their ranks, and of the special
// tokens that go with ids below size.
func ofRanks(ranks map[string]int32, cfg config, rules tiktokenRules, pre preTokenizer, specials func(size int) ([]addedToken, error)) (*Tokenizer, error) {
	spell, _ := byteSpelling()
	vocab := make(map[string]int32, len(ranks))
	for token, id := range ranks {
		var text strings.Builder
		for i := range len(token) {
			text.WriteRune(spell[token[i]])
		}
		vocab[text.String()] = id
	}
	added, err := specials(vocabSize(vocab))
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{kind: kindByteLevel, normalize: rules.normalize, pre: pre}
	if err := checkSearched(added); err != nil {
		return nil, err
	}
	if err := t.setTokens(vocab, added); err != nil {
		return nil, err
	}
	m, err := tiktokenModel(ranks)
	if err != nil {
		return nil, err
	}
	t.model, t.dec = m, newByteDecoder(t.tokens, rawTokens(t.tokens), vocabSize(vocab), added)
	t.added = newAddedTokens(added, t.normalize)
	t.marked = t.added
	t.finish()
	return t, rules.around(t, cfg)
}

// tiktokenModel merges the adjacent two whose concatenation has the lowest rank.
func tiktokenModel(ranks map[string]int32) (*byteLevel, error) {
	m := &byteLevel{whole: ranks, unk: -1}
	for b := range m.bytes {
		id, ok := ranks[string([]byte{byte(b)})]
		if !ok {
			return nil, fmt.Errorf("not a tiktoken vocabulary: no token for the byte 0x%02X; copy the file again", b)
		}
		m.bytes[b] = id
	}
	count := 0
	tiktokenPairs(ranks, func(_, _, _ int32) { count++ })
	m.pairs = newPairTable(count)
	tiktokenPairs(ranks, func(left, right, whole int32) { m.pairs.put(left, right, uint32(whole), whole) })
	return m, m.pairs.check()
}

// tiktokenPairs visits every way to cut a token into two.
func tiktokenPairs(ranks map[string]int32, visit func(left, right, whole int32)) {
	for token, id := range ranks {
		for at := 1; at < len(token); at++ {
			left, ok := ranks[token[:at]]
			if !ok {
				continue
			}
			if right, ok := ranks[token[at:]]; ok {
				visit(left, right, id)
			}
		}
	}
}
