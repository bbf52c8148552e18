package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// jsonScanner walks JSON that encoding/json has validated already. Vocabularies and merges make up nearly
// all of a tokenizer.json, and reading half a million strings by reflection takes most of a second.
type jsonScanner struct {
	data []byte
	at   int
}

// next skips white space, commas and colons and returns the byte that follows, 0 at the end.
func (s *jsonScanner) next() byte {
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\n', '\r', ',', ':':
		default:
			return c
		}
	}
	return 0
}

var errNotString = errors.New("a string is expected")

// text reads a string; without escapes it is a view of the data.
func (s *jsonScanner) text() ([]byte, error) {
	if s.next() != '"' {
		return nil, errNotString
	}
	start := s.at
	escaped := false
	for s.at++; s.at < len(s.data) && s.data[s.at] != '"'; s.at++ {
		if s.data[s.at] == '\\' {
			escaped = true
			s.at++
		}
	}
	if s.at >= len(s.data) {
		return nil, errNotString
	}
	s.at++
	if !escaped {
		return s.data[start+1 : s.at-1], nil
	}
	var text string
	err := json.Unmarshal(s.data[start:s.at], &text)
	return []byte(text), err
}

// number reads a non-negative integer up to maxID.
func (s *jsonScanner) number() (int32, error) {
	c := s.next()
	start, n := s.at, 0
	for ; c >= '0' && c <= '9' && n <= maxID; c = s.data[s.at] {
		n = 10*n + int(c-'0')
		if s.at++; s.at == len(s.data) {
			break
		}
	}
	if s.at == start || n > maxID || (c == '.' || c == 'e' || c == 'E') {
		return 0, fmt.Errorf("an integer from 0 to %d is expected", maxID)
	}
	return int32(n), nil
}

// readVocab reads {"token": id, ...}.
func readVocab(raw json.RawMessage) (map[string]int32, error) {
	s := jsonScanner{data: raw}
	if s.next() != '{' {
		return nil, errors.New("model BPE: vocab is not an object: get the file again")
	}
	s.at++
	vocab := make(map[string]int32, len(raw)/24)
	for s.next() != '}' {
		token, err := s.text()
		if err != nil {
			return nil, fmt.Errorf("model BPE: vocab: %w; get the file again", err)
		}
		if len(token) > maxToken {
			return nil, fmt.Errorf("model BPE: vocab: a token of %d bytes (at most %d): get the file again", len(token), maxToken)
		}
		if len(vocab) >= maxTokens {
			return nil, fmt.Errorf("model BPE: vocab: %w: more than %d tokens", ErrUnsupported, maxTokens)
		}
		name := string(token)
		if vocab[name], err = s.number(); err != nil {
			return nil, fmt.Errorf("model BPE: vocab: token %q: %w; get the file again", name, err)
		}
	}
	return vocab, nil
}

// readMerges reads ["a b", ...] or [["a", "b"], ...]; a merge's rank is its place in the list.
// With visit, each merge is shown to it.
func readMerges(raw json.RawMessage, vocab map[string]int32, visit func(left, right string)) (*pairTable, error) {
	s := jsonScanner{data: raw}
	if s.next() != '[' {
		return nil, errors.New("model BPE: merges is not a list: get the file again")
	}
	s.at++
	list := mergeList{vocab: vocab, visit: visit, pairs: newPairTable(min(maxTokens, len(raw)/8))}
	for s.next() != ']' {
		if err := list.read(&s); err != nil {
			return nil, fmt.Errorf("model BPE: merge %d: %w; get the file again", list.rank, err)
		}
	}
	return list.pairs, list.pairs.check()
}

// mergeList keeps to byte slices: a string for each token of half a million merges would double the time.
type mergeList struct {
	vocab       map[string]int32
	visit       func(left, right string)
	pairs       *pairTable
	rank        uint32
	left, whole []byte
}

func (l *mergeList) read(s *jsonScanner) error {
	if s.next() == '[' {
		return l.readPair(s)
	}
	line, err := s.text()
	if err != nil {
		return err
	}
	if bytes.HasPrefix(line, []byte("#version")) { // the head line of merges.txt, which old converters left in
		return nil
	}
	left, right, ok := bytes.Cut(line, []byte(" "))
	if !ok || bytes.IndexByte(right, ' ') >= 0 {
		return fmt.Errorf("%q is not two tokens with one space between", line)
	}
	return l.add(left, right)
}

func (l *mergeList) readPair(s *jsonScanner) error {
	s.at++
	left, err := s.text()
	if err != nil {
		return err
	}
	l.left = append(l.left[:0], left...)
	right, err := s.text()
	if err != nil {
		return err
	}
	if s.next() != ']' {
		return errors.New("a merge is a list of two tokens")
	}
	s.at++
	return l.add(l.left, right)
}

func (l *mergeList) add(left, right []byte) error {
	l.whole = append(append(l.whole[:0], left...), right...)
	a, okA := l.vocab[string(left)]
	b, okB := l.vocab[string(right)]
	whole, ok := l.vocab[string(l.whole)]
	if !okA || !okB || !ok {
		return fmt.Errorf("%q, %q or the two together are not in the vocabulary", left, right)
	}
	if l.rank >= maxTokens {
		return fmt.Errorf("%w: more than %d merges", ErrUnsupported, maxTokens)
	}
	l.pairs.put(a, b, l.rank, whole)
	if l.visit != nil {
		l.visit(string(left), string(right))
	}
	l.rank++
	return nil
}
