package data

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/internal/pyjson"
)

// ReadTokens reads sequences of token ids, [[1, 2, …], …], exactly as given.
// Every id must lie in a vocabulary of size vocab; 0 means any that fits an
// int32. There must be a sequence, and none may be empty. Errors name the file,
// the sequence and the index.
func ReadTokens(path string, vocab int) ([][]int32, error) {
	f, _, err := mmap.OpenNamed(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseTokens(path, f, vocab)
}

// WriteTokens writes sequences as ReadTokens reads them, one a line. The same
// sequences give the same bytes.
func WriteTokens(w io.Writer, seqs [][]int32) error {
	b := bufio.NewWriter(w)
	for i, seq := range seqs {
		before := ",\n"
		if i == 0 {
			before = "["
		}
		_, _ = b.WriteString(before + "[")
		for j, id := range seq {
			if j > 0 {
				_ = b.WriteByte(',')
			}
			_, _ = b.WriteString(strconv.Itoa(int(id)))
		}
		_ = b.WriteByte(']')
	}
	_, _ = b.WriteString("]\n")
	return b.Flush() // which returns the first error of all
}

// HashTokens is the SHA-256, in hexadecimal, of what WriteTokens writes.
func HashTokens(seqs [][]int32) string {
	h := sha256.New()
	_ = WriteTokens(h, seqs) // a hash takes everything
	return hex.EncodeToString(h.Sum(nil))
}

func parseTokens(path string, r io.Reader, vocab int) ([][]int32, error) {
	text := bufio.NewReader(r)
	p := &tokenParser{path: path, vocab: vocab, d: json.NewDecoder(text)}
	p.d.UseNumber()
	start, _ := text.Peek(3) // an error comes again when it is read
	if err := pyjson.CheckText(start); err != nil {
		return nil, p.fail("", err.Error(), "")
	}
	if err := p.open("file"); err != nil {
		return nil, err
	}
	for p.d.More() {
		ids, err := p.sequence(len(p.seqs))
		if err != nil {
			return nil, err
		}
		p.seqs = append(p.seqs, ids)
	}
	if _, err := p.d.Token(); err != nil {
		return nil, p.syntax(err)
	}
	if _, err := p.d.Token(); !errors.Is(err, io.EOF) {
		return nil, p.fail("", "has more after the list of sequences", "keep one list, [[ids…], …]")
	}
	if len(p.seqs) == 0 {
		return nil, p.fail("", "holds no sequence", "")
	}
	return p.seqs, nil
}

type tokenParser struct {
	path  string
	vocab int
	d     *json.Decoder
	seqs  [][]int32
}

const wantTokens = "want a list of lists of token ids, [[1, 2, 3], …]"

func (p *tokenParser) fail(where, what, remedy string) error {
	return &Error{Path: p.path, Where: where, What: what, Remedy: remedy}
}

func (p *tokenParser) syntax(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return p.fail(fmt.Sprintf("byte %d", p.d.InputOffset()), "not JSON: "+err.Error(), wantTokens)
}

// open reads the bracket that begins a list.
func (p *tokenParser) open(what string) error {
	t, err := p.d.Token()
	if err != nil {
		return p.syntax(err)
	}
	if t != json.Delim('[') {
		where := what
		if what == "file" {
			where = ""
		}
		return p.fail(where, "not a list", wantTokens)
	}
	return nil
}

func (p *tokenParser) sequence(n int) ([]int32, error) {
	name := fmt.Sprintf("sequence %d", n)
	if err := p.open(name); err != nil {
		return nil, err
	}
	var ids []int32
	for p.d.More() {
		id, err := p.id(n, len(ids))
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if _, err := p.d.Token(); err != nil {
		return nil, p.syntax(err)
	}
	if len(ids) == 0 {
		return nil, p.fail(name, "is empty", "give it at least one token id, or leave it out")
	}
	return ids, nil
}

func (p *tokenParser) id(seq, index int) (int32, error) {
	t, err := p.d.Token()
	if err != nil {
		return 0, p.syntax(err)
	}
	where := fmt.Sprintf("sequence %d, index %d", seq, index)
	number, ok := t.(json.Number)
	if !ok {
		return 0, p.fail(where, "not a token id", wantTokens)
	}
	id, err := strconv.ParseInt(number.String(), 10, 32)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, p.fail(where, fmt.Sprintf("%s is not an integer", number), wantTokens)
	}
	if err != nil || id < 0 || p.vocab > 0 && id >= int64(p.vocab) {
		bound := "of non-negative 32-bit integers"
		if p.vocab > 0 {
			bound = fmt.Sprintf("of %d", p.vocab)
		}
		return 0, p.fail(where, fmt.Sprintf("token id %s is outside the vocabulary %s", number, bound), "use ids made by this model's tokenizer")
	}
	return int32(id), nil
}
