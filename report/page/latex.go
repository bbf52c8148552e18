package page

import (
	"fmt"
	"strings"
)

// latex is the table of results for a paper, and those of the tasks and of what was
// published: \input it; packages booktabs and graphicx.
func (v *view) latex() []byte {
	var b strings.Builder
	b.WriteString("% needs \\usepackage{booktabs,graphicx}\n")
	fmt.Fprintf(&b, "%% %s\n", plain(v.Lead))
	for _, c := range v.Commands {
		fmt.Fprintf(&b, "%% %s\n", plain(c))
	}
	if v.Results != nil {
		b.WriteString(v.Results.latex(v.Title))
	}
	for _, s := range v.Sections {
		if s.ID != "tasks" && s.ID != "paper" && s.ID != "losses" {
			continue
		}
		for _, t := range s.Tables {
			b.WriteString(t.latex(s.Title))
		}
	}
	return []byte(b.String())
}

func (t *Table) latex(caption string) string {
	var b strings.Builder
	b.WriteString("\n\\begin{table}\n\\centering\n\\caption{" + tex(caption) + ". " + tex(t.Note) + "}\n\\resizebox{\\linewidth}{!}{%\n\\begin{tabular}{")
	for _, c := range t.Columns {
		b.WriteString(map[bool]string{true: "r", false: "l"}[c.Number])
	}
	b.WriteString("}\n\\toprule\n")
	for i, c := range t.Columns {
		b.WriteString(map[bool]string{true: " & ", false: ""}[i > 0] + tex(c.Name))
	}
	b.WriteString(" \\\\\n\\midrule\n")
	for i, row := range t.Rows {
		if i > 0 && row[0].First {
			b.WriteString("\\midrule\n")
		}
		for j, c := range row {
			s := tex(c.Text)
			if c.Bold {
				s = "\\textbf{" + s + "}"
			}
			b.WriteString(map[bool]string{true: " & ", false: ""}[j > 0] + s)
		}
		b.WriteString(" \\\\\n")
	}
	b.WriteString("\\bottomrule\n\\end{tabular}}\n\\end{table}\n")
	return b.String()
}

// tex makes text of what LaTeX would take for commands.
func tex(s string) string {
	return strings.NewReplacer(
		"\\", "\\textbackslash{}", "{", "\\{", "}", "\\}", "$", "\\$", "&", "\\&", "#", "\\#", "%", "\\%", "_", "\\_",
		"^", "\\textasciicircum{}", "~", "\\textasciitilde{}", "<", "\\textless{}", ">", "\\textgreater{}", "|", "\\textbar{}", "\"", "''",
		"−", "$-$", "±", "$\\pm$", "†", "\\textdagger{}", "→", "$\\to$", "–", "--", "“", "``", "”", "''", "…", "\\dots{}", "·", "$\\cdot$",
		"\u00a0", "~", "[", "{[}", "]", "{]}", "`", "\\textasciigrave{}",
	).Replace(plain(s))
}
