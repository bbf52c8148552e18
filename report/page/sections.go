package page

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/internal/plot"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/digest"
	"github.com/coppice-ml/coppice/run/rundir"
)

// sections are the parts below the first screen, those that the runs have something
// for.
func (v *view) sections() (out []section, err error) {
	for _, part := range []func() (section, error){
		v.comparisonSection, v.publishedSection, v.missingSection, v.layersSection, v.agreementSection, v.curveSection,
		v.lossSection, v.sizeSection, v.costSection, v.matrixSection, v.seedSection, v.textSection, v.everythingSection, v.howSection,
	} {
		s, err := part()
		if err != nil {
			return nil, err
		}
		if len(s.Charts)+len(s.Tables)+len(s.Strips)+len(s.Details)+len(s.Notes) > 0 {
			out = append(out, s)
		}
	}
	return out, nil
}

// comparisonSection sets the tasks of the best trial beside its dense model.
func (v *view) comparisonSection() (section, error) {
	s := section{ID: "tasks", Title: "Task by task"}
	t := v.best
	if t == nil || t.Last() == nil {
		return s, nil
	}
	if len(v.d.Trials) > 1 {
		s.Intro = t.Label + ", the best of the trials."
		c, err := v.taskChart(t)
		if err != nil {
			return s, err
		}
		c.Wide = true
		s.Charts = []chart{c}
	}
	table := &Table{Note: "p: McNemar's exact test, of the mean an exchange test; beside it corrected for the number of tasks by Holm's method.", Columns: []Column{
		{Name: "task"}, {Name: "metric"}, {Name: "documents", Number: true}, {Name: "guessing", Number: true}, {Name: "dense", Number: true}, {Name: "cut", Number: true}, {Name: "healed", Number: true},
		{Name: "− dense, points", Number: true, Rule: true}, {Name: "p", Number: true}, {Name: "p (Holm)", Number: true}, {Name: "recovered", Number: true}}}
	for _, value := range t.Last().Rows() {
		table.Rows = append(table.Rows, v.taskRow(t, value))
	}
	s.Tables = []*Table{table}
	return s, nil
}

func (v *view) taskRow(t *digest.Trial, value digest.Value) []Cell {
	cells := []Cell{text(v.label(value.Task)), text(value.Metric), {Text: thousands(int64(value.N)), Sort: float64(value.N)}, missing()}
	if value.Chance > 0 {
		cells[3] = number(report.Number(value.Chance), "%.3f")
	}
	for _, name := range []string{rundir.Dense, rundir.Cut, rundir.Healed} {
		c := missing()
		if s := t.State(name); s != nil {
			c = taskCell(s, value.Task)
			if row, ok := s.Row(value.Task); ok && row.StdErr.Finite() && row.Value.Finite() {
				c.Text += " ± " + share(row.StdErr, 3)
			}
		}
		cells = append(cells, c)
	}
	diff := []Cell{missing(), missing(), missing(), missing()}
	if c := v.dense[t]; c != nil {
		if d, ok := c.Tasks[value.Task]; ok {
			diff[0] = difference(d.Difference)
			diff[1] = Cell{Text: pText(d.P), Sort: float64(d.P)}
			diff[2] = Cell{Text: pText(d.Holm), Sort: float64(d.Holm)}
		}
	}
	if r := recoveryOf(t, func(s *digest.State) (digest.Value, bool) { return s.Row(value.Task) }); r.Finite() {
		diff[3] = Cell{Text: percent(float64(r)), Sort: float64(r)}
	}
	return append(cells, diff...)
}

// publishedSection sets rows of the paper beside ours.
func (v *view) publishedSection() (section, error) {
	s := section{ID: "paper", Title: "Beside the paper", Intro: "Lu and others, “Reassessing Layer Pruning in LLMs”, arXiv 2411.15558v1; acc of each task. Ours first, the paper's in brackets."}
	tasks := v.tasks()
	table := &Table{Columns: []Column{{Name: "trial"}, {Name: "published as"}}, Filter: len(v.d.Trials) > 8}
	for _, name := range tasks {
		table.Columns = append(table.Columns, Column{Name: v.label(name), Number: true})
	}
	for _, t := range v.d.Trials {
		row := v.published.of(t)
		last := t.Last()
		if row == nil || last == nil {
			continue
		}
		cells := []Cell{text(t.Label), text(row.about + ": " + strings.Join(row.Is, ", "))}
		for _, name := range tasks {
			value, ok := last.Row(name)
			theirs, has := v.published.value(row, value)
			if !ok || !has {
				cells = append(cells, missing())
				continue
			}
			cells = append(cells, Cell{Text: fmt.Sprintf("%s (%s)", share(value.Value, 4), share(theirs, 4)), Sort: float64(value.Value), Title: "difference " + points(value.Value-theirs) + " points"})
		}
		table.Rows = append(table.Rows, cells)
	}
	if len(table.Rows) > 0 {
		s.Tables = []*Table{table}
	}
	others := &Table{Columns: []Column{{Name: "trial"}, {Name: "published as"}, {Name: "what"}, {Name: "here", Number: true}, {Name: "the paper", Number: true}}}
	for _, t := range v.d.Trials {
		for _, f := range v.published.figures(t) {
			for _, name := range slices.Sorted(maps.Keys(f.Of)) {
				others.Rows = append(others.Rows, []Cell{text(t.Label), text(strings.TrimSuffix(f.About+": "+strings.Join(f.Is, ", "), ": ")), text(name), text(cmp.Or(ours(t, name), "–")), text(f.Of[name])})
			}
		}
	}
	if len(others.Rows) > 0 {
		s.Tables = append(s.Tables, others)
	}
	return s, nil
}

// missingSection says what has no result.
func (v *view) missingSection() (section, error) {
	s := section{ID: "missing", Title: "What is missing"}
	table := &Table{Columns: []Column{{Name: "trial"}, {Name: "stage"}, {Name: "why"}, {Name: "remedy"}}, Filter: len(v.d.Trials) > 8}
	for _, t := range v.d.Trials {
		for _, g := range t.Gaps {
			table.Rows = append(table.Rows, []Cell{text(t.Label), text(g.Role), text(g.Why), text(g.Remedy)})
		}
	}
	if len(table.Rows) > 0 {
		s.Tables = []*Table{table}
	}
	return s, nil
}

// layersSection shows which layers went and by what scores.
func (v *view) layersSection() (section, error) {
	s := section{ID: "layers", Title: "Layers"}
	seen := stagesSeen{}
	for _, t := range v.d.Trials {
		if t.Score == nil || len(s.Charts) == 16 || !seen.first(t, rundir.KindScore) {
			continue
		}
		c, err := profile(t)
		if err != nil {
			return s, err
		}
		if c != nil {
			s.Charts = append(s.Charts, *c)
		}
	}
	if len(v.d.Trials) > 1 {
		for _, t := range v.orders() {
			if t.Plan == nil {
				continue
			}
			one := stripOf(t)
			one.Label = t.Label
			s.Strips = append(s.Strips, *one)
		}
	}
	if len(s.Strips) == 1 { // all cut the same: it stands on the first screen
		s.Strips = nil
	}
	return s, nil
}

// stagesSeen are stages that trials share.
type stagesSeen map[string]bool

// first says that a trial has a stage, and is the first that is asked of it.
func (s stagesSeen) first(t *digest.Trial, role string) bool {
	ref, ok := t.Stage(role)
	key := t.Run.Path + ref.Dir
	ok = ok && !s[key]
	s[key] = s[key] || ok
	return ok
}

// orders are the trials that cut different layers, or by different metrics: the first
// of those that share a plan, and as many as can be looked at.
func (v *view) orders() (out []*digest.Trial) {
	seen := stagesSeen{}
	for _, t := range v.d.Trials {
		if t.Plan != nil && len(out) < 24 && seen.first(t, rundir.KindPlan) {
			out = append(out, t)
		}
	}
	return out
}

// agreementSection compares what different metrics, or calibration sets, cut.
func (v *view) agreementSection() (section, error) {
	s := section{ID: "agreement", Title: "Agreement", Intro: "Of every two: above the diagonal the share of layers that both drop, of those that one drops at least (Jaccard); below it the correlation of their orders (Spearman)."}
	byModel := map[string][]*digest.Trial{}
	var models []string
	for _, t := range v.orders() {
		if byModel[t.Of.Name] == nil {
			models = append(models, t.Of.Name)
		}
		byModel[t.Of.Name] = append(byModel[t.Of.Name], t)
	}
	for _, model := range models {
		trials := byModel[model]
		if len(trials) < 2 {
			continue
		}
		table := &Table{Caption: model, Columns: []Column{{Name: "trial"}}}
		for _, t := range trials {
			table.Columns = append(table.Columns, Column{Name: t.Label, Number: true})
		}
		for i, a := range trials {
			cells := []Cell{text(a.Label)}
			for j, b := range trials {
				switch {
				case i == j:
					cells = append(cells, Cell{Text: "·", Sort: 1, Weak: true})
				case i < j:
					cells = append(cells, agreement(digest.Jaccard(a.Plan.Drop, b.Plan.Drop)))
				default:
					cells = append(cells, agreement(digest.RankCorrelation(a.Order(), b.Order())))
				}
			}
			table.Rows = append(table.Rows, cells)
		}
		s.Tables = append(s.Tables, table)
	}
	return s, nil
}

func agreement(x float64) Cell {
	if math.IsNaN(x) {
		return missing()
	}
	return Cell{Text: share(report.Number(x), 2), Sort: x}
}

// curveSection shows what is lost as layers go.
func (v *view) curveSection() (section, error) {
	s := section{ID: "curve", Title: "Against layers cut"}
	var any *digest.Trial
	for _, t := range v.d.Trials {
		if t.Curve != nil && any == nil {
			any = t
		}
	}
	if any == nil {
		return s, nil
	}
	if v.best.Last() != nil { // else it is on the first screen
		c, err := v.curveChart()
		if err != nil {
			return s, err
		}
		c.Wide = true
		s.Charts = []chart{c}
	}
	values, name, _ := curveValues(any.Curve)
	table := &Table{Caption: name, Columns: []Column{{Name: "trial"}}}
	for n := range values {
		table.Columns = append(table.Columns, Column{Name: fmt.Sprint(n), Number: true})
	}
	for _, t := range v.d.Trials {
		if t.Curve == nil {
			continue
		}
		values, _, _ := curveValues(t.Curve)
		cells := []Cell{text(t.Label)}
		for n := range len(table.Columns) - 1 {
			if n >= len(values) {
				cells = append(cells, missing())
				continue
			}
			cells = append(cells, Cell{Text: share(values[n], 3), Sort: float64(values[n])})
		}
		table.Rows = append(table.Rows, cells)
	}
	s.Tables = []*Table{table}
	return s, nil
}

// matrixSection shows how alike states at every two depths are.
func (v *view) matrixSection() (section, error) {
	s := section{ID: "similarity", Title: "Similarity of depths"}
	seen := stagesSeen{}
	add := func(t *digest.Trial, role, name string, m report.Matrix) error {
		if m == nil || len(s.Charts) == 6 || !seen.first(t, role) {
			return nil
		}
		c, err := matrixChart(name, m)
		if err == nil {
			s.Charts = append(s.Charts, c)
		}
		return err
	}
	for _, t := range v.d.Trials {
		for _, state := range t.States {
			if err := add(t, state.Name+"."+rundir.KindSimilarity, t.Label+", "+state.Name, state.Similarity); err != nil {
				return s, err
			}
		}
		if err := add(t, rundir.KindScore, t.Label, matrixOf(t)); err != nil {
			return s, err
		}
	}
	return s, nil
}

// seedSection shows the spread over seeds: a point each.
func (v *view) seedSection() (section, error) {
	s := section{ID: "seeds", Title: "Spread over seeds"}
	p := plot.Dots{X: "mean of the tasks", Loose: true}
	place := map[string]int{}
	one := plot.Series{Sign: signHealed}
	for _, t := range v.d.Trials {
		last := t.Last()
		if t.Seed == nil || last == nil {
			continue
		}
		m, _, ok := last.Mean()
		if !ok || !m.Value.Finite() {
			continue
		}
		name := strings.TrimSuffix(t.Label, fmt.Sprintf("/seed-%d", *t.Seed))
		if _, ok := place[name]; !ok {
			place[name] = len(p.Rows)
			p.Rows, p.Chance = append(p.Rows, shorten(name, 30)), append(p.Chance, m.Chance)
		}
		one.Points = append(one.Points, plot.Point{X: float64(m.Value), Y: float64(place[name]), Low: math.NaN(), High: math.NaN(), Note: fmt.Sprintf("%s, seed %d: %s", name, *t.Seed, share(m.Value, 4))})
	}
	if len(one.Points) < 2 || len(p.Rows) > 40 {
		return s, nil
	}
	p.Series = []plot.Series{one}
	c, err := drawn("A point a seed", "", p, chartWidth)
	s.Charts = []chart{c}
	return s, err
}

// recipeText is the resolved recipe of a run.
func recipeText(d *rundir.Dir) string {
	raw, err := os.ReadFile(filepath.Join(d.Path, rundir.RecipeFile))
	if err != nil {
		return "cannot be read: " + err.Error()
	}
	return string(raw)
}
