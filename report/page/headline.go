package page

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/digest"
	"github.com/coppice-ml/coppice/report/stat"
	"github.com/coppice-ml/coppice/run/rundir"
)

// headline is a trial in one sentence.
func headline(t *digest.Trial, dense *digest.Comparison) string {
	parts := []string{cutText(t)}
	if h := t.Heal; h != nil {
		parts = append(parts, fmt.Sprintf("healed %s on %s rows of %s", duration(h.Measured.Seconds), thousands(int64(h.Samples)), base(h.Data)))
	}
	s := strings.Join(parts, ", ")
	if numbers := numbersText(t); numbers != "" {
		s += ": " + numbers
	}
	if dense != nil && dense.Mean != nil {
		d := dense.Mean
		s += fmt.Sprintf("; %s points [%s, %s] against dense", points(d.Difference), points(d.Low), points(d.High))
		if d.A != 0 && d.HigherIsBetter {
			s += fmt.Sprintf(", %s kept", percent(float64(d.B)/float64(d.A)))
		}
		if r := recovery(t); r.Finite() {
			s += fmt.Sprintf(", %s recovered", percent(float64(r)))
		}
	}
	return s + "."
}

// recovery is how much of what the cut took healing brought back, in the mean.
func recovery(t *digest.Trial) report.Number {
	return recoveryOf(t, meanIn)
}

// recoveryOf is the same of one value of each state.
func recoveryOf(t *digest.Trial, value func(*digest.State) (digest.Value, bool)) report.Number {
	var v [3]digest.Value
	for i, name := range []string{rundir.Dense, rundir.Cut, rundir.Healed} {
		var ok bool
		if v[i], ok = value(t.State(name)); !ok {
			return digest.NaN()
		}
	}
	stderr := math.Hypot(float64(v[0].StdErr), float64(v[1].StdErr))
	return stat.Recovery(v[0].Value, v[1].Value, v[2].Value, report.Number(stderr))
}

// meanOf is the mean of a state, which there need not be.
func meanOf(t *digest.Trial, state string) (digest.Value, bool) { return meanIn(t.State(state)) }

func meanIn(s *digest.State) (digest.Value, bool) {
	v, _, ok := s.Mean()
	return v, ok
}

// cutText says what of the model is left: 24 of 32 layers of it, 8 cut: 24-31.
func cutText(t *digest.Trial) string {
	p := t.Plan
	switch {
	case p == nil:
		return fmt.Sprintf("%s, all %d layers", t.Of.Name, t.Of.Facts.Layers)
	case len(p.Drop) == 0:
		return fmt.Sprintf("%s, none of %d layers cut", t.Of.Name, p.Layers)
	}
	return fmt.Sprintf("%d of %d layers of %s, %s", len(p.Keep), p.Layers, t.Of.Name, dropText(p))
}

func dropText(p *report.Plan) string {
	n := len(p.Drop)
	last := true
	for i, l := range p.Drop {
		last = last && l == p.Layers-n+i
	}
	if last {
		return fmt.Sprintf("the last %d cut", n)
	}
	return fmt.Sprintf("%s cut", report.FormatLayers(p.Drop))
}

// numbersText gives the mean of the tasks, or else the perplexity, of every state.
func numbersText(t *digest.Trial) string {
	last := t.Last()
	if last == nil {
		return perplexityText(t)
	}
	v, _, ok := last.Mean()
	if !ok {
		return ""
	}
	name := "mean accuracy"
	if !v.Group {
		name = v.Task + " " + v.Metric
	} else if v.Metric != "acc" {
		name = "mean " + v.Metric
	}
	s := name + " " + share(v.Value, 3)
	if v.StdErr.Finite() {
		s += "\u00a0±\u00a0" + share(v.StdErr, 3)
	}
	for _, state := range []string{rundir.Dense, rundir.Cut} {
		if other, ok := meanOf(t, state); ok && state != last.Name {
			s += fmt.Sprintf(", %s %s", state, share(other.Value, 3))
		}
	}
	return s
}

func perplexityText(t *digest.Trial) string {
	var parts []string
	for i := len(t.States) - 1; i >= 0; i-- {
		if s := t.States[i]; len(s.Perplexity) > 0 {
			parts = append(parts, fmt.Sprintf("%s %.4g", s.Name, float64(s.Perplexity[0].Perplexity)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "perplexity " + strings.Join(parts, ", ")
}

// lead is the first sentence of a report.
func (v *view) lead() string {
	t := v.best
	switch {
	case t == nil:
		return "There is no trial here."
	case len(v.d.Trials) == 1 && t.Curve != nil && t.Last() == nil:
		return curveText(t)
	case len(v.d.Trials) == 1:
		return headline(t, v.dense[t])
	case t.Last() == nil && t.Curve != nil:
		return v.curvesText()
	}
	s := plural(len(v.d.Trials), "trial") + "."
	if n := v.complete(); n < len(v.d.Trials) {
		s = fmt.Sprintf("%s, %d of them complete.", plural(len(v.d.Trials), "trial"), n)
	}
	switch {
	case t.Last() == nil:
		return s
	case len(v.models()) > 1:
		return s + " Best of " + strings.Join(v.bests(), "; of ") + "."
	}
	return fmt.Sprintf("%s Best is %s: %s", s, t.Label, headline(t, v.dense[t]))
}

// models are the names of those that there are trials of.
func (v *view) models() (names []string) {
	for _, t := range v.d.Trials {
		if !slices.Contains(names, t.Of.Name) {
			names = append(names, t.Of.Name)
		}
	}
	return names
}

// bests say of each model which cut of it is best.
func (v *view) bests() (out []string) {
	for _, name := range v.models() {
		of := &digest.Digest{}
		for _, t := range v.d.Trials {
			if t.Of.Name == name && t.Plan != nil {
				of.Trials = append(of.Trials, t)
			}
		}
		t := bestTrial(of)
		if t == nil || t.Last() == nil {
			continue
		}
		m, _, _ := t.Last().Mean()
		s := fmt.Sprintf("%s is %s, %s", name, strings.TrimPrefix(t.Label, name+"/"), share(m.Value, 3))
		if c := v.dense[t]; c != nil && c.Mean != nil && c.Mean.A != 0 {
			s += fmt.Sprintf(" of dense %s (%s points)", share(c.Mean.A, 3), points(c.Mean.Difference))
		}
		out = append(out, s)
	}
	return out
}

func plural(n int, noun string) string { return report.Plural(n, noun) }

func (v *view) complete() (n int) {
	for _, t := range v.d.Trials {
		if len(t.Gaps) == 0 {
			n++
		}
	}
	return n
}

// curveText says how far a model can be cut.
func curveText(t *digest.Trial) string {
	n, name := holds(t.Curve)
	return fmt.Sprintf("%s, layers cut in the order of %s: up to %d of %d keep nine tenths of the whole model's %s.", t.Of.Name, t.Curve.Metric, n, t.Of.Facts.Layers, name)
}

func (v *view) curvesText() string {
	best, most, name := v.best, -1, ""
	for _, t := range v.d.Trials {
		if t.Curve == nil {
			continue
		}
		if n, what := holds(t.Curve); n > most {
			best, most, name = t, n, what
		}
	}
	return fmt.Sprintf("%s; %s goes furthest: up to %d of %d layers cut keep nine tenths of the whole model's %s.", plural(len(v.d.Trials), "trial"), best.Label, most, best.Of.Facts.Layers, name)
}

// holds is the largest number of layers up to which every cut keeps nine tenths of
// what the whole model has: of accuracy its value; of loss no more than its tenth is
// added.
func holds(c *report.Curve) (n int, name string) {
	values, name, up := curveValues(c)
	for n = 0; n+1 < len(values); n++ {
		next := values[n+1]
		if up && next < .9*values[0] || !up && next > 1.1*values[0] || !next.Finite() {
			break
		}
	}
	return n, name
}

// curveValues are the one line of a curve that says most: the last group of its tasks,
// or the loss.
func curveValues(c *report.Curve) (values []report.Number, name string, higherIsBetter bool) {
	if len(c.Tasks) == 0 {
		return c.Loss, "loss", false
	}
	best := c.Tasks[0]
	for _, t := range c.Tasks {
		if t.Group && (!best.Group || t.N > best.N) {
			best = t
		}
	}
	return best.Values, best.Task + " " + best.Metric, best.HigherIsBetter
}

// base is the last part of a path, or of an id without its revision.
func base(path string) string {
	if at := strings.IndexByte(path, '@'); at > 0 {
		path = path[:at]
	}
	return digest.BaseName(path)
}
