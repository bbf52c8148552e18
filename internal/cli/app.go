package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/coppice-ml/coppice/report"
)

// app is what the commands of one command line share: where results, notes and
// progress go. It is used by one goroutine, progress apart.
type app struct {
	sys     System
	stdout  io.Writer // results
	results *resultWriter
	stderr  io.Writer // notes, warnings, errors

	json, quiet, verbose bool
	yes                  bool // to long work

	terminal bool     // stdout is one: aligned tables
	console  *console // stderr itself
	progress *progress
	showBars bool // stderr is a terminal
}

func newApp(sys System) *app {
	a := &app{sys: sys, terminal: isTerminal(sys.Out), showBars: isTerminal(sys.Err)}
	a.results = &resultWriter{a: a, w: sys.Out}
	a.stdout = a.results
	a.console = &console{w: sys.Err}
	a.stderr = &noteWriter{a: a, w: a.console}
	return a
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// errClosedOutput: nobody reads stdout any more.
var errClosedOutput = errors.New("standard output is closed")

// resultWriter is stdout: it makes way for itself when a progress bar is drawn,
// and tells a closed pipe from other failures.
type resultWriter struct {
	a      *app
	w      io.Writer
	failed error // the first failure, a closed pipe apart
}

func (r *resultWriter) Write(p []byte) (int, error) {
	r.a.progress.clear()
	n, err := r.w.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		return n, errClosedOutput
	}
	if err == nil {
		return n, nil
	}
	// Hints about disks and --out are not about this.
	err = failed("write standard output: %w", err)
	if r.failed == nil {
		r.failed = err
	}
	return n, err
}

type noteWriter struct {
	a *app
	w io.Writer
}

func (n *noteWriter) Write(p []byte) (int, error) {
	n.a.progress.clear()
	return n.w.Write(p)
}

// ignoreBrokenPipes makes writes to a closed pipe fail instead of ending the
// process, so that commands clean up. The function returned undoes it.
func ignoreBrokenPipes() (restore func()) {
	if runtime.GOOS == "windows" {
		return func() {}
	}
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGPIPE)
	return func() { signal.Stop(caught) }
}

// line prints a result as JSON.
func (a *app) line(l report.Line) error { return report.Write(a.stdout, l) }

// lines prints results as JSON.
func (a *app) lines(ls []report.Line) error {
	for _, l := range ls {
		if err := a.line(l); err != nil {
			return err
		}
	}
	return nil
}

// table prints a result for people, or for programs that read columns.
func (a *app) table(t *report.Table) error {
	if a.terminal {
		return t.WriteAligned(a.stdout)
	}
	return t.WriteTSV(a.stdout)
}

// tables prints a result whose columns, the first apart, belong together so many at a
// time: for people as several tables that are no wider than the terminal.
func (a *app) tables(t *report.Table, together int) error {
	if !a.terminal {
		return a.table(t)
	}
	for i, part := range t.Fold(a.columns(), together) {
		if i > 0 {
			if err := a.printf("\n"); err != nil {
				return err
			}
		}
		if err := part.WriteAligned(a.stdout); err != nil {
			return err
		}
	}
	return nil
}

// wrote says what was written where, to people on stderr: it is no result of theirs.
func (a *app) wrote(w *report.Written) error {
	if a.json {
		return a.line(w)
	}
	a.note("wrote %s (%s)", w.Path, report.FormatBytes(w.Bytes))
	return nil
}

func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.stdout, format, args...)
	return err
}

// note tells people what happens; --quiet does not hear it, nor do programs.
func (a *app) note(format string, args ...any) {
	if !a.quiet && !a.json {
		_, _ = fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

// detail is a note for --verbose.
func (a *app) detail(format string, args ...any) {
	switch {
	case a.verbose && a.json:
		_ = report.Write(a.stderr, report.Note{Message: fmt.Sprintf(format, args...)})
	case a.verbose:
		a.note(format, args...)
	}
}

// warn says something a result must be read with.
func (a *app) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if a.json {
		_ = report.Write(a.stderr, report.Warning{Message: text})
		return
	}
	_, _ = fmt.Fprintf(a.stderr, "coppice: warning: %s\n", text)
}

// outputFlags are common to all commands that print a result.
func (a *app) outputFlags(c *cobra.Command) {
	inGroup(c.Flags(), flagsOutput, func(f *pflag.FlagSet) {
		f.BoolVar(&a.json, "json", false, "print JSON lines")
		f.BoolVar(&a.quiet, "quiet", false, "no progress and no notes, only results, warnings and errors")
	})
}

// workFlags are common to commands that take their time.
func (a *app) workFlags(c *cobra.Command) {
	a.outputFlags(c)
	inGroup(c.Flags(), flagsOutput, func(f *pflag.FlagSet) {
		f.BoolVarP(&a.verbose, "verbose", "v", false, "say more about what is done, on stderr")
	})
	exclusive(c, "quiet", "verbose")
}
