package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/internal/demo"
)

type demoOptions struct {
	out   string
	force bool
}

func newDemo(a *app) *cobra.Command {
	var o demoOptions
	c := &cobra.Command{
		Use:   "demo [--out DIR]",
		Short: "Walk the whole way on the small model that ships with it",
		Long: `Walk the whole way on a small trained model, with the other commands: inspect,
score, curve, prune, perplexity and words before and after. Every command line is
printed before it runs, with the reason. The model knows little beside the text
that it is shown on: its numbers show the way, not what real models lose.`,
		Example: `  coppice demo
  coppice demo --out ./demo`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c, a) },
	}
	a.outputFlags(c)
	c.Flags().StringVar(&o.out, "out", "", "directory to leave the models in (default: a temporary one, removed)")
	c.Flags().BoolVar(&o.force, "force", false, "replace the models of an earlier demo")
	return c
}

func (o demoOptions) run(c *cobra.Command, a *app) error {
	dir, err := o.place()
	if err != nil {
		return err
	}
	if o.out == "" {
		defer os.RemoveAll(dir)
	}
	big, small := filepath.Join(dir, "model"), filepath.Join(dir, "pruned")
	if err := os.RemoveAll(big); err != nil {
		return err
	}
	if err := demo.Make(big); err != nil {
		return o.left(err)
	}
	text := filepath.Join(big, demo.TextFile)
	if !a.json {
		if err := a.printf("%s\n", demo.Notice); err != nil {
			return err
		}
	}
	for _, step := range walk(big, small, text) {
		if err := o.step(c, a, step); err != nil {
			return o.left(err)
		}
	}
	if a.json {
		return nil
	}
	if o.out == "" {
		return a.printf("\nThe models are removed again; `coppice demo --out DIR` keeps them. `coppice heal --help` says how to train\nwhat pruning left, and README.md what to do with a model of your own.\n")
	}
	return a.printf("\nThe models are in %s and %s.\n", big, small)
}

// left says of a full disk what the demo has left there.
func (o demoOptions) left(err error) error {
	if o.out == "" || !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EFBIG) {
		return err
	}
	return failed("%w", err).withHint("free some space, or name another --out; what the demo has made so far is in %s, and --force replaces it", o.out)
}

// demoStep is a command line, and why it is run.
type demoStep struct {
	why  string
	line []string
}

// walk is the whole way.
func walk(big, small, text string) []demoStep {
	const words = "Once upon a time"
	return []demoStep{
		{"What it is.", []string{"inspect", big}},
		{"Which layer matters least? bi looks at what each one changes, ppl tries without it.", []string{"score", big, "--metric", "bi,ppl", "--data", text, "--length", "64"}},
		{"What is lost as more of them go, in the order of bi?", []string{"curve", big, "--order", "bi", "--data", text, "--length", "64"}},
		{"The first of them goes: a quarter of the layers.", []string{"prune", big, "--by", "bi", "--data", text, "--length", "64", "--out", small, "--force"}},
		{"Perplexity before and after.", []string{"ppl", big, "--data", text, "--length", "128"}},
		{"", []string{"ppl", small, "--data", text, "--length", "128"}},
		{"In words: before and after. What pruning costs, training has to bring back.", []string{"generate", big, "--prompt", words, "--max-tokens", "24"}},
		{"", []string{"generate", small, "--prompt", words, "--max-tokens", "24"}},
	}
}

// place is the directory the demo works in.
func (o demoOptions) place() (string, error) {
	if o.out == "" {
		return os.MkdirTemp("", "coppice-demo-")
	}
	entries, err := os.ReadDir(o.out)
	switch {
	case err != nil || len(entries) == 0:
		return o.out, os.MkdirAll(o.out, 0o777)
	case !o.force:
		return "", failed("%s exists and is not empty", o.out).withHint("name another --out, or use --force over an earlier demo's directory")
	}
	// What --force removes has to be an earlier demo's, not somebody's model.
	if text, err := os.ReadFile(filepath.Join(o.out, "model", demo.TextFile)); err != nil || string(text) != demo.Text {
		return "", failed("%s is not the directory of an earlier demo", o.out).withHint("name another --out")
	}
	return o.out, nil
}

// step runs one command line in this process.
func (o demoOptions) step(c *cobra.Command, a *app, s demoStep) error {
	line := s.line
	if a.json {
		line = append(line, "--json")
	} else if err := a.printf("%s$ coppice %s\n", reason(s.why), shellLine(line)); err != nil {
		return err
	}
	inner := newApp(a.sys)
	defer inner.stopProgress()
	if err := execute(c.Context(), inner, line); err != nil {
		return fmt.Errorf("coppice %s: %w", line[0], err)
	}
	return nil
}

// reason is a comment before a command line, apart from what stands above.
func reason(why string) string {
	if why == "" {
		return ""
	}
	return "\n# " + why + "\n"
}

// shellLine can be pasted into a shell.
func shellLine(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if strings.ContainsAny(w, " '\"\\$`*?&|;<>()#~") || w == "" {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
