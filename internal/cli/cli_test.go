package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
)

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"nothing wrong", nil, 0},
		{"anything", errors.New("x"), 1},
		{"usage", fmt.Errorf("x: %w", usage("y").withHint("z")), 64},
		{"failed", failed("x"), 1},
		{"partial", fmt.Errorf("x: %w", errPartial), 3},
		{"gate", fmt.Errorf("x: %w", errGate), 4},
		{"cancelled", fmt.Errorf("x: %w", errCancelled), 130},
		{"context", fmt.Errorf("x: %w", context.Canceled), 130},
		{"cancelled before anything else", errors.Join(usage("x"), errCancelled), 130},
		{"reader gone", errors.Join(errClosedOutput, errClosedOutput), 0},
		{"reader gone and failed", errors.Join(usage("x"), errClosedOutput), 64},
		{"file format", withRemedy(fmt.Errorf("x: %w", checkpoint.ErrExists)), 1},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
	}
}

func TestRemedies(t *testing.T) {
	err := withRemedy(fmt.Errorf("dir: %w", checkpoint.ErrInside))
	var h *hinted
	if !errors.As(err, &h) || h.hint == "" || !errors.Is(err, checkpoint.ErrInside) {
		t.Errorf("no hint in %v", err)
	}
	own := usage("x").withHint("mine")
	if got := withRemedy(own); !errors.As(got, &h) || h.hint != "mine" {
		t.Errorf("a hint was replaced: %v", got)
	}
	if withRemedy(nil) != nil {
		t.Error("an error out of nothing")
	}
}

func TestParseBytes(t *testing.T) {
	for in, want := range map[string]int64{
		"1": 1, "4GiB": 4 << 30, "4gib": 4 << 30, "4G": 4 << 30, "4 GiB": 4 << 30, "1.5k": 1536, "8GB": 8e9, "512MiB": 512 << 20, "100B": 100, "2TiB": 2 << 40,
	} {
		if got, err := parseBytes(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "GiB", "-1", "0", "4XiB", "4GiBs", "NaN", "Inf", "1e30", "4 4"} {
		if got, err := parseBytes(in); err == nil {
			t.Errorf("%q: %d, want an error", in, got)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	known := []string{"inspect", "tokenize", "logprobs", "ppl", "prune"}
	for word, want := range map[string]string{"insepct": "inspect", "prun": "prune", "PPL": "ppl", "logprob": "logprobs", "token": "tokenize"} {
		if got := alternatives(word, known, 3); len(got) == 0 || got[0] != want {
			t.Errorf("%q: %v, want %s first", word, got, want)
		}
	}
}

func TestTally(t *testing.T) {
	one, err := count([]engine.TokenScore{{LogProb: -1, Greedy: true}, {LogProb: -2}})
	if err != nil {
		t.Fatal(err)
	}
	var all tally
	all.merge(one)
	all.merge(one)
	if all.loss() != 1.5 || all.greedyShare() != .5 || math.Abs(float64(all.perplexity())-math.Exp(1.5)) > 1e-12 {
		t.Errorf("loss %v, perplexity %v, greedy %v", all.loss(), all.perplexity(), all.greedyShare())
	}
	for _, bad := range []float64{math.NaN(), math.Inf(-1)} {
		if _, err := count([]engine.TokenScore{{LogProb: -1}, {LogProb: bad}}); err == nil {
			t.Errorf("log-probability %v passed", bad)
		}
	}
	if (tally{}).loss().Finite() {
		t.Error("a loss of no tokens")
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{`\n\n`: "\n\n", "": "", " ": " ", "\n": "\n", `\t|\\`: "\t|\\", `"`: `"`, "\r\t": "\r\t", "…": "…"} {
		if got, err := unescape(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	if _, err := unescape(`\q`); !errors.Is(err, errUsage) {
		t.Errorf("%v, want a usage error", err)
	}
}

func TestShellLine(t *testing.T) {
	got := shellLine([]string{"a", "two words", "it's", "", "--x=1"})
	if diff := cmp.Diff(`a 'two words' 'it'\''s' '' --x=1`, got); diff != "" {
		t.Error(diff)
	}
}

// TestFlagsAreDocumented: every flag of every command says what it does, and
// no two commands give one name different meanings of kind.
func TestFlagsAreDocumented(t *testing.T) {
	root := newRoot(newApp(System{Getenv: func(string) string { return "" }}))
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
		if c.Short == "" {
			t.Errorf("%s has no summary", c.Name())
		}
		for _, f := range []string{"json"} {
			if c.Name() != "help" && c.Name() != "completion" && c.Flag(f) == nil {
				t.Errorf("%s has no --%s", c.Name(), f)
			}
		}
	}
	for _, want := range []string{"inspect", "tokenize", "logprobs", "ppl", "generate", "score", "prune", "pull", "push", "bench", "doctor", "version", "completion", "demo"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no command %s", want)
		}
	}
}
