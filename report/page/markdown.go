package page

import (
	"fmt"
	"strings"
)

// markdown is the report for where there is no browser: a code host, a pull request.
func (v *view) markdown() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", md(v.Title), md(v.Lead))
	if v.Paper != "" {
		fmt.Fprintf(&b, "%s\n\n", md(v.Paper))
	}
	for _, w := range v.Warnings {
		fmt.Fprintf(&b, "- **Mind:** %s\n", md(w))
	}
	if len(v.Warnings) > 0 {
		b.WriteByte('\n')
	}
	for i, t := range v.Tiles {
		if i == 0 {
			b.WriteString("| | before | after | |\n|---|--:|--:|--:|\n")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", md(t.Name), md(t.Before), md(t.After), md(t.Change))
	}
	if v.Machine != "" {
		fmt.Fprintf(&b, "\nSpeed: %s.\n", md(v.Machine))
	}
	for _, c := range v.Commands {
		fmt.Fprintf(&b, "\n```\n%s\n```\n", fenced(c))
	}
	if v.Results != nil {
		fmt.Fprintf(&b, "\n## Results\n\n%s", v.Results.markdown())
	}
	for _, s := range v.Sections {
		if len(s.Tables) == 0 || s.ID == "everything" {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n", md(s.Title))
		if s.Intro != "" {
			fmt.Fprintf(&b, "\n%s\n", md(s.Intro))
		}
		for _, t := range s.Tables {
			if t.Caption != "" {
				fmt.Fprintf(&b, "\n### %s\n", md(t.Caption))
			}
			fmt.Fprintf(&b, "\n%s", t.markdown())
		}
	}
	return []byte(b.String())
}

func (t *Table) markdown() string {
	var b strings.Builder
	for _, c := range t.Columns {
		fmt.Fprintf(&b, "| %s ", md(c.Name))
	}
	b.WriteString("|\n")
	for _, c := range t.Columns {
		b.WriteString(map[bool]string{true: "|--:", false: "|---"}[c.Number])
	}
	b.WriteString("|\n")
	for _, row := range t.Rows {
		for _, c := range row {
			text := md(c.Text)
			if c.Bold {
				text = "**" + text + "**"
			}
			fmt.Fprintf(&b, "| %s ", text)
		}
		b.WriteString("|\n")
	}
	if t.Note != "" {
		fmt.Fprintf(&b, "\n%s\n", md(t.Note))
	}
	return b.String()
}

// md makes text of Markdown, and of the HTML and mathematics that it may hold.
func md(s string) string {
	var b strings.Builder
	for _, r := range plain(s) {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case strings.ContainsRune("\\`*_{}[]#|~$!@:", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// fenced keeps a line within its fence.
func fenced(s string) string { return strings.ReplaceAll(plain(s), "```", "` ` `") }
