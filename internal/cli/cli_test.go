package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/stage"
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
		{"partial", fmt.Errorf("x: %w", stage.ErrPartial), 3},
		{"gate", fmt.Errorf("x: %w", stage.ErrGate), 4},
		{"cancelled", fmt.Errorf("x: %w", stage.ErrCancelled), 130},
		{"context", fmt.Errorf("x: %w", context.Canceled), 130},
		{"cancelled before anything else", errors.Join(usage("x"), stage.ErrCancelled), 130},
		{"reader gone", errors.Join(errClosedOutput, errClosedOutput), 0},
		{"reader gone and failed", errors.Join(usage("x"), errClosedOutput), 64},
		{"file format", explained(fmt.Errorf("x: %w", checkpoint.ErrExists)), 1},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
	}
}

func TestRemedies(t *testing.T) {
	err := explained(fmt.Errorf("dir: %w", checkpoint.ErrInside))
	if _, hint := describe(err); hint != "name an --out beside the model's directory" || !errors.Is(err, checkpoint.ErrInside) {
		t.Errorf("hint %q in %v", hint, err)
	}
	own := usage("x").withHint("mine")
	if _, hint := describe(explained(own)); hint != "mine" {
		t.Errorf("a hint was replaced: %q", hint)
	}
	if explained(nil) != nil {
		t.Error("an error out of nothing")
	}
}

// TestOneCommandIsMade: a command line makes the command it begins with and no other,
// by the name that the command has.
func TestOneCommandIsMade(t *testing.T) {
	for _, c := range commands() {
		made := newRoot(newApp(System{Getenv: func(string) string { return "" }}), c.name, "--json").Commands()
		if len(made) != 1 || made[0].Name() != c.name {
			t.Errorf("%s makes %d commands, the first of them %s", c.name, len(made), made[0].Name())
		}
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

// TestErrorsNameTheProgramOnce: Main begins errors with the program's name, so what is
// wrong with a command's arguments does not.
func TestErrorsNameTheProgramOnce(t *testing.T) {
	seen := 0
	for _, c := range newRoot(newApp(System{})).Commands() {
		for _, args := range [][]string{nil, {"a", "b", "c", "d"}} {
			if c.Args == nil {
				continue
			}
			if err := c.Args(c, args); err != nil {
				seen++
				if strings.HasPrefix(err.Error(), "coppice") {
					t.Errorf("%s %v: %v", c.Name(), args, err)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("saw %d errors", seen)
	}
}
