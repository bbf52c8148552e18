package tokenizer

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestRoundTrip: text comes back from the tokenizers that lose nothing, and from all of them the same whether
// it is decoded whole or token by token, for their own encodings and for ids at random. The published ones take
// part where they are.
func TestRoundTrip(t *testing.T) {
	tests := map[string]bool{"testdata/bytelevel.json": true, "testdata/stories260K.model": true}
	if published := sharedPath("data", "tokenizers"); exists(published) {
		// Falcon's vocabulary lacks some bytes, and qwen2 normalises.
		for name, exact := range map[string]bool{"llama2": true, "llama3": true, "falcon": false, "phi3": true, "chatglm2": true, "baichuan2": true, "qwen2": false} {
			tests[filepath.Join(published, name)] = exact
		}
	}
	for path, exact := range tests {
		t.Run(filepath.Base(path), func(t *testing.T) {
			tok, err := Load(path)
			if filepath.Ext(path) != "" {
				tok, err = LoadFile(path)
			}
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(17, 18))
			for range 300 {
				text := strings.ReplaceAll(randomRunes(rng, rng.IntN(60)), space, "_")
				ids := tok.Encode(text, true)
				back, err := tok.Decode(ids)
				if err != nil || exact && back != text || streamed(t, tok, ids) != back {
					t.Fatalf("%q came back as %q, streamed as %q (%v)", text, back, streamed(t, tok, ids), err)
				}
				checkRandomIDs(t, rng, tok)
			}
		})
	}
}

func checkRandomIDs(t *testing.T, rng *rand.Rand, tok *Tokenizer) {
	t.Helper()
	var ids []int
	for range rng.IntN(20) {
		id := rng.IntN(tok.VocabSize())
		if rng.IntN(2) == 0 {
			id %= 260 // bytes, in most vocabularies
		}
		if tok.known[id] {
			ids = append(ids, id)
		}
	}
	whole, err := tok.Decode(ids)
	if err != nil || !utf8.ValidString(whole) || streamed(t, tok, ids) != whole {
		t.Fatalf("%v: %q, streamed %q (%v)", ids, whole, streamed(t, tok, ids), err)
	}
}
