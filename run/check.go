package run

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// check finds what no trial has to be made for.
func (r *Recipe) check(file string) error {
	fail := func(format string, args ...any) error { return &Error{File: file, What: fmt.Sprintf(format, args...)} }
	if r.Name != "" {
		if err := checkName(r.Name); err != nil {
			return fail("name %q: %v", r.Name, err)
		}
	}
	for i, m := range r.Models {
		if err := checkName(m.Name); err != nil {
			return fail("models: %q: %v; give it another with {name: …, from: %s}", m.Name, err, m.From)
		}
		if slices.ContainsFunc(r.Models[:i], func(o Model) bool { return strings.EqualFold(o.Name, m.Name) }) {
			return fail("models: two are called %q; give them names of their own with {name: …, from: …}", m.Name)
		}
	}
	axes := r.Matrix.axisNames()
	for _, c := range slices.Concat(r.Exclude, r.Include) {
		for axis := range c.Axes {
			if !slices.Contains(axes, axis) {
				return fail("%v: there is no axis %s; axes are %s", at(c.where, "exclude or include"), axis, strings.Join(axes, ", "))
			}
		}
	}
	return nil
}

// check finds what is wrong with a trial's settings before anything is opened.
func (t Trial) check() error {
	fail := func(format string, args ...any) error {
		return &Error{What: "trial " + t.Name + ": " + fmt.Sprintf(format, args...)}
	}
	s := t.Settings
	if s.Prune != nil && s.Prune.By != "" && !slices.Contains(stage.MetricNames(), s.Prune.By) {
		return fail("prune.by %q: want one of %s", s.Prune.By, strings.Join(stage.MetricNames(), ", "))
	}
	if s.Curve != nil && s.Prune == nil {
		return fail("curve: prune says in which order layers go, and there is no prune")
	}
	if m := s.Measure; m != nil {
		for _, at := range m.At {
			if !slices.Contains([]string{rundir.Dense, rundir.Cut, rundir.Healed}, at) {
				return fail("measure.at %q: want dense, cut or healed", at)
			}
		}
	}
	for _, c := range []struct {
		key, value string
		valid      []string
	}{
		{"keep.cut", s.Keep.Cut, []string{"", KeepPlan, KeepCheckpoint}},
		{"keep.healed", s.Keep.Healed, []string{"", KeepTrained, KeepCheckpoint}},
	} {
		if !slices.Contains(c.valid, c.value) {
			return fail("%s %q: want %s", c.key, c.value, strings.Join(c.valid[1:], " or "))
		}
	}
	return nil
}
