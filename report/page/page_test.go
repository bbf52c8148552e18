package page

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
)

// reported writes the report of a run beside it and returns its files.
func reported(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	out := t.TempDir()
	if _, err := Report(out, dirs...); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range []string{HTMLFile, MarkdownFile, LaTeXFile, CSVFile} {
		raw, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(raw)
	}
	return files
}

func contains(t *testing.T, what, content string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(content, w) {
			t.Errorf("%s lacks %q", what, w)
		}
	}
}

func TestOneTrial(t *testing.T) {
	m := newMaker(t, "guide")
	m.whole(m.trial(), 300, .7)
	files := reported(t, m.done())
	html := files[HTMLFile]
	contains(t, "the page", html, "9 of 12 layers of sapling, 8-10 cut", "healed 13 s on 2,900 rows of rows.json", "points [", "against dense", "recovered", "3 rows of the training data",
		"parameters", "cache per token", "prefill", "decode", "EPYC, 2 threads", "guessing", "coppice run guide", "Losses: sapling", "Scores: bi", "protected", "Every two depths", "Once upon a time", "[37\u00a0%]", "report.tex")
	if n := strings.Count(html, "<svg class=\"chart\""); n != 4 {
		t.Errorf("%d charts, want those of tasks, scores, losses and similarity", n)
	}
	contains(t, "Markdown", files[MarkdownFile], "# guide", "| trial ", "&lt;", "Mind:")
	contains(t, "LaTeX", files[LaTeXFile], "\\toprule", "\\bottomrule", "arc\\_easy")
	rows, err := csv.NewReader(strings.NewReader(files[CSVFile])).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	found := slices.ContainsFunc(rows, func(r []string) bool {
		return r[3] == "healed" && r[4] == "tasks" && r[5] == "mmlu" && r[6] == "acc" && r[10] == "300" && r[11] == "0.25"
	})
	if !found {
		t.Errorf("no row of mmlu, healed, in %d rows", len(rows))
	}
}

// TestNothingIsMarkup: what comes from outside is text in every form.
func TestNothingIsMarkup(t *testing.T) {
	const evil = `<script>alert(1)</script><img src=x onerror=alert(2)> [x](javascript:alert(3)) **b** \input{/etc/passwd} $x$ & " ' ` + "`code`" + ` | {{.Lead}} =1+1 fill:#000000 #D55E00 </svg>`
	m := newMaker(t, evil)
	m.run.About = evil
	m.run.Command = []string{"coppice", "run", evil}
	m.run.Models[0].Name, m.run.Models[0].From = evil, "=cmd|' /C calc'!A0"
	m.run.Models[0].Facts.Architecture = evil
	trial := m.trial(rundir.Axis{Name: "=axis" + evil, Value: "=HYPERLINK(1)"})
	trial.Name, trial.Model = "odd", evil
	other := m.trial(rundir.Axis{Name: "=axis" + evil, Value: evil})
	other.Name, other.Model = "odd2", evil
	for _, one := range []*rundir.Trial{trial, other} {
		m.plan(one, 3)
		m.heal(one, evil, evil)
		f := m.tasks(50, .5)
		f.Results[evil], f.Samples[evil], f.GroupSubtasks[evil] = f.Results["piqa"], f.Samples["piqa"], nil
		m.stage(one, "healed.tasks", rundir.KindTasks, rundir.ResultsFile, f)
		m.stage(one, "healed.perplexity", rundir.KindPerplexity, rundir.PerplexityFile, lines(t, report.Perplexity{Data: evil, Perplexity: 3}))
		m.texts(one, "healed", evil, evil)
		m.failed(one, "cut.tasks", rundir.KindTasks, evil)
	}
	dir := m.done()
	m.file(rundir.RecipeFile, evil+"</pre></details>")
	files := reported(t, dir)
	html := files[HTMLFile]
	if n := strings.Count(html, "<script"); n != 1 {
		t.Errorf("%d scripts", n)
	}
	for _, bad := range []string{"<img", "<script>alert", "onerror=alert(2)>"} {
		if strings.Contains(html, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	contains(t, "the page", html, "&lt;script&gt;alert(1)", "fill:#000000 #D55E00 &lt;/svg&gt;")
	if regexp.MustCompile(`(?i)\b(href|src)=["']?(?:https?:|//|javascript:)`).MatchString(html) || strings.Contains(html, "@import") || strings.Contains(html, "url(") {
		t.Error("the page refers to something outside")
	}
	markdown := files[MarkdownFile]
	for _, bad := range []string{"<script", "<img", "**b**", "$x$ "} {
		if strings.Contains(strings.ReplaceAll(markdown, "```\ncoppice run", ""), bad) && !onlyInFence(markdown, bad) {
			t.Errorf("Markdown has %q", bad)
		}
	}
	if loose := regexp.MustCompile(`[^\\][\[\]*<$]`).FindString(strings.ReplaceAll(markdown, "** ", "")); loose != "" && !onlyInFence(strings.ReplaceAll(markdown, "**", ""), loose) {
		t.Errorf("Markdown has %q", loose)
	}
	latex := regexp.MustCompile(`(?m)^%.*$`).ReplaceAllString(files[LaTeXFile], "")
	for _, bad := range []string{"\\input{", " $x$", " & \"", "{{."} {
		if strings.Contains(latex, bad) {
			t.Errorf("LaTeX has %q", bad)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(files[CSVFile])).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for i, cell := range row {
			if cell != "" && strings.ContainsRune("=+@\t\r", rune(cell[0])) {
				t.Errorf("column %s: %q would be a formula", rows[0][i], cell)
			}
		}
	}
}

// onlyInFence says that a text stands between fences alone, where it is code.
func onlyInFence(markdown, s string) bool {
	for i, part := range strings.Split(markdown, "```") {
		if i%2 == 0 && strings.Contains(part, s) {
			return false
		}
	}
	return true
}

// TestWhatIsNotThere: a stage that is missing, one that failed, a number that is none
// and a task without documents are shown as what they are.
func TestWhatIsNotThere(t *testing.T) {
	m := newMaker(t, "holes")
	trial := m.trial()
	m.plan(trial, 11)
	f := m.tasks(100, .5)
	f.Results["mmlu"]["acc,none"], f.Results["mmlu"]["acc_stderr,none"] = nil, "N/A"
	f.Samples["piqa"], f.Documents["piqa"] = report.EvalCount{Original: 100}, map[string]report.EvalList{"acc,none": {}}
	m.stage(trial, "cut.tasks", rundir.KindTasks, rundir.ResultsFile, f)
	m.failed(trial, "heal", rundir.KindHeal, "loss is NaN at step 3")
	trial.Stages = append(trial.Stages, rundir.Ref{Role: "healed.tasks", Kind: rundir.KindTasks, Dir: "stages/tasks-later"})
	gone := m.stage(trial, "cut.perplexity", rundir.KindPerplexity, rundir.PerplexityFile, "")
	if err := os.Remove(filepath.Join(m.dir, gone.Dir, rundir.PerplexityFile)); err != nil {
		t.Fatal(err)
	}
	m.stage(trial, "dense.perplexity", rundir.KindPerplexity, rundir.PerplexityFile, "{")
	files := reported(t, m.done())
	contains(t, "the page", files[HTMLFile], "loss is NaN at step 3", "try again", "not done", "a file is gone", "perplexity.jsonl: line 1", ">NaN<", ">empty<", "no document was asked", "the result is not a number", "What is missing")
	contains(t, "CSV", files[CSVFile], "missing", "loss is NaN at step 3", ",NaN,", "empty: no document was asked")
	contains(t, "Markdown", files[MarkdownFile], "loss is NaN at step 3", "NaN")
	contains(t, "LaTeX", files[LaTeXFile], "NaN", "empty")
}

func TestNoTrial(t *testing.T) {
	m := newMaker(t, "empty")
	files := reported(t, m.done())
	contains(t, "the page", files[HTMLFile], "There is no trial here.")
}

// TestMatrix: two hundred trials of one run are one page that is small enough to open.
func TestMatrix(t *testing.T) {
	m := newMaker(t, "matrix")
	m.run.Report = rundir.Report{Rows: "metric", Baseline: "m0"}
	for i := range 200 {
		trial := m.trial(rundir.Axis{Name: "metric", Value: fmt.Sprintf("m%d", i%20)}, rundir.Axis{Name: "lr", Value: fmt.Sprint(i / 20)})
		m.drop = []int{8, 9, 10, 7, 6}[:1+i%5]
		m.whole(trial, 60, .4+float64(i)/500)
		if i%50 == 7 {
			m.failed(trial, "healed.speed", rundir.KindSpeed, "no memory")
		}
	}
	dir := m.done()
	files := reported(t, dir)
	html := files[HTMLFile]
	t.Logf("%d trials: %d bytes of HTML", 200, len(html))
	if len(html) > 5<<20 {
		t.Errorf("%d bytes, more than 5 MiB", len(html))
	}
	contains(t, "the page", html, "200 trials", "Best is m", "The best 14 of 200", "p (Holm)", "baseline", "4 of 200 trials lack results", "Of the 199 other trials of sapling, paired 95 % intervals cannot tell", "Pareto front", "Agreement", "Spearman")
	if keep := os.Getenv("COPPICE_KEEP"); keep != "" {
		if err := os.WriteFile(filepath.Join(keep, "matrix.html"), []byte(html), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOneTrialOfSeveral, and several runs side by side.
func TestTrialsAndRuns(t *testing.T) {
	m := newMaker(t, "two")
	for _, how := range []string{"none", "last 3"} {
		m.whole(m.trial(rundir.Axis{Name: "how", Value: how}), 80, .6)
	}
	dir := m.done()
	both := reported(t, dir)[HTMLFile]
	contains(t, "both", both, "2 trials", ">none<", ">last 3<")
	for _, path := range []string{dir + "/sapling/last 3", dir + "/trials/sapling/last 3"} {
		one := reported(t, path)[HTMLFile]
		contains(t, "one", one, "two · sapling/last 3", "9 of 12 layers")
		if strings.Contains(one, ">none<") {
			t.Error("the other trial is there, too")
		}
	}
	second := newMaker(t, "second")
	second.whole(second.trial(), 80, .7)
	side := reported(t, dir, second.done())[HTMLFile]
	m = newMaker(t, "models")
	m.whole(m.trial(), 80, .6)
	m.model("acorn")
	m.drop = []int{1}
	m.whole(m.trial(), 80, .7)
	contains(t, "two models", reported(t, m.done())[HTMLFile], "2 trials. Best of sapling is sapling, .", "; of acorn is acorn, .", "Perplexity against layers cut")
	contains(t, "side by side", side, "3 trials", "run/sapling/last 3", "two, second")
	if _, err := Report(t.TempDir(), dir+"/sapling/first"); err == nil || !strings.Contains(err.Error(), `has no trial "sapling/first"`) {
		t.Errorf("a trial that is not there: %v", err)
	}
}

// TestCurve: lines of several orders, and how far each goes.
func TestCurve(t *testing.T) {
	m := newMaker(t, "curve")
	for _, order := range []string{"reverse", "taylor with a name that needs a line of the legend", "a third one with a long name, too"} {
		trial := m.trial(rundir.Axis{Name: "metric", Value: order})
		c := report.Curve{Metric: order}
		task := report.TaskCurve{Task: "all", Metric: "acc", Group: true, Chance: .25, HigherIsBetter: true}
		for n := range madeLayers {
			c.Dropped, task.Values = append(c.Dropped, make([]int, n)), append(task.Values, report.Number(.8-float64(n)/float64(20+len(order))))
		}
		c.Tasks = []report.TaskCurve{task}
		m.stage(trial, "curve", rundir.KindCurve, rundir.CurveFile, lines(t, c))
	}
	files := reported(t, m.done())
	contains(t, "the page", files[HTMLFile], "3 trials; taylor with a name that needs a line of the legend goes furthest: up to 5 of 12 layers cut", "guessing", "Against layers cut", "layers cut")
	contains(t, "CSV", files[CSVFile], "curve,all acc,11 cut")
}

// TestPublished: every row of the table reads, and stands beside the trial it is of.
func TestPublished(t *testing.T) {
	p, err := readPublished()
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Tables) < 8 {
		t.Errorf("%d tables", len(p.Tables))
	}
	m := newMaker(t, "healing")
	m.run.Report = rundir.Report{Published: "table-2", Rows: "healing"}
	m.run.Models[0].From = "meta-llama/Llama-3.1-8B-Instruct@0123"
	m.whole(m.trial(rundir.Axis{Name: "healing", Value: "+last3"}), 40, .6)
	html := reported(t, m.done())[HTMLFile]
	contains(t, "the page", html, "Beside the paper", "has a mean of .5807 for &#43;last3", "(.7383)", "(.6567)")
	m = newMaker(t, "healing")
	m.run.Report = rundir.Report{Published: "table-2", Rows: "healing"}
	m.whole(m.trial(rundir.Axis{Name: "healing", Value: "+last3"}), 40, .6)
	if strings.Contains(reported(t, m.done())[HTMLFile], ".5807") {
		t.Error("the paper's Llama stands beside another model")
	}
}

// TestFigures: sizes and costs stand beside the paper's.
func TestFigures(t *testing.T) {
	m := newMaker(t, "efficiency")
	m.run.Report = rundir.Report{Published: "table-9"}
	m.run.Models[0].From = "meta-llama/Llama-3.1-8B-Instruct"
	trial := m.trial()
	m.plan(trial, 8)
	m.stage(trial, "cut.sizes", rundir.KindSizes, rundir.SizesFile, lines(t, report.Sizes{State: "cut", Layers: 24, Parameters: 6285365248, Float32Bytes: 25141460992, Tokens: 64, PaperMACs: 368654680064, MACs: 368700000000}))
	contains(t, "the page", reported(t, m.done())[HTMLFile], "6,285,365,248", "368.6547 G by the paper", "23976.8 MiB", "23,984 MiB with buffers", "Size and work")
	m = newMaker(t, "cost")
	m.run.Report = rundir.Report{Published: "table-4"}
	m.run.Models[0].From = "/models/Llama-3.1-8B-Instruct"
	trial = m.trial(rundir.Axis{Name: "healing", Value: "LoRA"})
	m.heal(trial, "lora", "rows.json")
	contains(t, "the page", reported(t, m.done())[HTMLFile], "15.73 M", "648 K", "45.83 G", "13 s, 20 steps")
}

func TestForms(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{share(.581, 3), ".581"}, {share(1, 3), "1.000"}, {share(0, 2), ".00"}, {share(-.25, 2), "−.25"}, {share(12.345, 1), "12.3"},
		{points(-.0491), "−4.9"}, {points(.0002), "±0.0"}, {duration(6780), "1 h 53 min"}, {duration(12.3), "12 s"}, {duration(3.21), "3.2 s"}, {duration(125), "2 min 05 s"}, {duration(400000), "4 days 15 h"},
		{thousands(1234567), "1,234,567"}, {thousands(-1234), "-1,234"}, {rate(31000.2), "31,000"}, {rate(.5), "0.5"}, {inert("=1"), "'=1"}, {inert("a=1"), "a=1"},
		{plain("a\x1b[31m\u202eb"), "a [31m b"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}
