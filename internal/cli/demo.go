package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

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
		Short: "Walk the whole way on a small model made on the spot",
		Long: `Make a small model and walk the whole way with the other commands: inspect,
score, prune, perplexity before and after, and a word from the smaller model.
Every command line is printed before it runs. The model is untrained: its
numbers show the mechanics, not quality.`,
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
		return err
	}
	text := filepath.Join(big, demo.TextFile)
	if !a.json {
		if err := a.printf("%s\n", demo.Notice); err != nil {
			return err
		}
	}
	for _, line := range [][]string{
		{"inspect", big},
		{"score", big, "--metric", "reverse,magnitude-l1,bi,relative", "--data", text, "--length", "64"},
		{"ppl", big, "--data", text, "--length", "128"},
		{"prune", big, "--out", small, "--force"},
		{"ppl", small, "--data", text, "--length", "128"},
		{"generate", small, "--prompt", "The coppice", "--max-tokens", "24"},
	} {
		if err := o.step(c, a, line); err != nil {
			return err
		}
	}
	if o.out != "" && !a.json {
		return a.printf("\nthe models are in %s and %s\n", big, small)
	}
	return nil
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
func (o demoOptions) step(c *cobra.Command, a *app, line []string) error {
	if a.json {
		line = append(line, "--json")
	} else if err := a.printf("\n$ coppice %s\n", shellLine(line)); err != nil {
		return err
	}
	inner := newApp(a.sys)
	defer inner.stopProgress()
	if err := execute(c.Context(), inner, line); err != nil {
		return fmt.Errorf("coppice %s: %w", line[0], err)
	}
	return nil
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
