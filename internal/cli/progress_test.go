package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/stage"
)

// logApp writes notes and progress to a log.
func logApp() (*app, *strings.Builder) {
	var log strings.Builder
	return newApp(System{Out: io.Discard, Err: &log, Getenv: func(string) string { return "" }}), &log
}

// TestProgressInALog: lines come now and then, each twice as late as the last.
func TestProgressInALog(t *testing.T) {
	a, log := logApp()
	p := &progress{label: "scoring", a: a, start: time.Now(), over: make(chan struct{}), next: lineDelay}
	at := func(after time.Duration) { p.beat(p.start.Add(after)) }
	at(lineDelay - 1)
	if log.Len() > 0 {
		t.Errorf("too early: %q", log)
	}
	at(16 * time.Second)
	p.update(1, 4)
	at(20 * time.Second)
	at(40 * time.Second)
	p.update(2, 4)
	at(60 * time.Second)
	at(2 * time.Hour)
	at(2*time.Hour + lineMost + 1)
	p.stop()
	at(24 * time.Hour)
	want := "scoring: begun 16 seconds ago\n" +
		"scoring: 25 % after 40 seconds, about 2 minutes left\n" +
		"scoring: 50 % after 2 hours, about 2 hours left\n" +
		"scoring: 50 % after 2 hours, about 2 hours left\n"
	if log.String() != want {
		t.Errorf("%q, want %q", log, want)
	}
}

// TestProgressOnATerminal: the bar is there before the first result.
func TestProgressOnATerminal(t *testing.T) {
	a, log := logApp()
	a.showBars = true
	p := &progress{label: "scoring", a: a, start: time.Now(), over: make(chan struct{})}
	p.beat(p.start.Add(barDelay))
	if !strings.Contains(log.String(), "scoring   0%") {
		t.Errorf("no bar: %q", log)
	}
	p.update(1, 2)
	p.beat(p.start.Add(barDelay + beatEvery))
	p.stop()
	if !strings.Contains(log.String(), "scoring  50%") {
		t.Errorf("no advance: %q", log)
	}
	before := log.Len()
	p.update(2, 2)
	p.beat(p.start.Add(time.Hour))
	if log.Len() != before {
		t.Errorf("more after the end: %q", log)
	}
}

// never is a terminal on which nobody types.
type never struct{}

func (never) Read([]byte) (int, error) { select {} }

func TestConsent(t *testing.T) {
	day := stage.Estimate{What: "greedy-ppl", Time: 27 * time.Hour}
	for _, c := range []struct {
		name     string
		terminal bool
		yes      bool
		in       string
		estimate time.Duration
		want     error
	}{
		{"short", false, false, "", 59 * time.Minute, nil},
		{"long, in a script", false, false, "y\n", 0, stage.ErrUsage},
		{"long, with --yes", false, true, "", 0, nil},
		{"yes", true, false, "y\n", 0, nil},
		{"no", true, false, "\n", 0, stage.ErrUsage},
		{"nothing", true, false, "", 0, stage.ErrUsage},
	} {
		a, log := logApp()
		a.showBars, a.yes, a.sys.In = c.terminal, c.yes, strings.NewReader(c.in)
		e := day
		if c.estimate > 0 {
			e.Time = c.estimate
		}
		if err := (talk{a}).Consent(context.Background(), e); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if !strings.Contains(log.String(), "this takes about") {
			t.Errorf("%s: nothing was said", c.name)
		}
	}
}

// TestSignalAtAQuestion: nobody has to answer before the program ends.
func TestSignalAtAQuestion(t *testing.T) {
	a, _ := logApp()
	a.showBars, a.sys.In = true, never{}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := talk{a}.Consent(ctx, stage.Estimate{Time: 27 * time.Hour})
	if code := exitCode(err); code != exitCancelled {
		t.Errorf("%v: exit code %d, want %d", err, code, exitCancelled)
	}
}
