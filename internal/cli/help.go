package cli

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Titles of groups of flags, in the order of the help.
const (
	flagsLayers = "A pruning that is run without being written"
	flagsNamed  = "Which layers, by their numbers"
	flagsData   = "Data"
	flagsEngine = "How the model is run"
	flagsTrain  = "What trains"
	flagsSteps  = "Steps"
	flagsLife   = "What is looked at and kept"
	flagsOutput = "Output"
)

// groupAnnotation is where a flag keeps the title of its group.
const groupAnnotation = "coppice_group"

// inGroup adds the flags that a function registers, under a title.
func inGroup(f *pflag.FlagSet, title string, register func(*pflag.FlagSet)) {
	group := pflag.NewFlagSet(title, pflag.ContinueOnError)
	register(group)
	group.VisitAll(func(flag *pflag.Flag) {
		flag.Annotations = map[string][]string{groupAnnotation: {title}}
		f.AddFlag(flag)
	})
}

func groupOf(f *pflag.Flag) string {
	if f.Name == "help" {
		return flagsOutput
	}
	return strings.Join(f.Annotations[groupAnnotation], "")
}

// helpFunc prints the help of a command within the terminal's width.
func (a *app) helpFunc(c *cobra.Command, _ []string) {
	c.InitDefaultHelpFlag()
	_, _ = fmt.Fprint(c.OutOrStdout(), helpText(c, min(a.columns(), 100)))
}

func helpText(c *cobra.Command, columns int) string {
	var b strings.Builder
	long := c.Long
	if long == "" {
		long = c.Short
	}
	b.WriteString(wrapText(long, columns) + "\n\nUsage:\n" + wrap("  "+c.UseLine(), columns, "      ") + "\n")
	if c.HasAvailableSubCommands() {
		b.WriteString("\nAvailable Commands:\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() || sub.Name() == "help" {
				b.WriteString(described("  "+sub.Name(), sub.Short, 16, columns))
			}
		}
	}
	if c.Example != "" {
		b.WriteString("\nExamples:\n")
		for line := range strings.Lines(c.Example + "\n") {
			b.WriteString(example(strings.TrimRight(line, "\n"), columns) + "\n")
		}
	}
	flagsHelp(&b, c, columns)
	if c.HasAvailableSubCommands() {
		b.WriteString("\n`" + c.CommandPath() + " COMMAND --help` says more about a command.\n")
	}
	return b.String()
}

// example breaks a long command line as a shell reads it, flags beside their values.
func example(line string, columns int) string {
	const joined = "\u00a0"
	line = regexp.MustCompile(`( --\S+| >) ([^- ])`).ReplaceAllString(line, "${1}"+joined+"${2}")
	return strings.ReplaceAll(strings.ReplaceAll(wrap(line, columns-2, "      "), "\n", " \\\n"), joined, " ")
}

// flagsHelp lists the flags, a command's own first.
func flagsHelp(b *strings.Builder, c *cobra.Command, columns int) {
	for _, title := range []string{"", flagsTrain, flagsSteps, flagsLife, flagsNamed, flagsLayers, flagsData, flagsEngine, flagsOutput} {
		var lines strings.Builder
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if groupOf(f) == title && !f.Hidden {
				lines.WriteString(flagHelp(f, columns))
			}
		})
		if lines.Len() > 0 {
			if title == "" {
				title = "Flags"
			}
			b.WriteString("\n" + title + ":\n" + lines.String())
		}
	}
}

// flagHelp is one flag and what it does.
func flagHelp(f *pflag.Flag, columns int) string {
	name, usage := pflag.UnquoteUsage(f)
	head := "      --" + f.Name
	if f.Shorthand != "" {
		head = "  -" + f.Shorthand + ", --" + f.Name
	}
	if name != "" {
		head += " " + name
	}
	if shownDefault(f) && !strings.Contains(usage, "(default") {
		usage += " (default " + f.DefValue + ")"
	}
	return described(head, usage, 28, columns)
}

// shownDefault says that a default is worth a word.
func shownDefault(f *pflag.Flag) bool {
	switch f.DefValue {
	case "", "0", "[]":
		return false
	}
	return f.DefValue != "false" || f.Value.Type() != "bool"
}

// described is a word and what it means beside it, or below where the word is long.
func described(head, text string, indent, columns int) string {
	pad := strings.Repeat(" ", indent)
	if n := utf8.RuneCountInString(head); n+2 <= indent {
		head += pad[n:]
	} else {
		head += "\n" + pad
	}
	return head + strings.ReplaceAll(wrap(text, columns-indent, ""), "\n", "\n"+pad) + "\n"
}

// wrapText wraps paragraphs anew, and rows of lists, which begin with blanks, each
// below its own text.
func wrapText(text string, columns int) string {
	var out, paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			out = append(out, wrap(strings.Join(paragraph, " "), columns, ""))
			paragraph = nil
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if line != "" && line[0] != ' ' {
			paragraph = append(paragraph, line)
			continue
		}
		flush()
		out = append(out, wrapRow(line, columns))
	}
	flush()
	return strings.Join(out, "\n")
}

// wrapRow wraps a row of a list: a word, blanks, and what it means.
func wrapRow(line string, columns int) string {
	if utf8.RuneCountInString(line) <= columns {
		return line
	}
	indent := len(line) - len(strings.TrimLeft(line, " "))
	if at := strings.LastIndex(line[:min(len(line), 30)], "  "); at >= indent {
		indent = at + 2
	}
	return line[:indent] + strings.ReplaceAll(wrap(line[indent:], columns-indent, ""), "\n", "\n"+strings.Repeat(" ", indent))
}
