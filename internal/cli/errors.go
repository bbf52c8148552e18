package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coppice-ml/coppice/internal/nearest"
	"github.com/coppice-ml/coppice/run"
	"github.com/coppice-ml/coppice/stage"
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

// exitCode maps every error to the code that scripts see.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, stage.ErrPartial):
		return exitPartial
	case errors.Is(err, stage.ErrCancelled), errors.Is(err, context.Canceled):
		return exitCancelled
	case errors.Is(err, stage.ErrUsage):
		return exitUsage
	case errors.Is(err, stage.ErrGate):
		return exitGate
	case errors.Is(err, errClosedOutput):
		return exitOK // whoever read has seen enough, as in `coppice … | head`
	}
	return exitFailed
}

// cancelled is the error of a command that a signal ended: exit code 3 where
// something was kept that the same command goes on from, else 130.
func cancelled(err error) error {
	if errors.Is(err, stage.ErrPartial) {
		return err
	}
	return stage.ErrCancelled
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
	h.hint = strings.TrimSpace(fmt.Sprintf(format, args...))
	return h
}

// usage is an error of the command line itself.
func usage(format string, args ...any) *hinted {
	return &hinted{err: fmt.Errorf(format, args...), kind: stage.ErrUsage}
}

// failed is an error of anything else.
func failed(format string, args ...any) *hinted {
	return &hinted{err: fmt.Errorf(format, args...)}
}

// explained adds hints to errors of other packages that know nothing of flags.
func explained(err error) error {
	var h *hinted
	if errors.As(err, &h) {
		return err
	}
	return stage.Explain(err)
}

// describe is what an error says and its hint, fields written as flags.
func describe(err error) (message, hint string) {
	var h *hinted
	if errors.As(err, &h) {
		return err.Error(), h.hint
	}
	message, hint = stage.Describe(err, flagName)
	if errors.As(err, new(*run.RefusedError)) {
		hint = "" // each of its problems has one
	}
	return message, hint
}

// invalidValue says which kind of value a flag wants.
func invalidValue(err *pflag.InvalidValueError) *hinted {
	want, known := map[string]string{
		"int": "a whole number", "int64": "a whole number", "uint64": "a whole number, 0 or more", "float64": "a number, such as 0.25",
		"bool": "true or false", "duration": "a time, such as 10m",
	}[err.GetFlag().Value.Type()]
	if !known {
		return usage("--%s %q: %w", err.GetFlag().Name, err.GetValue(), err.Unwrap())
	}
	return usage("--%s %q: want %s", err.GetFlag().Name, err.GetValue(), want)
}

// trainerFlag is what a flag of the Hugging Face trainer, PEFT or the paper's
// scripts is called here; "" where it is none.
func trainerFlag(name string) string {
	names := map[string]string{
		"learning-rate": "lr", "num-train-epochs": "epochs", "num-epochs": "epochs", "max-steps": "steps", "per-device-train-batch-size": "batch-size", "train-batch-size": "batch-size",
		"gradient-accumulation-steps": "micro-batch-tokens", "micro-batch-size": "micro-batch-tokens", "lr-scheduler-type": "schedule", "output-dir": "out", "save-steps": "save-every",
		"eval-steps": "eval-every", "save-total-limit": "keep-checkpoints", "lora-r": "rank", "lora-alpha": "alpha", "lora-dropout": "dropout", "lora-target-modules": "targets",
		"target-modules": "targets", "use-rslora": "rslora", "cutoff-len": "max-length", "max-seq-length": "max-length", "val-set-size": "validation", "adam-epsilon": "eps",
		"data-path": "data", "dataset": "data", "base-model": "", "early-stopping-patience": "patience",
	}
	return names[strings.ReplaceAll(name, "_", "-")]
}

// flagError explains a flag that could not be parsed.
func flagError(c *cobra.Command, err error) error {
	hint := fmt.Sprintf("`%s --help` lists the flags", c.CommandPath())
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return invalidValue(invalid).withHint("%s", hint)
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usage("%w", err).withHint("%s", hint)
	}
	name := unknown.GetSpecifiedName()
	if len(name) == 1 {
		return usage("unknown flag -%s of %s", name, c.CommandPath()).withHint("%s", hint)
	}
	if ours := trainerFlag(name); ours != "" && c.Flags().Lookup(ours) != nil {
		return usage("unknown flag --%s of %s", name, c.CommandPath()).withHint("did you mean --%s? %s", ours, hint)
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return usage("unknown flag --%s of %s", name, c.CommandPath()).withHint("%s %s", nearest.DidYouMean("--"+name, names), hint)
}
