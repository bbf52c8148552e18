package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

// TestUnicodeForms checks the step-by-step definition against x/text where the two must agree: x/text is
// tested with Unicode's own vectors, but treats more than 30 marks in a row in its own way.
func TestUnicodeForms(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	alphabet := strings.Split("a b e A é Å ﬁ ² 가 ᄀ ᅡ ᆨ क़ ় া ে \u0301 \u0327 \u0323 \u0308 \u0345 \u3099 か ヲ \u1100 \u0344 \u2126", " ")
	for _, form := range []norm.Form{norm.NFC, norm.NFD, norm.NFKC, norm.NFKD} {
		for range 3000 {
			text := randomText(rng, alphabet, rng.IntN(16))
			if want, got := form.String(text), unicodeForm(form).definition(text); got != want {
				t.Fatalf("form %d of %+q = %+q, want %+q", form, text, got, want)
			}
		}
	}
}

func TestManyMarks(t *testing.T) {
	text := "e" + strings.Repeat("\u0301", 40)
	want := "é" + strings.Repeat("\u0301", 39)
	if got := unicodeForm(norm.NFC).normalize(text); got != want {
		t.Errorf("NFC = %+q, want %+q", got, want)
	}
}
