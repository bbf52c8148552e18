package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestBehaviors(t *testing.T) {
	const text = "--a-b--"
	tests := []struct {
		how    behavior
		invert bool
		want   []string
	}{
		{removed, false, []string{"a", "b"}},
		{isolated, false, []string{"-", "-", "a", "-", "b", "-", "-"}},
		{mergedWithPrevious, false, []string{"-", "-", "a-", "b-", "-"}},
		{mergedWithNext, false, []string{"-", "-a", "-b", "-", "-"}},
		{contiguous, false, []string{"--", "a", "-", "b", "--"}},
		{removed, true, []string{"-", "-", "-", "-", "-"}},
		{mergedWithNext, true, []string{"-", "-", "a-", "b-", "-"}},
	}
	for _, tt := range tests {
		t.Run(string(tt.how), func(t *testing.T) {
			d := &delimited{find: literal("-"), how: tt.how, invert: tt.invert}
			if diff := cmp.Diff(tt.want, cut(d, text)); diff != "" {
				t.Errorf("invert %v (-want +got):\n%s", tt.invert, diff)
			}
		})
	}
	for _, how := range []behavior{removed, isolated, mergedWithPrevious, mergedWithNext, contiguous} {
		want := []string{"ab"}
		if got := cut(&delimited{find: literal("-"), how: how}, "ab"); !cmp.Equal(got, want) {
			t.Errorf("%s without delimiter: %q", how, got)
		}
	}
}

// TestMatchersAgainstRegexp compares the hand-written matchers with patterns that say the same.
func TestMatchersAgainstRegexp(t *testing.T) {
	matchers := map[string]matcher{
		`[0-9][0-9][0-9]`:                threeDigits{},
		`\p{N}`:                          characters{isDigit},
		`[!-/:-@\[-` + "`" + `{-~\p{P}]`: characters{isPunctuation},
		`, `:                             literal(", "),
	}
	rng := rand.New(rand.NewPCG(9, 10))
	for pattern, hand := range matchers {
		find, err := newExpression("test", pattern)
		if err != nil {
			t.Fatal(err)
		}
		for range 1500 {
			text := randomRunes(rng, rng.IntN(30)) + strings.Repeat("7", rng.IntN(8)) + ", "
			for _, how := range []behavior{removed, isolated, contiguous, mergedWithNext} {
				want := cut(&delimited{find: find, how: how}, text)
				if diff := cmp.Diff(want, cut(&delimited{find: hand, how: how}, text), equateEmpty); diff != "" {
					t.Fatalf("%s %s %q (-regexp +hand):\n%s", pattern, how, text, diff)
				}
			}
		}
	}
}

// TestAfterByteLevel compares stages on raw bytes with the stages themselves on spelled text.
func TestAfterByteLevel(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	stages := map[string]*delimited{
		"digits":       {find: characters{isDigit}, how: contiguous},
		"each digit":   {find: characters{isDigit}, how: isolated},
		"three digits": {find: threeDigits{}, how: isolated},
		"punctuation":  {find: characters{isPunctuation}, how: contiguous},
	}
	for name, stage := range stages {
		slow := newSpelled(stage)
		for range 500 {
			text := randomRunes(rng, rng.IntN(30))
			if diff := cmp.Diff(cut(slow, text), cut(afterByteLevel(stage), text), equateEmpty); diff != "" {
				t.Fatalf("%s %q (-spelled +bytes):\n%s", name, text, diff)
			}
		}
	}
	// The second byte of é is spelled ©, which is no digit; that of ² is spelled ², which is one.
	digits := afterByteLevel(stages["digits"])
	if got := cut(digits, "é²"); !cmp.Equal(got, []string{"é\xc2", "\xb2"}) {
		t.Errorf("é²: %q", got)
	}
}

func TestMetaspace(t *testing.T) {
	tests := []struct {
		name, json, text string
		first            bool
		want             []string
	}{
		{"always", `{"type":"Metaspace","replacement":"▁"}`, "a b", false, []string{"▁a", "▁b"}},
		{"no prefix", `{"type":"Metaspace","replacement":"▁","add_prefix_space":false}`, "a b", true, []string{"a", "▁b"}},
		{"first, at the start", `{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false}`, "a b", true, []string{"▁a▁b"}},
		{"first, later", `{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false}`, "a b", false, []string{"a▁b"}},
		{"never", `{"type":"Metaspace","replacement":"▁","prepend_scheme":"never"}`, " a", true, []string{"▁a"}},
		{"has one", `{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}`, "  a", true, []string{"▁", "▁a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, bytes, err := newPreTokenizer([]byte(tt.json))
			if err != nil || bytes {
				t.Fatal(bytes, err)
			}
			var got []string
			p.split(tt.text, tt.first, func(piece string) { got = append(got, piece) })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestPiecesCover: whatever the stages, nothing of the text is lost where no stage removes anything.
func TestPiecesCover(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	p, _, err := newPreTokenizer([]byte(`{"type":"Sequence","pretokenizers":[{"type":"Punctuation","behavior":"Contiguous"},{"type":"ByteLevel","add_prefix_space":false},{"type":"Digits"},{"type":"Split","pattern":{"Regex":"[0-9][0-9][0-9]"},"behavior":"Isolated"},{"type":"Split","pattern":{"Regex":"\\p{L}"},"behavior":"MergedWithNext"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		text := randomRunes(rng, rng.IntN(40))
		if got := strings.Join(cut(p, text), ""); got != text || !utf8.ValidString(got) {
			t.Fatalf("%q became %q", text, got)
		}
	}
}

// TestEmptyDelimiters: a match of nothing parts what stands on either side, with the pieces of Hugging Face's library.
func TestEmptyDelimiters(t *testing.T) {
	find, err := newExpression("test", `(?=[A-Z])`)
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range []behavior{removed, isolated, mergedWithPrevious, mergedWithNext, contiguous} {
		want := []string{"a", "Bca", "Bc"}
		if got := cut(&delimited{find: find, how: how}, "aBcaBc"); !cmp.Equal(got, want) {
			t.Errorf("%s: %q, want %q", how, got, want)
		}
	}
}

// TestBeheaded: where the beginning of a text is taken away there is no first piece, as in Hugging Face's library.
func TestBeheaded(t *testing.T) {
	const metaspace = `{"type":"Metaspace","replacement":"▁","prepend_scheme":"first"}`
	const model = `{"type":"BPE","vocab":{"a":0,"b":1,"▁":2},"merges":[]}`
	for _, tt := range []struct {
		normalizer, pre, text string
		want                  []int
	}{
		{"null", metaspace, "ab", []int{2, 0, 1}},
		{`{"type":"Strip","strip_left":true}`, metaspace, "ab", []int{2, 0, 1}},
		{`{"type":"Strip","strip_left":true}`, metaspace, " ab", []int{0, 1}},
		{`{"type":"Strip","strip_right":true}`, metaspace, " ab ", []int{2, 0, 1}},
		{`{"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"StripAccents"}]}`, metaspace, "\u0301ab", []int{0, 1}},
		{"null", `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":"a"},"behavior":"Removed"},` + metaspace + `]}`, "ab", []int{1}},
		{"null", `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":"a"},"behavior":"Removed"},` + metaspace + `]}`, "bab", []int{2, 1, 1}},
	} {
		tok, err := parseJSON([]byte(jsonWith(map[string]string{"normalizer": tt.normalizer, "pre_tokenizer": tt.pre, "decoder": `{"type":"Fuse"}`, "model": model})), config{})
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Encode(tt.text, false); !cmp.Equal(got, tt.want) {
			t.Errorf("%s, %s on %q: %v, want %v", tt.normalizer, tt.pre, tt.text, got, tt.want)
		}
	}
}
