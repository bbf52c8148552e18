package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestRoundTrip: text comes back from the published tokenizers that lose nothing, and from all of them the
// same whether it is decoded whole or token by token, for their own encodings and for ids at random.
func TestRoundTrip(t *testing.T) {
	// Falcon's vocabulary lacks some bytes, and qwen2 normalises.
	lossless := map[string]bool{"llama2": true, "llama3": true, "falcon": false, "phi3": true, "chatglm2": true, "baichuan2": true, "qwen2": false}
	for name, exact := range lossless {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(17, 18))
			tok, err := Load(shared(t, "data", "tokenizers", name))
			if err != nil {
				t.Fatal(err)
			}
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
