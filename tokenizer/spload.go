package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// space is U+2581, which stands for a space inside SentencePiece vocabularies.
const space = "\u2581"

// parseSentencePiece reads a tokenizer.model of BPE type.
func parseSentencePiece(data []byte, cfg config) (*Tokenizer, error) {
	f, err := readSentencePiece(data)
	if err != nil {
		return nil, err
	}
	if err := f.refuse(); err != nil {
		return nil, err
	}
	m, err := newSPModel(f)
	if err != nil {
		return nil, err
	}
	n := spNormalizer{dummyPrefix: f.dummyPrefix, trim: f.removeWhitespace, escape: f.escapeWhitespace, user: m.user}
	t := &Tokenizer{
		kind:      kindSentencePiece,
		normalize: &n,
		pre:       newSPSplitter(f, m.user),
		model:     m,
	}
	for _, p := range f.pieces {
		t.tokens = append(t.tokens, p.text)
		t.known = append(t.known, true)
	}
	if cfg.Legacy != nil && !*cfg.Legacy {
		inner := n
		inner.dummyPrefix = false
		t.inner = &inner
	}
	added, err := f.extend(t, cfg)
	if err != nil {
		return nil, err
	}
	t.dec = newSPDecoder(f, t.tokens, added)
	t.finish()
	return t, t.specials(f, cfg)
}

// extend adds the tokens of the configuration to t, and returns them.
func (f *spFile) extend(t *Tokenizer, cfg config) ([]addedToken, error) {
	if cfg.Class == chatGLM {
		return t.extendGLM(cfg.roles), nil // its added_tokens_decoder repeats them
	}
	ids := make(map[string]int, len(f.pieces))
	for id, p := range f.pieces {
		ids[p.text] = id
	}
	added, err := cfg.extend(nil, len(f.pieces), func(text string) (int, bool) { id, ok := ids[text]; return id, ok })
	if err != nil {
		return nil, err
	}
	next := len(f.pieces)
	for i, tok := range added {
		if cfg.Added != nil && tok.ID > next {
			return nil, fmt.Errorf("%s: added_tokens_decoder: id %d after a vocabulary of %d: ids must follow one another", configName, tok.ID, next)
		}
		next = max(next, tok.ID+1)
		if tok.ID < len(f.pieces) && f.pieces[tok.ID].text != tok.Content {
			return nil, fmt.Errorf("%s: added token %d is %q, but %q in %s: copy both files from the same checkpoint", configName, tok.ID, tok.Content, f.pieces[tok.ID].text, modelName)
		}
		added[i].Normalized = false // there is no normalised text to look in
	}
	if err := checkSearched(added); err != nil {
		return nil, err
	}
	if err := t.extend(added); err != nil {
		return nil, err
	}
	t.added = newAddedTokens(added, nil)
	t.marked = newAddedTokens(f.markers(added), nil)
	return added, nil
}

// markers are the added tokens and the control symbols.
func (f *spFile) markers(added []addedToken) []addedToken {
	all := slices.Clone(added)
	for id, p := range f.pieces {
		if p.kind == pieceControl && !slices.ContainsFunc(added, func(tok addedToken) bool { return tok.ID == id }) {
			all = append(all, addedToken{ID: id, Content: p.text, Special: true})
		}
	}
	return all
}

// refuse names what the model asks for and this package does not do.
func (f *spFile) refuse() error {
	switch {
	case f.modelType != 2:
		name := "number " + strconv.FormatUint(f.modelType, 10)
		if f.modelType >= 1 && f.modelType <= 4 {
			name = [...]string{"unigram", "bpe", "word", "char"}[f.modelType-1]
		}
		return unsupported("SentencePiece model type", name, "bpe")
	case f.charsmap:
		return unsupported("SentencePiece normaliser", strconv.Quote(f.normaliser)+" with a precompiled character map", "identity")
	case f.denormaliserRules:
		return unsupported("SentencePiece denormaliser", "with a precompiled character map", "none")
	case f.whitespaceSuffix:
		return unsupported("SentencePiece option", "treat_whitespace_as_suffix")
	}
	return nil
}

// specials decides BOS and EOS: the configuration's word before the model's.
func (t *Tokenizer) specials(f *spFile, cfg config) error {
	inside := func(id int) int {
		if id < 0 || id >= len(f.pieces) || f.pieces[id].kind != pieceControl {
			return -1
		}
		return id
	}
	t.bos = t.name(cfg.BOS, inside(f.bosID))
	t.eos = t.name(cfg.EOS, inside(f.eosID))
	if cfg.Class == chatGLM {
		return nil
	}
	return t.surround(cfg, t.bos >= 0)
}

// newSPModel checks the pieces as Google's library does and builds the merge table.
func newSPModel(f *spFile) (*spModel, error) {
	m := &spModel{unk: -1, byteFallback: f.byteFallback, runes: newRuneTable()}
	for i := range m.bytes {
		m.bytes[i] = -1
	}
	reserved := make(map[string]int32)
	pieces := make(map[string]int32, len(f.pieces))
	var cost squares
	searched := 0
	for i, p := range f.pieces {
		if err := m.addPiece(i, p, pieces, reserved); err != nil {
			return nil, fmt.Errorf("piece %d %.40q: %w", i, p.text, err)
		}
		if err := cost.add(p.text); err != nil {
			return nil, err
		}
		if p.kind == pieceUserDefined {
			searched += len(p.text)
		}
		if searched > maxSearched {
			return nil, fmt.Errorf("user-defined pieces: more than %d bytes together: %w", maxSearched, ErrUnsupported)
		}
	}
	if m.unk < 0 {
		return nil, errors.New("no piece of type UNKNOWN: get the file again")
	}
	if m.byteFallback && slices.Contains(m.bytes[:], -1) {
		return nil, errors.New("byte_fallback is set but some of the 256 byte pieces are missing: get the file again")
	}
	m.build(f, pieces, reserved)
	return m, m.pairs.check()
}

func (m *spModel) addPiece(i int, p spPiece, pieces, reserved map[string]int32) error {
	into := reserved
	switch p.kind {
	case pieceNormal, pieceUserDefined:
		into = pieces
	case pieceUnused:
		return unsupported("piece type", "UNUSED", "NORMAL", "UNKNOWN", "CONTROL", "USER_DEFINED", "BYTE")
	case pieceUnknown:
		if m.unk >= 0 {
			return errors.New("second piece of type UNKNOWN: get the file again")
		}
		m.unk = i
	case pieceByte:
		if err := m.addByte(i, p.text); err != nil {
			return err
		}
	case pieceControl:
	default:
		return unsupported("piece type", strconv.FormatUint(p.kind, 10))
	}
	switch {
	case p.text == "":
		return errors.New("empty piece: get the file again")
	case len(p.text) > maxToken:
		return fmt.Errorf("%d bytes is too long for a piece (at most %d): get the file again", len(p.text), maxToken)
	case !utf8.ValidString(p.text):
		return errors.New("not valid UTF-8: get the file again")
	case math.IsNaN(float64(p.score)):
		return errors.New("score is not a number: get the file again")
	}
	for _, have := range []map[string]int32{pieces, reserved} {
		if first, twice := have[p.text]; twice {
			return fmt.Errorf("same text as piece %d: get the file again", first)
		}
	}
	into[p.text] = int32(i)
	if p.kind == pieceUserDefined {
		m.user.add(p.text, i)
	}
	return nil
}

func (m *spModel) addByte(i int, text string) error {
	if !m.byteFallback {
		return errors.New("byte piece although byte_fallback is off: get the file again")
	}
	b, ok := parseByteToken(text)
	if !ok {
		return errors.New("not a byte piece of the form <0x0A>: get the file again")
	}
	m.bytes[b] = int32(i)
	return nil
}

// parseByteToken reads the spelling of a byte piece, "<0x0A>" with upper-case digits.
func parseByteToken(text string) (byte, bool) {
	if len(text) != 6 || !strings.HasPrefix(text, "<0x") || text[5] != '>' || text[3:5] != strings.ToUpper(text[3:5]) {
		return 0, false
	}
	b, err := strconv.ParseUint(text[3:5], 16, 8)
	return byte(b), err == nil
}
