package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

// env is what stages touch of the world.
func (a *app) env() stage.Env {
	return stage.Env{Getenv: a.sys.Getenv, Cache: stage.CacheDir(a.sys.Getenv), Version: version().Version, Hub: a.hubClient, Talk: talk{a}}
}

// hubClient is the client that the environment describes.
func (a *app) hubClient() (*hub.Client, error) {
	c, err := hub.FromEnv(a.sys.Getenv)
	if err != nil {
		return nil, err
	}
	c.UserAgent = "coppice/" + version().Version
	c.Note = func(text string) { a.note("%s", text) }
	c.Trace = func(text string) { a.detail("%s", text) }
	if a.sys.Hub != nil {
		a.sys.Hub(c)
	}
	return c, nil
}

// flagName is how a stage's field is written on the command line.
func flagName(field string) string { return "--" + strings.ReplaceAll(field, "_", "-") }

// talk is how stages speak on a command line.
type talk struct{ a *app }

func (t talk) Note(format string, args ...any) { t.a.note(stage.Named(format, flagName), args...) }

func (t talk) Detail(format string, args ...any) { t.a.detail(stage.Named(format, flagName), args...) }

func (t talk) Warn(format string, args ...any) { t.a.warn(stage.Named(format, flagName), args...) }

func (t talk) Progress(what string, unit stage.Unit) (tell func(done, total int64), end func()) {
	tell = t.a.newProgress(what, unit == stage.Bytes)
	if tell == nil { // nobody looks
		tell = func(int64, int64) {}
	}
	return tell, t.a.stopProgress
}

// askAbove is the estimate from which on work wants --yes.
const askAbove = time.Hour

// Consent says how long work takes and wants --yes, or an answer on a terminal, for
// what takes longer than an hour.
func (t talk) Consent(ctx context.Context, e stage.Estimate) error {
	t.a.note("this takes about %s", report.Roughly(e.Time))
	if e.Time < askAbove || t.a.yes {
		return nil
	}
	if t.a.showBars {
		yes, err := t.a.ask(ctx, e.Time)
		if yes || err != nil {
			return err
		}
	}
	return usage("this takes about %s", report.Roughly(e.Time)).withHint("pass --yes to go on, or ask for less: fewer sequences, layers protected, fewer --rounds")
}

// ask wants a yes on the terminal; a signal ends the waiting for it.
func (a *app) ask(ctx context.Context, estimate time.Duration) (yes bool, err error) {
	_, _ = fmt.Fprintf(a.stderr, "go on for about %s? [y/N] ", report.Roughly(estimate))
	answers := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(a.sys.In).ReadString('\n')
		if err != nil && err != io.EOF {
			line = ""
		}
		answers <- line
	}()
	select {
	case <-ctx.Done():
		_, _ = fmt.Fprintln(a.stderr)
		return false, context.Cause(ctx)
	case line := <-answers:
		answer := strings.ToLower(strings.TrimSpace(line))
		return answer == "y" || answer == "yes", nil
	}
}
