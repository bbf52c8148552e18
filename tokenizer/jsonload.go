package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

type jsonFile struct {
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         jsonModel       `json:"model"`
}

type jsonModel struct {
	Type         string          `json:"type"`
	Dropout      *float64        `json:"dropout"`
	Unk          *string         `json:"unk_token"`
	Prefix       *string         `json:"continuing_subword_prefix"`
	Suffix       *string         `json:"end_of_word_suffix"`
	FuseUnk      bool            `json:"fuse_unk"`
	ByteFallback bool            `json:"byte_fallback"`
	IgnoreMerges bool            `json:"ignore_merges"`
	Vocab        json.RawMessage `json:"vocab"`
	Merges       json.RawMessage `json:"merges"`
}

// parseJSON reads a tokenizer.json.
func parseJSON(data []byte, cfg config) (*Tokenizer, error) {
	var f jsonFile
	if err := readJSON(data, &f); err != nil {
		return nil, fmt.Errorf("not a tokenizer.json: %w; get the file again", err)
	}
	return f.build(cfg)
}

// build makes the pipeline that the file describes.
func (f *jsonFile) build(cfg config) (*Tokenizer, error) {
	if err := f.Model.refuse(); err != nil {
		return nil, err
	}
	t := &Tokenizer{}
	bytes, err := f.stages(t)
	if err != nil {
		return nil, err
	}
	vocab, err := readVocab(f.Model.Vocab)
	if err != nil {
		return nil, err
	}
	added, err := cfg.extend(f.AddedTokens, vocabSize(vocab), func(text string) (int, bool) { id, ok := vocab[text]; return int(id), ok })
	if err != nil {
		return nil, err
	}
	if err := checkSearched(added); err != nil {
		return nil, err
	}
	if err := t.setTokens(vocab, added); err != nil {
		return nil, err
	}
	if bytes {
		err = f.byteModel(t, vocab, added)
	} else {
		err = f.characterModel(t, vocab, added)
	}
	if err != nil {
		return nil, err
	}
	t.added = newAddedTokens(added, t.normalize)
	t.marked = t.added
	t.finish()
	return t, t.jsonSpecials(cfg, added)
}

// byteModel sets model and decoder where the pre-tokenizer spells bytes.
func (f *jsonFile) byteModel(t *Tokenizer, vocab map[string]int32, added []addedToken) error {
	kind, err := soleDecoder(f.Decoder)
	if err == nil && kind != "ByteLevel" && kind != "" {
		err = unsupported("decoder", fmt.Sprintf("%q after pre_tokenizer ByteLevel", kind), "ByteLevel")
	}
	if err != nil {
		return err
	}
	t.kind = kindByteLevel
	raw := rawTokens(t.tokens)
	model, err := f.Model.byteLevel(vocab, raw)
	if err != nil {
		return err
	}
	t.model, t.dec = model, newByteDecoder(t.tokens, raw, vocabSize(vocab), added)
	if kind == "" {
		t.dec = newSpaced(t.tokens, added)
	}
	return nil
}

// characterModel sets model and decoder where it does not.
func (f *jsonFile) characterModel(t *Tokenizer, vocab map[string]int32, added []addedToken) error {
	t.kind = kindCharacter
	model, err := newCharBPE(&f.Model, vocab)
	if err != nil {
		return err
	}
	if kind, err := componentType("decoder", f.Decoder); kind == "" && err == nil {
		t.model, t.dec = model, newSpaced(t.tokens, added)
		return nil
	}
	dec, err := newChain(f.Decoder, t.tokens, added)
	if err != nil {
		return err
	}
	t.model, t.dec = model, dec
	return nil
}

// soleDecoder is the type of a decoder, or of the only one in a Sequence.
func soleDecoder(raw json.RawMessage) (string, error) {
	kind, err := componentType("decoder", raw)
	if err != nil || kind != "Sequence" {
		return kind, err
	}
	var d decoderJSON
	if err := readJSON(raw, &d); err != nil {
		return "", fmt.Errorf("decoder Sequence: %w; correct it or get the file again", err)
	}
	if len(d.Decoders) != 1 {
		return kind, nil
	}
	return componentType("decoder", d.Decoders[0])
}

// refuse names what the model asks for and this package does not do.
func (m *jsonModel) refuse() error {
	switch {
	case m.Type != "BPE" && (m.Type != "" || m.Merges == nil):
		return unsupported("model", fmt.Sprintf("%q", m.Type), "BPE")
	case m.Dropout != nil && *m.Dropout != 0:
		return unsupported("model BPE", "with dropout")
	case m.Prefix != nil && *m.Prefix != "":
		return unsupported("model BPE", "with continuing_subword_prefix")
	case m.Suffix != nil && *m.Suffix != "":
		return unsupported("model BPE", "with end_of_word_suffix")
	}
	return nil
}

// stages builds everything but model and decoder, and reports whether the pre-tokenizer spells bytes.
func (f *jsonFile) stages(t *Tokenizer) (bytes bool, err error) {
	if t.normalize, err = newNormalizer(f.Normalizer, &stages{}); err != nil {
		return false, err
	}
	if err = checkGrowth(t.normalize); err != nil {
		return false, err
	}
	if t.pre, bytes, err = newPreTokenizer(f.PreTokenizer); err != nil {
		return false, err
	}
	t.headMatters = marksHead(t.pre)
	t.post, err = newTemplate(f.PostProcessor, &stages{})
	return bytes, err
}

// componentType reads the type of a stage; "" for a stage that is absent or null.
func componentType(stage string, raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	var c struct {
		Type string `json:"type"`
	}
	if err := readJSON(raw, &c); err != nil {
		return "", fmt.Errorf("%s: %w; correct it or get the file again", stage, err)
	}
	if c.Type == "" {
		return "", fmt.Errorf("%s: no type; correct it or get the file again", stage)
	}
	return c.Type, nil
}

// vocabSize is one more than the largest id.
func vocabSize(vocab map[string]int32) int {
	size := 0
	for _, id := range vocab {
		size = max(size, int(id)+1)
	}
	return size
}

// setTokens fills the tables indexed by id.
func (t *Tokenizer) setTokens(vocab map[string]int32, added []addedToken) error {
	size := vocabSize(vocab)
	if most := sparse*len(vocab) + maxGap; size > most {
		return fmt.Errorf("model BPE: vocab has an id above %d, and %d tokens: get the file again", most, len(vocab))
	}
	for _, tok := range added {
		if err := checkID(tok, len(vocab)+len(added)); err != nil {
			return err
		}
		size = max(size, tok.ID+1)
	}
	t.tokens, t.known = make([]string, size), make([]bool, size)
	for token, id := range vocab {
		if t.known[id] {
			return fmt.Errorf("tokens %q and %q share id %d: get the file again", t.tokens[id], token, id)
		}
		t.tokens[id], t.known[id] = token, true
	}
	for _, tok := range added {
		if err := t.setAdded(vocab, tok); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tokenizer) setAdded(vocab map[string]int32, tok addedToken) error {
	if tok.Content == "" {
		return errors.New("added token without content: get the file again")
	}
	if id, ok := vocab[tok.Content]; ok && int(id) != tok.ID {
		return fmt.Errorf("added token %q has id %d, but %d in the vocabulary: correct added_tokens or get the file again", tok.Content, tok.ID, id)
	}
	if t.known[tok.ID] && t.tokens[tok.ID] != tok.Content {
		return fmt.Errorf("added token %q has the id %d of %q: correct added_tokens or get the file again", tok.Content, tok.ID, t.tokens[tok.ID])
	}
	t.tokens[tok.ID], t.known[tok.ID] = tok.Content, true
	return nil
}

// byteLevel builds the model from a vocabulary that spells bytes.
func (m *jsonModel) byteLevel(vocab map[string]int32, raw []string) (*byteLevel, error) {
	b := &byteLevel{fuseUnk: m.FuseUnk}
	var err error
	if b.unk, err = m.unknown(vocab); err != nil {
		return nil, err
	}
	spell, _ := byteSpelling()
	for i := range b.bytes {
		id, ok := vocab[string(spell[i])]
		if !ok {
			id = -1
		}
		b.bytes[i] = id
	}
	if m.IgnoreMerges {
		b.whole = wholePieces(raw, vocab)
	}
	if m.ByteFallback && slices.Contains(b.bytes[:], -1) {
		return nil, unsupported("model BPE", "with byte_fallback and ByteLevel, but not all 256 bytes in the vocabulary")
	}
	b.pairs, err = readMerges(m.Merges, vocab, nil)
	return b, err
}

// unknown is the id of unk_token, -1 without one.
func (m *jsonModel) unknown(vocab map[string]int32) (int32, error) {
	if m.Unk == nil {
		return -1, nil
	}
	id, ok := vocab[*m.Unk]
	if !ok {
		return -1, fmt.Errorf("model BPE: unk_token %q is not in the vocabulary: get the file again", *m.Unk)
	}
	return id, nil
}

// rawTokens returns the bytes that tokens spell, "" for those outside the alphabet.
func rawTokens(tokens []string) []string {
	reader := newByteReader()
	raw := make([]string, len(tokens))
	var buf []byte
	for id, token := range tokens {
		spelled, ok := reader.raw(buf[:0], token)
		if buf = spelled; ok {
			raw[id] = string(spelled)
		}
	}
	return raw
}

// wholePieces indexes the vocabulary by raw bytes. Added tokens outside the vocabulary are none of the model's.
func wholePieces(raw []string, vocab map[string]int32) map[string]int32 {
	own := make([]bool, len(raw))
	for _, id := range vocab {
		own[id] = true
	}
	whole := make(map[string]int32, len(vocab))
	for id, text := range raw {
		if own[id] && text != "" {
			whole[text] = int32(id)
		}
	}
	return whole
}
