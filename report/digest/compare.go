package digest

import (
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/stat"
	"github.com/coppice-ml/coppice/run/rundir"
)

// Comparison sets the state that a trial ends in beside another one's, document by
// document: the difference is the trial's minus the other's.
type Comparison struct {
	Trial *Trial
	With  string // dense, or the label of the baseline
	Mean  *report.Difference
	// Holm is the p value of Mean corrected for all trials that are compared with what
	// this one is; NaN where there is none.
	Holm  report.Number
	Tasks map[string]Compared
}

// Compared is a task's difference, and its p value corrected for the number of tasks.
type Compared struct {
	report.Difference
	Holm report.Number
}

// WithDense compares each trial with its model as it was; those that have nothing to
// compare are left out.
func (d *Digest) WithDense(opt stat.Options) []*Comparison {
	return d.compareAll(opt, func(t *Trial) (*State, string) {
		s := t.State(rundir.Dense)
		if s == nil || s == t.Last() {
			return nil, ""
		}
		return s, rundir.Dense
	})
}

// WithBaseline compares each trial with its model's baseline, which the recipe names.
func (d *Digest) WithBaseline(opt stat.Options) []*Comparison {
	return d.compareAll(opt, func(t *Trial) (*State, string) {
		b := d.Baseline(t)
		if b == nil || b == t {
			return nil, ""
		}
		return b.Last(), b.Label
	})
}

// Baseline is the trial that others of a model are compared with: the one that has the
// value report.baseline on the axis report.rows, and on the others the trial's own
// where there is such a one.
func (d *Digest) Baseline(of *Trial) *Trial {
	r := of.Run.Run.Report
	if r.Baseline == "" {
		return nil
	}
	var found *Trial
	best := -1
	for _, t := range d.Trials {
		if t.Run != of.Run || t.Model != of.Model || t.Value(r.Rows) != r.Baseline {
			continue
		}
		alike := 0
		for _, a := range of.Axes {
			if a.Name != r.Rows && t.Value(a.Name) == a.Value {
				alike++
			}
		}
		if alike > best {
			found, best = t, alike
		}
	}
	return found
}

func (d *Digest) compareAll(opt stat.Options, other func(*Trial) (*State, string)) (out []*Comparison) {
	var p []report.Number
	for _, t := range d.Trials {
		last := t.Last()
		with, name := other(t)
		if last == nil || with == nil || with.Tasks == nil {
			continue
		}
		c := compare(with, last, opt)
		c.Trial, c.With = t, name
		out = append(out, c)
		if c.Mean != nil {
			p = append(p, c.Mean.P)
		} else {
			p = append(p, NaN())
		}
	}
	for i, v := range stat.Holm(p) {
		out[i].Holm = v
	}
	return out
}

// compare sets b beside a in the mean and every task that both were asked, of the
// same documents.
func compare(a, b *State, opt stat.Options) *Comparison {
	c := &Comparison{Tasks: map[string]Compared{}, Holm: NaN()}
	_, mean, ok := b.Mean()
	if ok {
		c.Mean = between(a, b, mean, opt)
	}
	var names []string
	var p []report.Number
	for _, v := range b.Rows() {
		l := between(a, b, b.meanOf(v), opt)
		if l == nil {
			continue
		}
		c.Tasks[v.Task] = Compared{Difference: *l, Holm: NaN()}
		if v.Task != mean.Name { // the mean is not one more of them
			names, p = append(names, v.Task), append(p, l.P)
		}
	}
	for i, v := range stat.Holm(p) {
		t := c.Tasks[names[i]]
		t.Holm = v
		c.Tasks[names[i]] = t
	}
	return c
}

// between is nil where there is nothing that can be compared.
func between(a, b *State, of stat.Mean, opt stat.Options) *report.Difference {
	if len(of.Weights) == 0 || !stat.Same(a.Tasks, b.Tasks, of) {
		return nil
	}
	l, ok, err := stat.Between(a.Tasks, b.Tasks, of, opt)
	if err != nil || !ok {
		return nil
	}
	return &l
}

// Same says that a value of another state, of the same documents, cannot be told from
// this one's.
func (s *State) Same(other *State, v Value, opt stat.Options) bool {
	l := between(other, s, other.meanOf(v), opt)
	return l != nil && !l.Significant
}
