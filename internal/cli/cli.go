// Package cli is the command line: flags, exit codes, and results as text or
// JSON lines. There is one file a command: its flags fill in a stage, whose results
// it prints.
//
// What can be asked without a command line is package stage's: nothing here
// computes, and nothing here decides what a result means.
package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/nearest"
	"github.com/coppice-ml/coppice/report"
)

// System is what a command line touches of the world beside files.
type System struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	// Hub, which may be nil, adjusts the client of the hub: tests make its
	// pauses short.
	Hub func(*hub.Client)
}

// Main runs one command line and returns its exit code. SIGINT and SIGTERM
// cancel the command, which then cleans up; a second one ends the process.
func Main(args []string, sys System) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process as it stands, whatever it is doing.
	defer context.AfterFunc(ctx, exitOnSignal)()
	defer ignoreBrokenPipes()()

	a := newApp(sys)
	err := execute(ctx, a, args)
	a.stopProgress()
	if err == nil {
		// Help is printed by cobra, which does not look.
		err = a.results.failed
	}
	if err != nil && ctx.Err() != nil {
		err = cancelled(err)
	}
	code := exitCode(err)
	if err != nil && code != exitOK {
		a.json = a.json || asksForJSON(args)
		a.fail(err, code)
	}
	return code
}

// exitOnSignal waits for the signal after the one that cancelled.
func exitOnSignal() {
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	<-again
	os.Exit(exitCancelled)
}

// execute runs one command line.
func execute(ctx context.Context, a *app, args []string) error {
	if len(args) > 0 && args[0] == "--version" {
		args = append([]string{"version"}, args[1:]...)
	}
	root := newRoot(a, args...)
	if err := checkCommand(root, args); err != nil {
		return err
	}
	root.SetArgs(args)
	return explained(root.ExecuteContext(ctx))
}

// checkCommand wants a command first. Left to cobra, a flag in its place would
// hide that the command is unknown.
func checkCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return nil
	}
	if strings.HasPrefix(args[0], "-") {
		return usage("%s before the command", args[0]).withHint("flags follow the command: coppice COMMAND MODEL %s …", args[0])
	}
	if args[0] == "help" || slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == args[0] }) {
		return nil
	}
	return unknownCommand(root, args)
}

// asksForJSON finds --json on a command line whose flags could not be parsed.
func asksForJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// command makes one of the program's commands.
type command struct {
	name string
	make func(*app) *cobra.Command
}

func commands() []command {
	return []command{
		{"inspect", newInspect}, {"tokenize", newTokenize}, {"logprobs", newLogProbs}, {"ppl", newPPL}, {"generate", newGenerate},
		{"score", newScore}, {"eval", newEval}, {"compare", newCompare}, {"curve", newCurve}, {"variants", newVariants}, {"prune", newPrune},
		{"init", newInit}, {"heal", newHeal}, {"merge-adapter", newMergeAdapter}, {"export", newExport}, {"run", newRun}, {"report", newReport},
		{"pull", newPull}, {"push", newPush}, {"selfcheck", newSelfcheck},
		{"bench", newBench}, {"doctor", newDoctor}, {"demo", newDemo}, {"sapling", newSapling},
		{"version", newVersion}, {"completion", newCompletion},
	}
}

// newRoot makes the command that a command line begins with, and all of them where
// it begins with none: hundreds of flags take longer than the program's start.
func newRoot(a *app, args ...string) *cobra.Command {
	root := blankRoot(a)
	for _, c := range commands() {
		if len(args) > 0 && c.name == args[0] {
			root.AddCommand(c.make(a))
		}
	}
	if !root.HasSubCommands() {
		for _, c := range commands() {
			root.AddCommand(c.make(a))
		}
	}
	completeValues(root)
	return root
}

func blankRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "coppice COMMAND",
		Short: "Cut layers out of language models, and see what is lost",
		Long: `Coppice cuts whole layers out of Hugging Face language models: it scores the
layers, drops those that matter least, and measures what was lost.

MODEL is a checkpoint directory, or the name of a model on the Hugging Face hub,
org/name[@revision], which is pulled into the hub's cache. Layers are counted
from 0, and lists of them are written 3,7,24-31, both ends included.

Exit codes: 0 ok, 1 failed, 3 partial (the same command goes on), 4 quality gate
not met, 64 usage, 130 cancelled.`,
		Example: `  coppice inspect ./model
  coppice score ./model --metric bi --data text.txt
  coppice prune ./model --out smaller
  coppice ppl smaller --data text.txt`,
		Args:              unknownCommand,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(a.sys.In)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(newHelp())
	root.SetHelpFunc(a.helpFunc)
	return root
}

// newHelp is cobra's help command, with errors of our kind.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Help about a command",
		Example: "  coppice help prune",
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return commandNames(c.Root()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			target, rest, err := c.Root().Find(args)
			if err != nil || len(rest) == len(args) && len(args) > 0 {
				return unknownCommand(c.Root(), args)
			}
			if len(rest) > 0 {
				return usage("%s: one command is wanted, not %d arguments: %s", c.Name(), len(args), strings.Join(args, " ")).withHint("%s", useLine(c))
			}
			target.InitDefaultHelpFlag()
			return target.Help()
		},
	}
}

func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if plannedCommands()[args[0]] {
		return usage("unknown command %q", args[0]).withHint("this version has no `%s` yet; `coppice help` lists the commands", args[0])
	}
	return usage("unknown command %q", args[0]).withHint("%s `coppice help` lists the commands", nearest.DidYouMean(args[0], commandNames(root)))
}

func commandNames(root *cobra.Command) (names []string) {
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			names = append(names, c.Name())
		}
	}
	return names
}

// plannedCommands are asked for by people who have read about them.
func plannedCommands() map[string]bool {
	return map[string]bool{"serve": true}
}

// modelArg wants exactly the MODEL argument.
func modelArg(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usage("%s: which model?", c.Name()).withHint("%s", useLine(c))
	case len(args) > 1:
		return usage("%s: one MODEL is wanted, not %d arguments: %s", c.Name(), len(args), strings.Join(args, " ")).withHint("%s", useLine(c))
	}
	if args[0] == "" {
		return usage("%s: the name of the model is empty", c.Name()).withHint("%s", useLine(c))
	}
	return nil
}

// oneArg wants one argument and says what it is.
func oneArg(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage("%s: one argument is wanted, %s, not %d", c.Name(), what, len(args)).withHint("%s", useLine(c))
		}
		return nil
	}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no argument: %s", c.Name(), strings.Join(args, " ")).withHint("%s", useLine(c))
	}
	return nil
}

func useLine(c *cobra.Command) string {
	return "usage: " + c.UseLine() + "; `" + c.CommandPath() + " --help` says more"
}

// fail prints the error that ends the command.
func (a *app) fail(err error, code int) {
	message, hint := describe(err)
	if a.json {
		_ = report.Write(a.stderr, report.Error{Code: code, Message: message, Hint: hint})
		return
	}
	text := "coppice: " + strings.ReplaceAll(message, "\n", "\n  ") + "\n"
	if hint != "" {
		text += "hint: " + hint + "\n"
	}
	_, _ = io.WriteString(a.stderr, text)
}
