package cli

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// TestHelpFits: every help within 80 columns, with examples, and its flags grouped.
func TestHelpFits(t *testing.T) {
	root := allCommands()
	for _, c := range append(root.Commands(), root) {
		t.Run(c.Name(), func(t *testing.T) {
			c.InitDefaultHelpFlag()
			help := helpText(c, defaultColumns)
			for line := range strings.Lines(help) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > defaultColumns {
					t.Errorf("%d columns: %s", n, line)
				}
				if strings.Count(line, "(default") > 1 {
					t.Errorf("two defaults: %s", line)
				}
			}
			if !strings.Contains(help, "\nExamples:\n") {
				t.Error("no examples")
			}
		})
	}
	compare, _, err := root.Find([]string{"compare"})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "help-compare.txt", helpText(compare, defaultColumns))
}

// TestCompletion: values of flags, also the last of a list.
func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		command, flag, typed string
		want                 []string
	}{
		{"score", "metric", "bi", []string{"bi", "bi-global"}},
		{"score", "metric", "reverse,ang", []string{"reverse,angular"}},
		{"prune", "by", "cka", []string{"cka"}},
		{"eval", "dtype", "b", []string{"bfloat16"}},
		{"eval", "tasks", "piqa,open", []string{"piqa,openbookqa"}},
		{"curve", "tasks", "layer", []string{"layer-pruning"}},
		{"bench", "shape", "tiny", []string{"tinyllama-1.1b"}},
		{"generate", "chat-template", "vic", []string{"vicuna"}},
		{"heal", "keep", "", []string{"best", "last"}},
		{"heal", "method", "p", []string{"partial"}},
		{"logprobs", "add-bos", "t", []string{"true"}},
	} {
		found, _, err := allCommands().Find([]string{c.command})
		if err != nil {
			t.Fatal(err)
		}
		complete, ok := found.GetFlagCompletionFunc(c.flag)
		if !ok {
			t.Errorf("%s --%s is not completed", c.command, c.flag)
			continue
		}
		got, directive := complete(found, nil, c.typed)
		if !slices.Equal(got, c.want) || directive != cobra.ShellCompDirectiveNoFileComp {
			t.Errorf("%s --%s %s: %v, %v", c.command, c.flag, c.typed, got, directive)
		}
	}
}
