package tokenizer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
)

// referenceSP is SentencePiece's BPE as its definition reads: over the whole normalised text, of all
// adjacent symbols whose concatenation is a piece, merge the pair with the highest score, the leftmost among
// equals. It is quadratic and knows no words, tables or caches.
func referenceSP(f *spFile, text string) []int {
	type symbol struct {
		text   string
		frozen bool
	}
	ids := make(map[string]int)
	user := make(map[string]bool)
	bytes := make(map[byte]int)
	unk := -1
	for i, p := range f.pieces {
		ids[p.text] = i
		user[p.text] = p.kind == pieceUserDefined
		if b, ok := parseByteToken(p.text); ok && p.kind == pieceByte {
			bytes[b] = i
		}
		if p.kind == pieceUnknown {
			unk = i
		}
	}
	mergeable := func(text string) bool {
		id, ok := ids[text]
		return ok && (f.pieces[id].kind == pieceNormal || f.pieces[id].kind == pieceUserDefined)
	}
	var syms []symbol
	for text != "" {
		size := 0
		for u, ok := range user {
			if ok && strings.HasPrefix(text, u) {
				size = max(size, len(u))
			}
		}
		frozen := size > 0
		if !frozen {
			_, size = utf8.DecodeRuneInString(text)
		}
		syms = append(syms, symbol{text[:size], frozen})
		text = text[size:]
	}
	for {
		best, at := math.Inf(-1), -1
		for i := 0; i+1 < len(syms); i++ {
			whole := syms[i].text + syms[i+1].text
			if syms[i].frozen || syms[i+1].frozen || !mergeable(whole) {
				continue
			}
			if score := float64(f.pieces[ids[whole]].score); score > best || at < 0 {
				best, at = score, i
			}
		}
		if at < 0 {
			break
		}
		syms[at].text += syms[at+1].text
		syms = append(syms[:at+1], syms[at+2:]...)
	}
	var out []int
	for _, sym := range syms {
		id, ok := ids[sym.text]
		switch {
		case ok && id != unk:
			out = append(out, id)
		case f.byteFallback:
			for i := range len(sym.text) {
				out = append(out, bytes[sym.text[i]])
			}
		case len(out) == 0 || out[len(out)-1] != unk:
			out = append(out, unk)
		}
	}
	return out
}

// randomSP invents a model whose pieces cross word boundaries, tie in score and lack some of their own parts.
func randomSP(rng *rand.Rand) []byte {
	alphabet := []string{"a", "b", "c", space, space, "é", "\U0001f600"}
	var data []byte
	data = appendPiece(data, "<unk>", 0, pieceUnknown)
	data = appendPiece(data, "<s>", 0, pieceControl)
	data = appendPiece(data, "</s>", 0, pieceControl)
	seen := map[string]bool{}
	fallback := rng.IntN(2) == 0
	if fallback {
		for b := range 256 {
			data = appendPiece(data, fmt.Sprintf("<0x%02X>", b), 0, pieceByte)
		}
	}
	for range 5 + rng.IntN(40) {
		text := ""
		for range 1 + rng.IntN(4) {
			text += alphabet[rng.IntN(len(alphabet))]
		}
		kind := uint64(pieceNormal)
		if rng.IntN(20) == 0 {
			kind = pieceUserDefined
		}
		if !seen[text] {
			seen[text] = true
			data = appendPiece(data, text, -float32(rng.IntN(12)), kind)
		}
	}
	return appendSpecs(data, fallback, rng.IntN(2) == 0, rng.IntN(4) == 0)
}

func appendPiece(data []byte, text string, score float32, kind uint64) []byte {
	var p []byte
	p = protowire.AppendTag(p, 1, protowire.BytesType)
	p = protowire.AppendString(p, text)
	p = protowire.AppendTag(p, 2, protowire.Fixed32Type)
	p = protowire.AppendFixed32(p, math.Float32bits(score))
	p = protowire.AppendTag(p, 3, protowire.VarintType)
	p = protowire.AppendVarint(p, kind)
	data = protowire.AppendTag(data, 1, protowire.BytesType)
	return protowire.AppendBytes(data, p)
}

func appendSpecs(data []byte, fallback, dummyPrefix, trim bool) []byte {
	flag := func(to []byte, number protowire.Number, on bool) []byte {
		to = protowire.AppendTag(to, number, protowire.VarintType)
		return protowire.AppendVarint(to, protowire.EncodeBool(on))
	}
	trainer := protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), 2)
	trainer = flag(trainer, 35, fallback)
	normalizer := flag(flag(nil, 3, dummyPrefix), 4, trim)
	data = protowire.AppendTag(data, 2, protowire.BytesType)
	data = protowire.AppendBytes(data, trainer)
	data = protowire.AppendTag(data, 3, protowire.BytesType)
	return protowire.AppendBytes(data, normalizer)
}

func randomText(rng *rand.Rand, alphabet []string, length int) string {
	var text strings.Builder
	for range length {
		text.WriteString(alphabet[rng.IntN(len(alphabet))])
	}
	return text.String()
}

func TestSentencePieceAgainstReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "b", "c", "a", "b", " ", " ", "é", "\U0001f600", "x", space, "<s>"}
	for model := range 120 {
		data := randomSP(rng)
		tok, err := parseSentencePiece(data, config{})
		if err != nil {
			t.Fatalf("model %d: %v", model, err)
		}
		f, _ := readSentencePiece(data)
		for range 12 {
			text := randomText(rng, alphabet, rng.IntN(140))
			want := referenceSP(f, tok.normalize.normalize(text))
			if diff := cmp.Diff(want, tok.Encode(text, false), equateEmpty); diff != "" {
				t.Fatalf("model %d, text %q (-want +got):\n%s", model, text, diff)
			}
		}
	}
}

func TestStoriesAgainstReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	tok, data := loadStories(t)
	f, err := readSentencePiece(data)
	if err != nil {
		t.Fatal(err)
	}
	var alphabet []string
	for _, p := range f.pieces[259:] {
		alphabet = append(alphabet, strings.ReplaceAll(p.text, space, " "))
	}
	for range 200 {
		text := randomText(rng, alphabet, rng.IntN(60))
		want := referenceSP(f, tok.normalize.normalize(text))
		if diff := cmp.Diff(want, tok.Encode(text, false), equateEmpty); diff != "" {
			t.Fatalf("text %q (-want +got):\n%s", text, diff)
		}
	}
}

// referenceMerges applies the listed merge of lowest rank, leftmost first, until none applies.
func referenceMerges(p *pairTable, syms []int32) []int32 {
	syms = append([]int32(nil), syms...)
	for {
		best, at := noRank, -1
		for i := 0; i+1 < len(syms); i++ {
			if rank, _ := p.get(syms[i], syms[i+1]); rank < best {
				best, at = rank, i
			}
		}
		if at < 0 {
			return syms
		}
		_, syms[at] = p.get(syms[at], syms[at+1])
		syms = append(syms[:at+1], syms[at+2:]...)
	}
}

func TestMergeAgainstReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		// Symbols stand for strings, so that a merged pair is always the same symbol.
		text := []string{"a", "b", "c"}
		number := map[string]int32{"a": 0, "b": 1, "c": 2}
		pairs := newPairTable(64)
		for rank := range 40 {
			left, right := int32(rng.IntN(len(text))), int32(rng.IntN(len(text)))
			whole := text[left] + text[right]
			if _, ok := number[whole]; !ok {
				number[whole] = int32(len(text))
				text = append(text, whole)
			}
			if have, _ := pairs.get(left, right); have == noRank {
				pairs.put(left, right, uint32(rank), number[whole])
			}
		}
		syms := make([]int32, rng.IntN(200))
		for i := range syms {
			syms[i] = int32(rng.IntN(3))
		}
		want := referenceMerges(pairs, syms)
		long := pairs.mergeLong(append([]int32(nil), syms...), newScratch())
		if diff := cmp.Diff(want, long, equateEmpty); diff != "" {
			t.Fatalf("heap (-want +got):\n%s", diff)
		}
		if len(syms) > longPiece {
			continue
		}
		if diff := cmp.Diff(want, pairs.mergeShort(append([]int32(nil), syms...)), equateEmpty); diff != "" {
			t.Fatalf("scan (-want +got):\n%s", diff)
		}
	}
}

// TestOneCharacter would take hours if merging were quadratic.
func TestOneCharacter(t *testing.T) {
	stories, _ := loadStories(t)
	small, err := LoadFile("testdata/bytelevel.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, tok := range []*Tokenizer{stories, small} {
		text := strings.Repeat("a", 1<<20)
		back, err := tok.Decode(tok.Encode(text, false))
		if err != nil || back != text {
			t.Errorf("%s: text does not come back (%v)", tok.Kind(), err)
		}
	}
}
