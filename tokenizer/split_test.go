package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var equateEmpty = cmpopts.EquateEmpty()

func cut(p preTokenizer, text string) []string {
	var all []string
	p.split(text, true, func(piece string) { all = append(all, strings.Clone(piece)) })
	return all
}

// splitBy isolates the matches of a pattern.
func splitBy(pattern string) (preTokenizer, error) {
	find, err := newExpression("test", pattern)
	return &delimited{find: find, how: isolated}, err
}

func handWritten() map[string]*splitter {
	return map[string]*splitter{
		patternGPT2:   {classes: newClasses(), next: nextGPT2},
		patternLlama3: {classes: newClasses(), next: nextLlama3},
		patternQwen2:  {classes: newClasses(), next: nextQwen2},
	}
}

// TestSplittersAgainstRegexp compares the hand-written splitters with the very patterns on random text.
func TestSplittersAgainstRegexp(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for pattern, hand := range handWritten() {
		re, err := splitBy(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for range 2500 {
			text := randomRunes(rng, rng.IntN(40))
			if diff := cmp.Diff(cut(re, text), cut(hand, text), equateEmpty); diff != "" {
				t.Fatalf("%s\n%q (-regexp +hand):\n%s", pattern, text, diff)
			}
		}
	}
}

func randomRunes(rng *rand.Rand, n int) string {
	common := []rune(" \t\n\r\v\f'stremvldSTREMVLDabcſXYZ0123456789.,!?-_(){}\u00a0\u0085\u2003\u2028\u3000éßЖ中かـา٣½Ⅷ²€\U0001d518\U0001f600\U000118a0\U0001f100\u0301\u200b")
	var text strings.Builder
	for range n {
		r := common[rng.IntN(len(common))]
		if rng.IntN(10) == 0 {
			r = rune(rng.IntN(unicode.MaxRune + 1))
		}
		if r >= 0xd800 && r < 0xe000 {
			continue
		}
		text.WriteRune(r)
	}
	return text.String()
}

// TestClasses checks the table against package unicode over all of Unicode.
func TestClasses(t *testing.T) {
	c := newClasses()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if r >= 0xd800 && r < 0xe000 {
			continue
		}
		want := other
		switch {
		case r == '\r' || r == '\n':
			want = newline
		case unicode.IsSpace(r):
			want = blank
		case unicode.Is(unicode.L, r):
			want = letter
		case unicode.Is(unicode.N, r):
			want = number
		}
		if got, _ := c.at(string(r), 0); got != want {
			t.Fatalf("%U: class %d, want %d", r, got, want)
		}
	}
}

func TestSplitters(t *testing.T) {
	tests := []struct {
		name, pattern, text string
		want                []string
	}{
		{"words", patternLlama3, "Hello world", []string{"Hello", " world"}},
		{"three digits", patternLlama3, "12345", []string{"123", "45"}},
		{"one digit", patternQwen2, "123", []string{"1", "2", "3"}},
		{"all digits", patternGPT2, " 12345", []string{" 12345"}},
		{"contraction", patternLlama3, "I'LL we've", []string{"I", "'LL", " we", "'ve"}},
		{"case matters", patternGPT2, "I'LL", []string{"I", "'", "LL"}},
		{"long s", patternLlama3, "it'ſa", []string{"it", "'ſ", "a"}},
		{"line breaks", patternLlama3, "a  \n\n  b", []string{"a", "  \n\n", " ", " b"}},
		{"breaks after signs", patternLlama3, "a!\n\nb", []string{"a", "!\n\n", "b"}},
		{"spaces", patternGPT2, "a   b  ", []string{"a", "  ", " b", "  "}},
		{"empty", patternLlama3, "", nil},
	}
	splitters := handWritten()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, cut(splitters[tt.pattern], tt.text)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRegexFallback(t *testing.T) {
	p, err := splitBy(`\d|\s+(?=é)`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a", "1", "2", "b", " ", "é"}
	if diff := cmp.Diff(want, cut(p, "a12b é")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
