package onig

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// found lists the matches; with record, failures are recorded from the start.
func found(re *Regexp, text string, record bool) [][2]int {
	all := [][2]int{}
	re.each(text, record, func(from, to int) { all = append(all, [2]int{from, to}) })
	return all
}

// TestCases compares with Oniguruma itself: testdata/cases.py made the cases. Both ways of matching are tried.
func TestCases(t *testing.T) {
	file, err := os.Open("testdata/cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	cases, refused := 0, 0
	for lines.Scan() {
		var pattern string
		var texts []string
		var want [][][2]int
		if err := json.Unmarshal(lines.Bytes(), &[]any{&pattern, &texts, &want}); err != nil {
			t.Fatal(err)
		}
		cases++
		re, err := Compile(pattern)
		if errors.Is(err, ErrUnsupported) {
			refused++
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		for i, text := range texts {
			for _, record := range []bool{false, true} {
				if got := found(re, text, record); !slices.Equal(got, want[i]) {
					t.Errorf("%s on %q (record %v): %v, want %v", pattern, text, record, got, want[i])
				}
			}
		}
	}
	if cases < 600 || refused > cases/20 {
		t.Errorf("%d of %d cases refused", refused, cases)
	}
}

func TestRefused(t *testing.T) {
	for pattern, message := range map[string]string{
		`(a)\1`:                                 `\1, a back reference`,
		`(?<n>a)\k<n>`:                          `\k`,
		`a\Kb`:                                  `\K`,
		`\R`:                                    `\R`,
		`\X`:                                    `\X`,
		`\G`:                                    `\G`,
		`(?~a)`:                                 "absent operator",
		`(?(1)a|b)`:                             "a condition",
		`(?W)\w`:                                "(?W)",
		`(?s).`:                                 "(?s)",
		`(?P<n>a)`:                              "(?P)",
		`\p{Nonsense}`:                          `\p{Nonsense}`,
		`\p{Script=Han}`:                        `\p{Script=Han}`,
		`[[:nonsense:]]`:                        "[:nonsense:]",
		`(?i)ss`:                                `(?i) with "ss"`,
		`(?i)ß`:                                 "folds to more than one",
		`(?i)[à-ÿß]`:                            "fold to more than one",
		`(?:|a)+`:                               "may match nothing before",
		`(?<=a*)b`:                              "different lengths",
		`\xE9`:                                  "a byte of a character",
		`a{3,1}`:                                "{3,1}, the larger number first",
		`a{5000}`:                               "at most 1000 steps",
		`((a{100}){100}){100}`:                  "at most 1000 steps",
		strings.Repeat("(", 1000):               "more than 100 groups",
		strings.Repeat("[a", 1000):              "more than 100 groups or classes",
		strings.Repeat("a", 1<<15):              "at most 16384",
		strings.Repeat("a|", 800):               "at most 1000 steps",
		`(?:` + strings.Repeat("a?", 600) + `)`: "at most 1000 steps",
	} {
		if _, err := Compile(pattern); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), message) {
			t.Errorf("%.40s: %v, want %q", pattern, err, message)
		}
	}
	for pattern, message := range map[string]string{
		`a)`: "a ) without", `(a`: "a ( without", `[a`: "a [ without", `[a[b]`: "a [ without", `*a`: "repeats nothing",
		`a|+`: "repeats nothing", `^*`: "a place cannot", `(?=a)*`: "a place cannot", `a\`: `a \ at the end`,
		`[b-a]`: "is empty", `[a-\d]`: "up to a class", `[\d-a]`: "from a class", `\p{L`: `without its }`, "\xff": "not valid UTF-8",
	} {
		if _, err := Compile(pattern); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%.40s: %v, want %q", pattern, err, message)
		}
	}
}

// TestCost: no pattern costs more than its own length for each byte of the text, whatever it is. The first ones are
// known to take for ever elsewhere, the others would cost the square of the text.
func TestCost(t *testing.T) {
	patterns := []string{
		`(a+)+b`, `(a|a)*b`, `(?:a*)*b`, `(a|aa)+$b`, `(?:a|b|ab)*c`, `(x+x+)+y|(a+a+)+b`, `(.*)*c`, `(?:a?){30}a{30}b`,
		`(?:(?:a|b)(?:a|b)?)*c`, `.*.*.*.*c`, `^(?:.?){40}c`, `(?=(a+)+b)`, `(?!(a|a)*b)c`, `(?>(a|aa)+)b`, `(?<=(?:a|a)(?:a|a)(?:a|a)(?:a|a))b`,
		`a.*b|a`, `(?=.*b)a|.`, `(?!.*b)c|.`, `a++b|.`, `(?:a|b)*+c|.`, `(?>(?:a|b)*)c|.`, `(?=(?:a|b)*$)c|.`, `\w+\s`, `(?:a|a|a|a)a{200}b`,
		`(?:(?=a*b)a)*c|.`, `(?:(?>a+)b?)+c|.`, `[ab]*?c|.`, `(?:a(?=.*c))*b`,
	}
	for _, pattern := range patterns {
		re, err := Compile(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		for _, text := range []string{strings.Repeat("a", 20000), strings.Repeat("ab", 10000), strings.Repeat("aaab ", 4000)} {
			m := machine{re: re, text: text}
			m.each(func(int, int) {})
			if most := (len(text) + 64) * (plainSteps + 8*len(re.prog)); m.steps > most {
				t.Errorf("%s on %.8q…: %d steps for %d bytes, more than %d", pattern, text, m.steps, len(text), most)
			}
			if m.memo != nil && len(m.memo.ends) > 4*len(text) {
				t.Errorf("%s: %d ends kept", pattern, len(m.memo.ends))
			}
		}
	}
}

func FuzzMatch(f *testing.F) {
	for _, p := range []string{`(a+)+b`, `[^a&&[b-z]]|\p{L}{2,3}+`, `(?i:'s)|(?<=a|bc)\s+(?!\S)`, `(?>a|ab)*?$`, `(?=(a|b)*c)\w`} {
		f.Add(p, "aab 'S c\n")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		re, err := Compile(pattern)
		if err != nil || !utf8.ValidString(text) {
			return
		}
		last := 0
		re.Each(text, func(from, to int) {
			if from < last || to < from || to > len(text) || !utf8.ValidString(text[from:to]) {
				t.Fatalf("%q on %q: a match from %d to %d after %d", pattern, text, from, to, last)
			}
			last = to
		})
		if plain, recorded := found(re, text, false), found(re, text, true); !slices.Equal(plain, recorded) {
			t.Fatalf("%q on %q: %v, with a record %v", pattern, text, plain, recorded)
		}
	})
}

// TestLaterVersions: where the engine that Hugging Face's library brings along (6.9.10) differs from cases.py's.
func TestLaterVersions(t *testing.T) {
	re, err := Compile(`[[:punct:]]|\p{Punct}x`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := found(re, "a$,▁\u200d", false), [][2]int{{1, 2}, {2, 3}, {3, 6}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
