package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
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
func pushCard(path, id string, results []result) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	card := string(raw)
	if strings.TrimSpace(card) == "" {
		card = fmt.Sprintf("---\ntags:\n- coppice\n---\n\n# %s\n", id)
	}
	if len(results) == 0 {
		return []byte(card), nil
	}
	return []byte(withResults(card, resultsTable(results))), nil
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

// resultsTable is a section of Markdown. Where there are results of the model before
// it was pruned, they have a column.
func resultsTable(all []result) string {
	var b strings.Builder
	compared := slices.ContainsFunc(all, func(r result) bool { return r.before != "" })
	if compared {
		b.WriteString("## Results\n\n| task | metric | before | after | standard error | n |\n|---|---|---|---|---|---|\n")
	} else {
		b.WriteString("## Results\n\n| task | metric | value | standard error | n |\n|---|---|---|---|---|\n")
	}
	limited := false
	for _, r := range all {
		n := ""
		if r.N > 0 {
			n = fmt.Sprint(r.N)
		}
		if r.Limited {
			n += " (part)"
			limited = true
		}
		before := ""
		if compared {
			before = cell(r.before) + " | "
		}
		fmt.Fprintf(&b, "| %s | %s | %s%s | %s | %s |\n", cell(r.Task), cell(r.Metric), before, digits(r.Value), digits(r.StdErr), n)
	}
	b.WriteString("\n")
	var by []string
	for _, r := range all {
		if r.by != "" && !slices.Contains(by, r.by) {
			by = append(by, r.by)
		}
	}
	if len(by) > 0 {
		fmt.Fprintf(&b, "Measured with %s.\n\n", strings.Join(by, "; "))
	}
	if limited {
		b.WriteString("Where n says \"part\", only the first documents of the task were used: such numbers cannot be compared with others.\n\n")
	}
	return b.String()
}

// digits rounds to what a table needs: four of them say more than is known.
func digits(n report.Number) string {
	if v := float64(n); n.Finite() && math.Abs(v) < 1000 {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	return n.String()
}

// cell keeps a text inside its cell.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s)
}
