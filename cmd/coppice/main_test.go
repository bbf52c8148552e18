package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// most is what packages may allocate, in bytes, before main begins.
const most = 384 << 10

// TestStart bounds what every command waits for whether it uses it or not: packages that
// build tables, parse fonts or compile patterns as soon as they are imported. Time is
// not measured here; docs/performance.md says how.
func TestStart(t *testing.T) {
	c := exec.Command(os.Args[0], "-test.run", "^$")
	c.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	type start struct {
		name  string
		bytes int
	}
	var all []start
	total := 0
	for line := range strings.Lines(string(out)) {
		var s start
		var at, took float64
		if n, _ := fmt.Sscanf(line, "init %s @%f ms, %f ms clock, %d bytes", &s.name, &at, &took, &s.bytes); n == 4 {
			all = append(all, s)
			total += s.bytes
		}
	}
	if len(all) < 50 {
		t.Fatalf("only %d packages start: the trace is not what it was\n%s", len(all), out)
	}
	if total > most {
		slices.SortFunc(all, func(a, b start) int { return cmp.Compare(b.bytes, a.bytes) })
		t.Errorf("packages allocate %d bytes before main begins, want at most %d: is one imported whose start is dear? The dearest: %v", total, most, all[:10])
	}
}
