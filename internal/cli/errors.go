package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coppice-ml/coppice/chat"
	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/nearest"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Exit codes, a published contract.
const (
	exitOK        = 0
	exitFailed    = 1
	exitPartial   = 3
	exitGate      = 4
	exitUsage     = 64
	exitCancelled = 130
)

// Errors that stand for an exit code.
var (
	errUsage     = errors.New("usage")
	errPartial   = errors.New("partial")
	errGate      = errors.New("quality gate not met")
	errCancelled = errors.New("cancelled")
)

// exitCode maps every error to the code that scripts see.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errPartial):
		return exitPartial
	case errors.Is(err, errCancelled), errors.Is(err, context.Canceled):
		return exitCancelled
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, errGate):
		return exitGate
	case errors.Is(err, errClosedOutput):
		return exitOK // whoever read has seen enough, as in `coppice … | head`
	}
	return exitFailed
}

// cancelled is the error of a command that a signal ended: what can be resumed
// says so.
func cancelled(err error) error {
	if errors.Is(err, errPartial) {
		return err
	}
	var e *hub.Error
	if errors.As(err, &e) && e.Partial {
		return &hinted{err: err, kind: errCancelled, hint: e.Remedy}
	}
	return errCancelled
}

// hinted is an error with a remedy, and perhaps a kind that decides the exit code.
type hinted struct {
	err  error
	kind error // may be nil
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }

func (h *hinted) Unwrap() []error {
	if h.kind == nil {
		return []error{h.err}
	}
	return []error{h.err, h.kind}
}

func (h *hinted) withHint(format string, args ...any) *hinted {
	h.hint = fmt.Sprintf(format, args...)
	return h
}

// usage is an error of the command line itself.
func usage(format string, args ...any) *hinted {
	return &hinted{err: fmt.Errorf(format, args...), kind: errUsage}
}

// failed is an error of anything else.
func failed(format string, args ...any) *hinted {
	return &hinted{err: fmt.Errorf(format, args...)}
}

// withRemedy adds hints to errors of other packages that know nothing of flags.
func withRemedy(err error) error {
	err = hubError(err)
	var h *hinted
	if err == nil || errors.As(err, &h) {
		return err
	}
	for _, r := range []struct {
		is   error
		hint string
	}{
		{checkpoint.ErrExists, "name another --out, or replace it with --force"},
		{checkpoint.ErrInside, "name an --out beside the model's directory"},
		{syscall.EFBIG, "the size of files is limited here (ulimit -f); nothing was left behind"},
		{checkpoint.ErrNoSpace, "free some space, or name an --out on another disk"},
		{syscall.ENOSPC, "free some space, or name an --out on another disk; nothing was left behind"},
		{tokenizer.ErrNone, "pass token ids with --tokens, which need no tokenizer"},
		{chat.ErrNone, "pass --chat-template with a file or a built-in name"},
		{checkpoint.ErrNoConfig, "MODEL is a directory with config.json and weights, safetensors or pytorch_model.bin"},
		{forest.ErrNotFinite, "look for damaged weights with `coppice inspect --deep`, or try --dtype float32"},
		{fs.ErrPermission, "check who may read or write there"},
	} {
		if errors.Is(err, r.is) {
			return &hinted{err: err, hint: r.hint}
		}
	}
	return err
}

// reason is an error of a file without the operation and the path, for texts that
// have named the path.
func reason(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// wantTokenizer is the remedy of commands that take no token ids.
func wantTokenizer(err error) error {
	if errors.Is(err, tokenizer.ErrNone) {
		return failed("%w", err).withHint("put the files of the model's tokenizer beside its config.json")
	}
	return err
}

// flagError explains a flag that could not be parsed.
func flagError(c *cobra.Command, err error) error {
	hint := fmt.Sprintf("`%s --help` lists the flags", c.CommandPath())
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usage("%w", err).withHint("%s", hint)
	}
	name := unknown.GetSpecifiedName()
	if len(name) == 1 {
		return usage("unknown flag -%s of %s", name, c.CommandPath()).withHint("%s", hint)
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return usage("unknown flag --%s of %s", name, c.CommandPath()).withHint("%s %s", didYouMean("--"+name, names), hint)
}

// didYouMean names the known words nearest to one that is not known.
func didYouMean(word string, known []string) string {
	return "did you mean " + strings.Join(alternatives(word, known, 3), ", ") + "?"
}

// alternatives lists up to n known words, the most similar first: one, unless
// others are as near.
func alternatives(word string, known []string, n int) []string {
	sorted := nearest.Sorted(word, known)
	least := nearest.Distance(word, sorted[0])
	for i, k := range sorted {
		if i == n || nearest.Distance(word, k) > least+1 {
			return sorted[:i]
		}
	}
	return sorted
}

// oneOf checks the value of a flag that has a list of valid ones.
func oneOf(flag, value string, valid ...string) error {
	if slices.Contains(valid, value) {
		return nil
	}
	return usage("--%s %q: want one of %s", flag, value, strings.Join(valid, ", ")).withHint("%s", didYouMean(value, valid))
}
