package page

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/coppice-ml/coppice/internal/plot"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/digest"
	"github.com/coppice-ml/coppice/run/rundir"
)

// Signs of the states in every chart: rings, triangles, dots.
const (
	signDense = iota
	signCut
	signHealed
)

func signOf(state string) int {
	return map[string]int{rundir.Dense: signDense, rundir.Cut: signCut, rundir.Healed: signHealed}[state]
}

// Widths of charts in points, narrow enough to be read on a phone.
const (
	chartWidth = 390
	wideWidth  = 470
)

func drawn(title, note string, p plot.Panel, width float64) (chart, error) {
	svg, err := plot.Inline(p, width, title)
	if err != nil {
		return chart{}, fmt.Errorf("%s: %w", title, err)
	}
	return chart{Title: title, Note: note, SVG: template.HTML(svg)}, nil
}

// interval is a value with its 95 % interval as a point.
func interval(v digest.Value, x, y float64, what string) plot.Point {
	p := plot.Point{X: x, Y: y, Low: math.NaN(), High: math.NaN(), Note: fmt.Sprintf("%s: %s", what, share(v.Value, 4))}
	if v.StdErr.Finite() {
		p.Low, p.High = float64(v.Value)-1.96*float64(v.StdErr), float64(v.Value)+1.96*float64(v.StdErr)
		if strings.HasPrefix(v.Metric, "acc") { // a share is never more than all
			p.Low, p.High = max(0, p.Low), min(1, p.High)
		}
		p.Note += " ± " + share(v.StdErr, 4)
	}
	return p
}

// mainChart is that of the first screen: the tasks of one trial, or several trials'
// means.
func (v *view) mainChart() (*chart, error) {
	if v.best == nil {
		return nil, nil
	}
	var c chart
	var err error
	switch {
	case v.best.Last() == nil && v.best.Curve != nil:
		c, err = v.curveChart()
	case v.best.Last() == nil && v.best.Heal != nil:
		c, err = lossChart(v.best)
	case v.best.Last() == nil:
		return nil, nil
	case len(v.d.Trials) == 1:
		c, err = v.taskChart(v.best)
	default:
		c, err = v.trialChart()
	}
	return &c, err
}

// taskChart has a row a task, with a point for each state.
func (v *view) taskChart(t *digest.Trial) (chart, error) {
	p := plot.Dots{X: "accuracy"}
	place := map[string]int{}
	for _, s := range t.States {
		for _, row := range s.Rows() {
			if _, ok := place[row.Task]; ok {
				continue
			}
			place[row.Task] = len(p.Rows)
			p.Rows, p.Chance = append(p.Rows, shorten(v.label(row.Task), 26)), append(p.Chance, row.Chance)
			if row.Metric != "acc" {
				p.X = "value of each task's first metric"
			}
		}
	}
	for _, s := range t.States {
		one := plot.Series{Name: s.Name, Sign: signOf(s.Name)}
		for _, row := range s.Rows() {
			one.Points = append(one.Points, interval(row, float64(row.Value), float64(place[row.Task]), row.Task+", "+s.Name))
		}
		if len(one.Points) > 0 {
			p.Series = append(p.Series, one)
		}
	}
	return drawn("Tasks: "+t.Of.Name, "", p, wideWidth)
}

// most is how many trials the chart of the first screen has room for.
const most = 14

// trialChart has a row a trial, with the means of its states.
func (v *view) trialChart() (chart, error) {
	ranked := v.ranked()
	note := ""
	if len(ranked) > most {
		note = fmt.Sprintf("The best %d of %d; the table below has all.", most, len(ranked))
		ranked = ranked[:most]
	}
	p := plot.Dots{X: "mean of the tasks"}
	names := []string{rundir.Dense, rundir.Cut, rundir.Healed}
	series := make([]plot.Series, len(names))
	for i, name := range names {
		series[i] = plot.Series{Name: name, Sign: signOf(name)}
	}
	for y, t := range ranked {
		chance := 0.
		for i, name := range names {
			if m, ok := meanOf(t, name); ok {
				series[i].Points = append(series[i].Points, interval(m, float64(m.Value), float64(y), t.Label+", "+name))
				chance = m.Chance
			}
		}
		p.Rows, p.Chance = append(p.Rows, shorten(t.Label, 30)), append(p.Chance, chance)
	}
	for _, s := range series {
		if len(s.Points) > 0 {
			p.Series = append(p.Series, s)
		}
	}
	return drawn("Trials", note, p, wideWidth)
}

// ranked are the trials with results, the best first.
func (v *view) ranked() (out []*digest.Trial) {
	worth := map[*digest.Trial]float64{}
	for _, t := range v.d.Trials {
		if s := t.Last(); s != nil {
			if m, _, ok := s.Mean(); ok && m.Value.Finite() {
				worth[t] = float64(m.Value)
				out = append(out, t)
			}
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return worth[out[i]] > worth[out[j]] })
	return out
}

func shorten(s string, n int) string {
	r := []rune(plain(s))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n/2]) + "…" + string(r[len(r)-n/2+1:])
}

// curveChart has a line a trial: accuracy, or loss, against layers cut.
func (v *view) curveChart() (chart, error) {
	p := plot.Lines{X: "layers cut", Whole: true, Tall: .75}
	chance, name := 0., ""
	for _, t := range v.d.Trials {
		if t.Curve == nil || len(p.Series) == plot.Signs {
			continue
		}
		values, what, _ := curveValues(t.Curve)
		name = what
		one := plot.Series{Name: shorten(t.Label, 24), Sign: (len(p.Series) + signHealed) % plot.Signs, Line: true}
		for n, value := range values {
			one.Points = append(one.Points, plot.Point{X: float64(n), Y: float64(value), Low: math.NaN(), High: math.NaN(), Note: fmt.Sprintf("%s, %d cut: %.4g", t.Label, n, float64(value))})
		}
		for _, task := range t.Curve.Tasks {
			if task.Task+" "+task.Metric == what {
				chance = task.Chance
			}
		}
		p.Series = append(p.Series, one)
	}
	p.Y = name
	if chance > 0 {
		p.Levels = []plot.Level{{Value: chance, Name: "guessing"}}
	}
	return drawn("What is lost as layers go: "+name, "", p, wideWidth)
}

// lossChart is one training.
func lossChart(t *digest.Trial) (chart, error) {
	p := plot.Lines{X: "step", Y: "loss, nats per token"}
	batch, held := plot.Series{Name: "training, a batch", Sign: 6, Bare: true}, plot.Series{Name: "held out", Sign: signHealed, Line: true}
	for _, s := range t.Heal.Steps {
		batch.Points = append(batch.Points, plot.Point{X: float64(s.Step), Y: float64(s.Loss), Low: math.NaN(), High: math.NaN()})
	}
	for _, e := range t.Heal.Evals {
		held.Points = append(held.Points, plot.Point{X: float64(e.Step), Y: float64(e.Loss), Low: math.NaN(), High: math.NaN(), Note: fmt.Sprintf("step %d: %.4f", e.Step, float64(e.Loss))})
	}
	p.Series = []plot.Series{batch, held}
	return drawn("Losses: "+t.Label, "", p, chartWidth)
}

// lossesChart is the held-out loss of several trainings, those that end lowest.
func lossesChart(trials []*digest.Trial) (chart, error) {
	sorted := slices.Clone(trials)
	last := func(t *digest.Trial) report.Number {
		if n := len(t.Heal.Evals); n > 0 {
			return t.Heal.Evals[n-1].Loss
		}
		return report.Number(math.Inf(1))
	}
	sort.SliceStable(sorted, func(i, j int) bool { return last(sorted[i]) < last(sorted[j]) })
	note := ""
	if len(sorted) > plot.Signs {
		note = fmt.Sprintf("The %d that end lowest, of %d.", plot.Signs, len(sorted))
		sorted = sorted[:plot.Signs]
	}
	p := plot.Lines{X: "step", Y: "loss on held-out rows"}
	for i, t := range sorted {
		one := plot.Series{Name: shorten(t.Label, 22), Sign: (i + signHealed) % plot.Signs, Line: true}
		for _, e := range t.Heal.Evals {
			one.Points = append(one.Points, plot.Point{X: float64(e.Step), Y: float64(e.Loss), Low: math.NaN(), High: math.NaN(), Note: fmt.Sprintf("%s, step %d: %.4f", t.Label, e.Step, float64(e.Loss))})
		}
		p.Series = append(p.Series, one)
	}
	return drawn("Losses of healing", note, p, chartWidth)
}

// axes2 are what trials are set against.
type axes2 struct {
	title, x, y string
	cost        func(*digest.Trial) float64
	worth       func(*digest.State) (digest.Value, bool)
	front       bool // the Pareto front, too
}

// mean and perplexity are worths of a state.
func mean(s *digest.State) (digest.Value, bool) { m, _, ok := s.Mean(); return m, ok }

func perplexity(s *digest.State) (digest.Value, bool) {
	if len(s.Perplexity) == 0 {
		return digest.Value{}, false
	}
	return digest.Value{Value: s.Perplexity[0].Perplexity, StdErr: digest.NaN()}, true
}

// against draws what trials are worth over what they cost; nil where fewer than two
// costs have both.
func (v *view) against(a axes2) (*chart, error) {
	var costs, worths []float64
	points := map[string]*plot.Series{}
	for _, t := range v.d.Trials {
		last := t.Last()
		if last == nil {
			continue
		}
		m, ok := a.worth(last)
		c := a.cost(t)
		if !ok || math.IsNaN(c) || !m.Value.Finite() {
			continue
		}
		costs, worths = append(costs, c), append(worths, float64(m.Value))
		s := points[last.Name]
		if s == nil {
			s = &plot.Series{Name: last.Name, Sign: signOf(last.Name)}
			points[last.Name] = s
		}
		q := interval(m, float64(m.Value), 0, t.Label)
		q.X, q.Y = c, float64(m.Value)
		s.Points = append(s.Points, q)
	}
	distinct := slices.Compact(slices.Sorted(slices.Values(costs)))
	if len(distinct) < 2 {
		return nil, nil
	}
	p := plot.Lines{X: a.x, Y: a.y}
	if a.front {
		line := plot.Series{Name: "Pareto front", Sign: 3, Bare: true}
		for _, i := range digest.Pareto(costs, worths) {
			line.Points = append(line.Points, plot.Point{X: costs[i], Y: worths[i], Low: math.NaN(), High: math.NaN()})
		}
		p.Series = append(p.Series, line)
	}
	for _, name := range []string{rundir.Dense, rundir.Cut, rundir.Healed} {
		if s := points[name]; s != nil {
			p.Series = append(p.Series, *s)
		}
	}
	c, err := drawn(a.title, "", p, chartWidth)
	return &c, err
}

// profile draws the scores of a trial's metric, dropped layers filled and protected
// ones shaded.
func profile(t *digest.Trial) (*chart, error) {
	var p plot.Profile
	switch s := t.Score.(type) {
	case report.Ranking:
		p = plot.Profile{Label: s.Metric, Scores: report.Floats(s.Scores), Protected: s.Protected, FirstFew: "dropped"}
		if t.Plan != nil {
			p.First = t.Plan.Drop
		}
	case report.Blocks:
		p = plot.Profile{Label: s.Metric, X: "first layer of the block", Scores: report.Floats(s.Scores), First: []int{s.Best}, FirstFew: "block to drop"}
	}
	// Whole numbers from 0 are places, of metrics that measure nothing, such as reverse.
	places := slices.Sorted(slices.Values(p.Scores))
	for i := range places {
		places[i] -= float64(i)
	}
	if !slices.ContainsFunc(places, func(x float64) bool { return x != 0 }) || !slices.ContainsFunc(p.Scores, func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }) {
		return nil, nil
	}
	c, err := drawn("Scores: "+p.Label, t.Label, p, chartWidth)
	return &c, err
}

func matrixOf(t *digest.Trial) report.Matrix {
	switch s := t.Score.(type) {
	case report.Ranking:
		return s.Matrix
	case report.Blocks:
		return s.Matrix
	}
	return nil
}

func matrixChart(name string, m report.Matrix) (chart, error) {
	return drawn("Every two depths: "+name, "Greys follow the rank among the values.", plot.Matrix{Label: "layers passed", Values: m.Floats()}, chartWidth)
}
