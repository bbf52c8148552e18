package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/digest"
	"github.com/coppice-ml/coppice/report/stat"
	"github.com/coppice-ml/coppice/run/rundir"
)

// results is the table of the tasks: each model as it was, then its trials.
func (v *view) results() *Table {
	tasks := v.tasks()
	texts := v.texts()
	if len(tasks)+len(texts) == 0 {
		return nil
	}
	t := &Table{Caption: "Results", Filter: len(v.d.Trials) > 8, Note: v.marks()}
	t.Columns = []Column{{Name: "trial"}, {Name: "state"}, {Name: "layers", Number: true}}
	for i, task := range tasks {
		t.Columns = append(t.Columns, Column{Name: v.label(task), Number: true, Rule: i == 0})
	}
	compared := len(v.dense) > 0
	if compared {
		t.Columns = append(t.Columns, Column{Name: "− dense, points", Number: true, Rule: true}, Column{Name: "kept", Number: true}, Column{Name: "recovered", Number: true})
	}
	if len(v.baseline) > 0 {
		t.Columns = append(t.Columns, Column{Name: "− baseline, points", Number: true, Rule: true}, Column{Name: "p (Holm)", Number: true})
	}
	for i, name := range texts {
		t.Columns = append(t.Columns, Column{Name: "perplexity, " + name, Number: true, Rule: i == 0})
	}
	for _, r := range v.rows() {
		cells := []Cell{text(r.name()), text(r.state.Name), layersCell(r)}
		for _, task := range tasks {
			c := taskCell(r.state, task)
			c.Bold = v.alike[place{r.trial, task}] && r.state == r.trial.Last()
			cells = append(cells, c)
		}
		if compared {
			cells = append(cells, v.againstDense(r)...)
		}
		if len(v.baseline) > 0 {
			cells = append(cells, v.againstBaseline(r)...)
		}
		for _, name := range texts {
			cells = append(cells, perplexityCell(r.state, name))
		}
		cells[0].First = r.first
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// marks says what marks mean.
func (v *view) marks() string {
	s := "± is one standard error. † within two standard errors of guessing."
	if len(v.d.Trials) > 1 {
		s += " Bold: the best of a model's trials, and all that paired 95 % intervals cannot tell from it."
	}
	if len(v.dense) > 0 {
		s += " Differences of means are paired, document by document, with 95 % intervals that draw documents again within their tasks (4,000 draws, seed 42)."
	}
	if len(v.baseline) > 0 {
		s += " p is of the difference from the baseline, corrected for the number of trials by Holm's method."
	}
	return s
}

// row is a line of the table.
type row struct {
	trial *digest.Trial
	state *digest.State
	model bool // it stands for the model as it was
	first bool
}

func (r row) name() string {
	if r.model {
		return r.trial.Of.Name
	}
	return r.trial.Label
}

// rows are those of the table: of each model its dense state once, then the state each
// trial ends in, and before it the cut one where there are few.
func (v *view) rows() (out []row) {
	type key struct {
		run   *rundir.Dir
		model string
	}
	seen := map[key]bool{}
	few := len(v.d.Trials) <= 12
	for _, t := range v.d.Trials {
		first := !seen[key{t.Run, t.Model}]
		if s := t.State(rundir.Dense); s != nil && first {
			out = append(out, row{trial: t, state: s, model: true, first: true})
			first = false
		}
		seen[key{t.Run, t.Model}] = true
		cut, healed := t.State(rundir.Cut), t.State(rundir.Healed)
		if cut != nil && (healed == nil || few) {
			out = append(out, row{trial: t, state: cut, first: first})
			first = false
		}
		if healed != nil {
			out = append(out, row{trial: t, state: healed, first: first})
		}
	}
	return out
}

// tasks are the columns, in the order of the first state that has them.
func (v *view) tasks() (names []string) {
	for _, t := range v.d.Trials {
		for _, s := range t.States {
			for _, value := range s.Rows() {
				if !slices.Contains(names, value.Task) {
					names = append(names, value.Task)
				}
			}
		}
	}
	return names
}

// texts are the names of what perplexity was measured on.
func (v *view) texts() (names []string) {
	for _, t := range v.d.Trials {
		for _, s := range t.States {
			for _, p := range s.Perplexity {
				if name := base(p.Data); !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// labels shorten the names of tasks: those of a group do without its name, and the group
// is its mean.
func labels(d *digest.Digest) map[string]string {
	out := map[string]string{}
	for _, t := range d.Trials {
		for _, s := range t.States {
			rows := s.Rows()
			for _, g := range rows {
				if !g.Group {
					continue
				}
				out[g.Task] = "mean (" + g.Task + ")"
				for _, v := range rows {
					if short, ok := strings.CutPrefix(v.Task, g.Task+"_"); ok {
						out[v.Task] = short
					}
				}
			}
		}
	}
	return out
}

func (v *view) label(task string) string { return cmp.Or(v.labels[task], task) }

func layersCell(r row) Cell {
	n := r.trial.Of.Facts.Layers
	if p := r.trial.Plan; p != nil && r.state.Name != rundir.Dense {
		n = len(p.Keep)
	}
	return Cell{Text: fmt.Sprint(n), Sort: float64(n)}
}

func taskCell(s *digest.State, task string) Cell {
	v, ok := s.Row(task)
	switch {
	case !ok:
		return missing()
	case v.Empty():
		return Cell{Text: "empty", Sort: math.Inf(-1), Weak: true, Title: "no document was asked"}
	case !v.Value.Finite():
		return number(v.Value, "")
	}
	c := Cell{Text: share(v.Value, 4), Sort: float64(v.Value), Title: fmt.Sprintf("%s %s, %s documents", v.Task, v.Metric, thousands(int64(v.N)))}
	if v.StdErr.Finite() {
		c.Title += ", ± " + share(v.StdErr, 4)
	}
	if v.Chance > 0 {
		c.Title += ", guessing " + share(report.Number(v.Chance), 3)
	}
	if v.Partial {
		c.Title += ", partial"
	}
	if v.AtChance() {
		c.Text, c.Weak = c.Text+" †", true
	}
	return c
}

func perplexityCell(s *digest.State, name string) Cell {
	for _, p := range s.Perplexity {
		if base(p.Data) == name {
			c := number(p.Perplexity, "%.4g")
			c.Title += fmt.Sprintf("%s tokens in windows of %d", thousands(int64(p.Tokens)), p.Length)
			return c
		}
	}
	return missing()
}

func (v *view) againstDense(r row) []Cell {
	none := []Cell{missing(), missing(), missing()}
	c := v.dense[r.trial]
	if c == nil || c.Mean == nil || r.model || r.state != r.trial.Last() {
		return none
	}
	none[0] = difference(*c.Mean)
	if c.Mean.A != 0 && c.Mean.HigherIsBetter {
		kept := float64(c.Mean.B) / float64(c.Mean.A)
		none[1] = Cell{Text: percent(kept), Sort: kept}
	}
	if rec := recovery(r.trial); rec.Finite() {
		none[2] = Cell{Text: percent(float64(rec)), Sort: float64(rec)}
	}
	return none
}

func (v *view) againstBaseline(r row) []Cell {
	c := v.baseline[r.trial]
	if c == nil || c.Mean == nil || r.state != r.trial.Last() {
		if b := v.d.Baseline(r.trial); b == r.trial && r.state == r.trial.Last() {
			return []Cell{{Text: "baseline", Sort: 0}, missing()}
		}
		return []Cell{missing(), missing()}
	}
	p := missing()
	if c.Holm.Finite() {
		p = Cell{Text: pText(c.Holm), Sort: float64(c.Holm), Title: "uncorrected " + pText(c.Mean.P)}
	}
	return []Cell{difference(*c.Mean), p}
}

func pText(p report.Number) string {
	if !p.Finite() {
		return "–"
	}
	if p < .001 {
		return "< .001"
	}
	return share(p, 3)
}

func difference(d report.Difference) Cell {
	return Cell{Text: fmt.Sprintf("%s [%s, %s]", points(d.Difference), points(d.Low), points(d.High)), Sort: float64(d.Difference), Title: d.Sentence, Bold: false}
}

// place is a trial's value of a task.
type place struct {
	trial *digest.Trial
	task  string
}

// alike finds, for every model and task, the best trial and those that paired
// intervals cannot tell from it.
func alike(d *digest.Digest, tasks []string) map[place]bool {
	out := map[place]bool{}
	if len(d.Trials) < 2 {
		return out
	}
	groups := map[string][]*digest.Trial{}
	for _, t := range d.Trials {
		if t.Last() != nil && t.Plan != nil {
			key := t.Run.Path + "\x00" + t.Model
			groups[key] = append(groups[key], t)
		}
	}
	for _, group := range groups {
		for _, task := range tasks {
			for _, t := range bestOf(group, task) {
				out[place{t, task}] = true
			}
		}
	}
	return out
}

func bestOf(group []*digest.Trial, task string) (out []*digest.Trial) {
	var best *digest.Trial
	var top digest.Value
	for _, t := range group {
		v, ok := t.Last().Row(task)
		if !ok || !v.Value.Finite() || v.Empty() {
			continue
		}
		if best == nil || (v.Value > top.Value) == v.HigherIsBetter && v.Value != top.Value {
			best, top = t, v
		}
	}
	if best == nil {
		return nil
	}
	for _, t := range group {
		if t == best || t.Last().Same(best.Last(), top, stat.Options{Resamples: 1000, Seed: 42}) {
			out = append(out, t)
		}
	}
	return out
}
