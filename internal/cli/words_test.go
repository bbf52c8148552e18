package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/report"
)

// TestRoughly: durations as people say them.
func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Millisecond: "1 second", time.Second: "1 second", 1400 * time.Millisecond: "1 second", 2 * time.Second: "2 seconds",
		119 * time.Second: "119 seconds", 2 * time.Minute: "2 minutes", 119 * time.Minute: "119 minutes", 27 * time.Hour: "27 hours",
	} {
		if got := report.Roughly(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// TestControlCharacters: what a model says can neither ring a terminal's bell nor
// move its cursor; programs get it as it is.
func TestControlCharacters(t *testing.T) {
	const said = "a\x07b\x1b[2Jc\td\ne\rf\x7fg\u009bh é 🌲"
	if got, want := shown(said), "ab[2Jc\td\nefgh é 🌲"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// An untrained model says all kinds of bytes.
	dir := testkit.Llama(t, testkit.Options{Layers: 1, Tokenizer: true})
	var out [2]string
	for i, terminal := range []bool{false, true} {
		var b strings.Builder
		a := newApp(System{Out: &b, Err: &b, Getenv: func(string) string { return "" }})
		a.terminal = terminal
		c := newGenerate(a)
		c.SetArgs([]string{dir, "--prompt", "a", "--max-tokens", "200", "--temperature", "2", "--seed", "3"})
		if err := c.ExecuteContext(context.Background()); err != nil {
			t.Fatal(err)
		}
		out[i] = b.String()
	}
	if shown(out[0]) == out[0] {
		t.Fatalf("no control character was made: %q", out[0])
	}
	if out[1] != shown(out[0]) {
		t.Errorf("on a terminal %q, want %q", out[1], shown(out[0]))
	}
}
