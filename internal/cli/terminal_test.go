package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/report"
)

// onTerminal is what people see of a result, 80 columns wide.
func onTerminal(t *testing.T, print func(a *app) error) string {
	t.Helper()
	var out strings.Builder
	a := newApp(System{Out: &out, Err: &out, Getenv: func(string) string { return "" }})
	a.terminal = true
	if err := print(a); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > defaultColumns {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	return out.String()
}

// golden compares with a file of testdata/terminal; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "terminal", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

// eight are results as those of layer-pruning: a mean of tasks and of MMLU's
// mean, with its 30 subjects.
func eight() (lines []report.Result) {
	result := func(task, metric string, value float64, members ...string) {
		lines = append(lines, report.Result{
			Task: task, Metric: metric, Filter: "none", Value: report.Number(value), StdErr: .0112345, N: 1838, Group: members != nil, Members: members,
		})
	}
	var subjects []string
	for i := range 30 {
		subjects = append(subjects, fmt.Sprintf("mmlu_high_school_government_%d", i))
	}
	result("layer-pruning", "acc", .5678901, "piqa", "winogrande", "mmlu")
	result("mmlu", "acc", .25, subjects...)
	result("piqa", "acc", .7512345)
	result("piqa", "acc_norm", .7612345)
	result("winogrande", "acc", .5)
	for i, s := range subjects {
		result(s, "acc", float64(i)/30)
	}
	return lines
}

// TestMeanLast: what one came for is the last line, apart, and subjects come on request.
func TestMeanLast(t *testing.T) {
	lines := [][]report.Result{eight()}
	golden(t, "eval.txt", onTerminal(t, func(a *app) error { return printResults(a, lines, false) }))
	all := onTerminal(t, func(a *app) error { return printResults(a, lines, true) })
	if n := strings.Count(all, "mmlu_high_school_government"); n != 30 {
		t.Errorf("%d subjects with --all", n)
	}
}

func TestVerdictLast(t *testing.T) {
	var lines []report.Difference
	for _, r := range eight() {
		lines = append(lines, report.Difference{
			Task: r.Task, Metric: r.Metric, A: r.Value, B: r.Value / 2, Difference: -r.Value / 2, Low: -r.Value, High: -.01, N: r.N, P: .0012, Members: r.Members,
			Sentence: r.Task + " " + r.Metric + ": B is worse than A (0.25 against 0.5, a difference of -0.2500, 95 % interval -0.5000 to -0.0100, 1838 documents).",
		})
	}
	golden(t, "compare.txt", onTerminal(t, func(a *app) error { return printDifferences(a, lines, false) }))
}

// TestScoresFit: every metric's scores within 80 columns.
func TestScoresFit(t *testing.T) {
	var rankings []report.Line
	for _, m := range strings.Fields("reverse reverse-keep-last random magnitude-l1 magnitude-l2 bi bi-global relative cka ppl kl greedy-ppl") {
		rankings = append(rankings, report.Ranking{Metric: m, Direction: "lowest", Scores: []report.Number{.123456, 12345.6, 1e-7}, Order: []int{2, 0, 1}})
	}
	rankings = append(rankings, report.Blocks{Metric: "angular", Block: 2, Scores: []report.Number{.5, .25}, Order: []int{1, 2}, Best: 1})
	golden(t, "score.txt", onTerminal(t, func(a *app) error { return printRankings(a, rankings) }))
}
