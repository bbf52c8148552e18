package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestExamples: every command has examples, and each is a command line that its
// flags accept.
func TestExamples(t *testing.T) {
	root := allCommands()
	for _, c := range append(root.Commands(), root) {
		t.Run(c.Name(), func(t *testing.T) {
			if c.Example == "" {
				t.Fatal("no example")
			}
			for line := range strings.Lines(c.Example) {
				if !strings.HasPrefix(line, "  ") {
					t.Errorf("%q does not begin with two spaces", line)
				}
				_, command, _ := strings.Cut(line, "coppice ")
				parseExample(t, c, command)
			}
		})
	}
}

func allCommands() *cobra.Command {
	root := newRoot(newApp(System{Out: &strings.Builder{}, Err: &strings.Builder{}, Getenv: func(string) string { return "" }}))
	root.InitDefaultHelpCmd()
	return root
}

// parseExample has a command of its own take the flags of one line, which must
// be c or, for the root's, any.
func parseExample(t *testing.T, c *cobra.Command, line string) {
	t.Helper()
	line, _, _ = strings.Cut(strings.TrimSpace(line), " > ")
	args := regexp.MustCompile(`"[^"]*"|'[^']*'|\S+`).FindAllString(line, -1)
	for i, a := range args {
		args[i] = strings.Trim(a, `"'`)
	}
	root := allCommands()
	found, rest, err := root.Find(args)
	if err != nil || c.HasParent() && found.Name() != c.Name() {
		t.Fatalf("%q is not a command line of %s: %v", line, c.Name(), err)
	}
	if err := found.ParseFlags(rest); err != nil {
		t.Errorf("%q: %v", line, err)
	}
	if found.Args != nil {
		if err := found.Args(found, found.Flags().Args()); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
}
