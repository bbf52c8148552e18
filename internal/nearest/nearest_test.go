package nearest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSorted(t *testing.T) {
	known := []string{"reverse", "random", "bi", "bi-global", "relative"}
	for word, want := range map[string]string{"revers": "reverse", "REVERSE": "reverse", "bi_global": "bi-global", "relatve": "relative", "ra": "random"} {
		if got := Sorted(word, known)[0]; got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
	if diff := cmp.Diff([]string{"b", "a"}, Sorted("b", []string{"a", "b"})); diff != "" {
		t.Error(diff)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "abc", 3}, {"abc", "abc", 0}, {"abd", "abc", 1}, {"kitten", "sitting", 3}, {"pre", "prefix", 0}} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestFew(t *testing.T) {
	known := []string{"inspect", "tokenize", "logprobs", "ppl", "prune"}
	for word, want := range map[string]string{"insepct": "inspect", "prun": "prune", "PPL": "ppl", "logprob": "logprobs", "token": "tokenize"} {
		if got := Few(word, known, 3); len(got) == 0 || got[0] != want {
			t.Errorf("%q: %v, want %s first", word, got, want)
		}
	}
}

func TestNothingNear(t *testing.T) {
	known := []string{"inspect", "eval", "ppl", "demo", "doctor", "prune", "curve", "--dtype", "--plan", "--add-bos", "random", "angular"}
	for _, word := range []string{"wat", "taylor", "run", "serve", "list", "--samples", "x", "--", ""} {
		if got := Few(word, known, 3); word != "" && len(got) > 0 {
			t.Errorf("%q: did you mean %v?", word, got)
		}
	}
	if got := Near("mian", []string{"other", "main"}); len(got) != 1 || got[0] != "main" {
		t.Errorf("mian: %v", got)
	}
	if got := DidYouMean("wat", known); got != "" {
		t.Errorf("wat: %s", got)
	}
	if got := DidYouMean("--dtpe", known); got != "did you mean --dtype?" {
		t.Errorf("--dtpe: %s", got)
	}
}
