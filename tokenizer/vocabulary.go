package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// PieceKind is what a token of a vocabulary is for; the numbers are SentencePiece's.
type PieceKind int32

// Kinds of tokens.
const (
	Normal      PieceKind = pieceNormal
	Unknown     PieceKind = pieceUnknown
	Control     PieceKind = pieceControl // never written by a user
	UserDefined PieceKind = pieceUserDefined
	Unused      PieceKind = pieceUnused // an id without a token
	Byte        PieceKind = pieceByte
)

// Piece is one token.
type Piece struct {
	Text  string
	Kind  PieceKind
	Score float32 // SentencePiece's; the highest merges first
}

// addedScore is what llama.cpp's converter gives to tokens added to SentencePiece's.
const addedScore = -1000

// Vocabulary is a tokenizer as its files have it, for the formats of other programs.
type Vocabulary struct {
	Pieces []Piece  // by id
	Merges []string // "left right", the first merges first; nil of a SentencePiece model
	// NoSpacePrefix: no space is put before a text. CollapseSpaces: runs of them
	// become one. Both are SentencePiece's.
	NoSpacePrefix  bool
	CollapseSpaces bool
	// Opening is what is put before every text, as it is written; "" for nothing but,
	// perhaps, BOS.
	Opening string
	AddsBOS bool
	AddsEOS bool
	// Named: tokenizer_config.json says which token is EOS.
	Named    bool
	BOS, EOS int // -1: none
	Unk, Pad int // where tokenizer_config.json names them; else -1
}

// ReadVocabulary reads the vocabulary of a checkpoint directory: SentencePiece's
// tokenizer.model where there is one, else the byte-level BPE of a tokenizer.json, or
// of vocab.json with merges.txt. Other tokenizers are refused with ErrUnsupported, a
// directory without any with ErrNone.
func ReadVocabulary(dir string) (*Vocabulary, error) {
	t, err := Load(dir)
	if err != nil {
		return nil, err
	}
	cfg, err := loadConfig(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, modelName)
	data, err := readFile(path)
	var v *Vocabulary
	switch {
	case err == nil && !isTiktoken(data):
		v, err = sentencePieces(data, cfg)
	case err == nil || errors.Is(err, fs.ErrNotExist):
		v, path, err = byteLevelVocabulary(dir, cfg)
	}
	if err != nil {
		return nil, &FormatError{path, err}
	}
	v.specials(t, cfg)
	return v, nil
}

// specials are the tokens with a part to play, as Load decides them.
func (v *Vocabulary) specials(t *Tokenizer, cfg config) {
	v.BOS, v.EOS = t.bos, t.eos
	v.AddsBOS, v.AddsEOS = t.AddsBOS(), t.eos >= 0 && slices.Contains(t.post.after, t.eos)
	v.Named = cfg.EOS.set
	v.Unk, v.Pad = t.name(cfg.Unk, -1), t.name(cfg.Pad, -1)
}

// sentencePieces reads a tokenizer.model with what tokenizer_config.json adds to it.
func sentencePieces(data []byte, cfg config) (*Vocabulary, error) {
	f, err := readSentencePiece(data)
	if err == nil {
		err = f.refuse()
	}
	if err != nil {
		return nil, err
	}
	t, err := parseSentencePiece(data, cfg)
	if err != nil {
		return nil, err
	}
	v := &Vocabulary{NoSpacePrefix: !f.dummyPrefix, CollapseSpaces: f.removeWhitespace}
	for _, p := range f.pieces {
		v.Pieces = append(v.Pieces, Piece{p.text, PieceKind(p.kind), p.score})
	}
	for id := len(v.Pieces); id < len(t.tokens); id++ {
		v.Pieces = append(v.Pieces, Piece{"", Unused, 0})
	}
	if cfg.Class == chatGLM { // its added_tokens_decoder repeats them
		for id := len(f.pieces); id < len(t.tokens); id++ {
			v.Pieces[id] = Piece{t.tokens[id], Control, 0}
		}
		v.Opening = gMask + sop
		return v, nil
	}
	for _, tok := range cfg.marks() {
		p := Piece{tok.Content, UserDefined, addedScore}
		if tok.ID < 0 || tok.ID >= len(v.Pieces) || tok.Content == "" {
			continue
		}
		if tok.Special || looksSpecial(tok.Content) && cfg.Added != nil {
			p.Kind = Control
		} else {
			p.Text = strings.ReplaceAll(p.Text, space, " ")
		}
		v.Pieces[tok.ID] = p
	}
	return v, nil
}

// marks are the tokens of added_tokens_decoder, or of added_tokens.json.
func (c *config) marks() (out []addedToken) {
	for id, tok := range c.Added {
		if _, err := fmt.Sscanf(id, "%d", &tok.ID); err == nil {
			out = append(out, tok)
		}
	}
	for text, id := range c.listed {
		out = append(out, addedToken{ID: id, Content: text})
	}
	return out
}

// looksSpecial: llama.cpp's converter takes tokens that are spelled so for control
// tokens, whatever the files say, because some published ones forget to.
func looksSpecial(text string) bool {
	switch text {
	case "<pad>", "<mask>", "<2mass>", "[@BOS@]":
		return true
	}
	for _, around := range [][2]string{{"<|", "|>"}, {"<｜", "｜>"}, {"<unused", ">"}} {
		if strings.HasPrefix(text, around[0]) && strings.HasSuffix(text, around[1]) {
			return true
		}
	}
	return false
}

// byteLevelVocabulary reads tokenizer.json, or vocab.json and merges.txt.
func byteLevelVocabulary(dir string, cfg config) (*Vocabulary, string, error) {
	path := filepath.Join(dir, jsonName)
	data, err := readFile(path)
	f := &jsonFile{}
	switch {
	case err == nil:
		err = readJSON(data, f)
	case errors.Is(err, fs.ErrNotExist):
		path = filepath.Join(dir, vocabName)
		f, err = pairOf(dir, &cfg)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = unsupported("tokenizer", "in tiktoken's form", jsonName, "SentencePiece's "+modelName)
	}
	if err != nil {
		return nil, path, err
	}
	v, err := f.vocabulary(cfg)
	return v, path, err
}

// pairOf is the tokenizer.json that vocab.json and merges.txt stand for.
func pairOf(dir string, cfg *config) (*jsonFile, error) {
	vocab, err := readFile(filepath.Join(dir, vocabName))
	if err != nil {
		return nil, err
	}
	merges, err := readFile(filepath.Join(dir, mergesName))
	if err != nil {
		return nil, err
	}
	f, err := pairFile(cfg)
	if err == nil {
		f.Model = jsonModel{Type: "BPE", Vocab: json.RawMessage(vocab), Merges: mergeLines(string(merges))}
	}
	return f, err
}

// vocabulary lists tokens and merges of a byte-level BPE.
func (f *jsonFile) vocabulary(cfg config) (*Vocabulary, error) {
	t, err := f.build(cfg)
	if err != nil {
		return nil, err
	}
	if t.kind != kindByteLevel {
		return nil, fmt.Errorf("%w: it is SentencePiece's in the form of a %s: put the %s of the same model beside it", ErrUnsupported, jsonName, modelName)
	}
	vocab, err := readVocab(f.Model.Vocab)
	if err != nil {
		return nil, err
	}
	v := &Vocabulary{Pieces: make([]Piece, len(t.tokens)), Merges: []string{}}
	for id, text := range t.tokens {
		v.Pieces[id] = Piece{text, Normal, 0}
		if !t.known[id] {
			v.Pieces[id] = Piece{"", Unused, 0}
		}
	}
	added, err := cfg.extend(f.AddedTokens, vocabSize(vocab), func(text string) (int, bool) { id, ok := vocab[text]; return int(id), ok })
	if err != nil {
		return nil, err
	}
	for _, tok := range added {
		p := &v.Pieces[tok.ID]
		if p.Kind = UserDefined; tok.Special || looksSpecial(tok.Content) {
			p.Kind = Control
		} else {
			p.Text = strings.ReplaceAll(p.Text, space, " ")
		}
	}
	_, err = readMerges(f.Model.Merges, vocab, func(left, right string) {
		v.Merges = append(v.Merges, mergeText(left)+" "+mergeText(right))
	})
	return v, err
}

// mergeText spells a space as the byte alphabet does, so that it does not part a merge.
func mergeText(token string) string { return strings.ReplaceAll(token, " ", "\u0120") }
