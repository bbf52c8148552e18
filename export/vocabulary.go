package export

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/gguf"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/tokenizer"
)

// What llama.cpp's converter tells pre-tokenizers apart by: SHA-256 of the ids that
// a text gets, as Python prints them. The table has those that llama.cpp knows.
// Source: conversion/base.py of github.com/ggml-org/llama.cpp.
var (
	//go:embed pretokenizers.txt
	preTokenizers string
	//go:embed pretokenizer_probe.txt
	probe string
)

// padScore is what the converter gives to ids without a token.
const padScore = -10000

// vocabulary are the keys of the tokenizer.
func (f *File) vocabulary(c *checkpoint.Checkpoint, s *model.Spec, opt Options) ([]gguf.Key, error) {
	v, err := tokenizer.ReadVocabulary(c.Dir())
	if err != nil {
		return nil, err
	}
	w := words{v: v, file: f}
	if v.Merges == nil {
		w.add("model", "llama")
		w.add("pre", "default")
	} else {
		pre, err := preTokenizer(c.Dir())
		if err != nil {
			return nil, err
		}
		w.add("model", "gpt2")
		w.add("pre", pre)
	}
	w.tokens(s.Vocab)
	if v.Opening != "" {
		w.note("the tokenizer puts %s before every text, and llama.cpp does not: begin each with it", v.Opening)
	}
	w.specials(s, opt.Stop)
	if opt.Template != "" {
		w.keys = append(w.keys, gguf.Key{Name: "tokenizer.chat_template", Value: opt.Template})
	}
	return w.keys, nil
}

// words makes the keys of a tokenizer.
type words struct {
	v    *tokenizer.Vocabulary
	file *File
	keys []gguf.Key
	size int // of the vocabulary
}

func (w *words) add(name string, value any) {
	w.keys = append(w.keys, gguf.Key{Name: "tokenizer.ggml." + name, Value: value})
}

func (w *words) note(format string, args ...any) {
	w.file.Notes = append(w.file.Notes, fmt.Sprintf(format, args...))
}

// tokens lists as many tokens as the model embeds.
func (w *words) tokens(size int) {
	w.size = size
	pieces := w.v.Pieces
	if more := len(pieces) - size; more > 0 {
		w.note("the tokenizer has %d tokens, and the model embeds %d: those with larger ids are left out", len(pieces), size)
		pieces = pieces[:size]
	}
	texts, kinds, scores := make([]string, size), make([]int32, size), make([]float32, size)
	for i := range size {
		p := tokenizer.Piece{Kind: tokenizer.Unused}
		if i < len(pieces) {
			p = pieces[i]
		}
		if p.Kind == tokenizer.Unused && p.Text == "" {
			p.Text, p.Score = fmt.Sprintf("[PAD%d]", i), padScore
		}
		texts[i], kinds[i], scores[i] = p.Text, int32(p.Kind), p.Score
	}
	w.add("tokens", texts)
	if w.v.Merges == nil {
		w.add("scores", scores)
	}
	w.add("token_type", kinds)
	if len(w.v.Merges) > 0 {
		w.add("merges", w.v.Merges)
	}
	if w.v.CollapseSpaces {
		w.note("the tokenizer makes one space of several, and llama.cpp keeps them: texts with such runs get other tokens there")
	}
}

// specials names the tokens with a part to play, and what is put around a text.
func (w *words) specials(s *model.Spec, stop []int) {
	id := func(name string, id int) bool {
		if id < 0 || id >= w.size {
			return false
		}
		w.add(name+"_token_id", uint32(id))
		return true
	}
	bos, eos := w.v.BOS, w.v.EOS
	if !w.v.Named && len(s.BOS) > 0 {
		bos = s.BOS[0]
	}
	if !w.v.Named && len(s.EOS) > 0 {
		eos = s.EOS[0]
	}
	if eos < 0 && len(stop) > 0 {
		eos = stop[0]
	}
	id("bos", bos)
	id("eos", eos)
	id("unknown", w.v.Unk)
	id("padding", w.v.Pad)
	w.moreEnds(slices.Concat(s.EOS, stop), eos, id)
	sentencePiece := w.v.Merges == nil
	if !sentencePiece || !w.v.AddsBOS {
		w.add("add_bos_token", w.v.AddsBOS)
	}
	if w.v.AddsEOS {
		w.add("add_eos_token", true)
	}
	if w.v.NoSpacePrefix {
		w.add("add_space_prefix", false)
	}
}

// moreEnds names other tokens that end a text. llama.cpp has two keys for them, and
// takes some for ends by how they are spelled.
func (w *words) moreEnds(ends []int, eos int, id func(string, int) bool) {
	var left []string
	names := []string{"eot", "eom"}
	for i, end := range ends {
		if end == eos || end < 0 || end >= min(w.size, len(w.v.Pieces)) || slices.Contains(ends[:i], end) || isEnd(w.v.Pieces[end].Text) {
			continue
		}
		if len(names) > 0 {
			id(names[0], end)
			names = names[1:]
		} else {
			left = append(left, w.v.Pieces[end].Text)
		}
	}
	if len(left) > 0 {
		w.note("a GGUF file names three tokens that end a text: llama.cpp will not stop at %s", strings.Join(left, ", "))
	}
}

// isEnd: what llama.cpp takes for the end of a text by its spelling.
func isEnd(token string) bool {
	return slices.Contains([]string{"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "_<EOT>", "[EOT]", "<|eom_id|>", "<|return|>", "<|call|>"}, token)
}

// preTokenizer is llama.cpp's name for how a byte-level BPE cuts texts into words.
func preTokenizer(dir string) (string, error) {
	t, err := tokenizer.Load(dir)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(pythonList(t.Encode(probe, true))))
	hash := hex.EncodeToString(sum[:])
	var known []string
	for line := range strings.Lines(preTokenizers) {
		name, registered, _ := strings.Cut(strings.TrimSpace(line), " ")
		if registered == hash {
			return name, nil
		}
		if !slices.Contains(known, name) {
			known = append(known, name)
		}
	}
	return "", fmt.Errorf("%s: %w by llama.cpp: how its tokenizer cuts texts into words (hash %s) is none of those it has registered: %s", dir, tokenizer.ErrUnsupported, hash, strings.Join(known, ", "))
}

// pythonList writes ids as Python prints a list.
func pythonList(ids []int) string {
	return "[" + strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ", "), "[]") + "]"
}
