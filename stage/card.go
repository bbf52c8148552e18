package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/coppice-ml/coppice/report"
)

const cardFile = "README.md"

// The results in a card stand between these, so that a later push replaces them.
const (
	resultsBegin = "<!-- coppice: results -->\n"
	resultsEnd   = "<!-- coppice: end of results -->\n"
)

// pushCard is the card at path, or a plain one where there is none, with a table
// of the results.
func pushCard(path, id string, results []string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	card := string(raw)
	if strings.TrimSpace(card) == "" {
		card = fmt.Sprintf("---\ntags:\n- coppice\n---\n\n# %s\n", id)
	}
	var all []report.Measured
	for _, r := range results {
		found, err := report.ReadMeasured(r)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return []byte(card), nil
	}
	return []byte(withResults(card, resultsTable(all))), nil
}

// withResults puts a table where the last push put it, or at the end.
func withResults(card, table string) string {
	section := resultsBegin + table + resultsEnd
	before, rest, found := strings.Cut(card, resultsBegin)
	if _, after, closed := strings.Cut(rest, resultsEnd); found && closed {
		return before + section + after
	}
	return strings.TrimRight(card, "\n") + "\n\n" + section
}

// resultsTable is a section of Markdown.
func resultsTable(all []report.Measured) string {
	var b strings.Builder
	b.WriteString("## Results\n\n| task | metric | value | standard error | n |\n|---|---|---|---|---|\n")
	limited := false
	for _, m := range all {
		n := ""
		if m.N > 0 {
			n = fmt.Sprint(m.N)
		}
		if m.Limited {
			n += " (part)"
			limited = true
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", cell(m.Task), cell(m.Metric), m.Value, m.StdErr, n)
	}
	b.WriteString("\n")
	if limited {
		b.WriteString("Where n says \"part\", only the first documents of the task were used: such numbers cannot be compared with others.\n\n")
	}
	return b.String()
}

// cell keeps a text inside its cell.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s)
}
