package page

import (
	"fmt"
	"html/template"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/internal/shell"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/digest"
	"github.com/coppice-ml/coppice/report/stat"
	"github.com/coppice-ml/coppice/run/rundir"
)

// view is all that the forms of a report show.
type view struct {
	d         *digest.Digest
	best      *digest.Trial // that the first screen is of
	dense     map[*digest.Trial]*digest.Comparison
	baseline  map[*digest.Trial]*digest.Comparison
	published published
	labels    map[string]string // of tasks, shorter than their names
	alike     map[place]bool    // the best values, and those that cannot be told from them

	Title, About string
	Lead         string
	Paper        string
	Strip        *strip
	Tiles        []tile
	Machine      string
	Main         *chart
	Warnings     []string
	Commands     []string
	Links        []link
	Results      *Table
	Sections     []section
	Version      string
}

// section is a part of the report below its first screen.
type section struct {
	ID, Title, Intro string
	Charts           []chart
	Tables           []*Table
	Strips           []strip
	Details          []detail
	Notes            []string
}

type chart struct {
	Title, Note string
	SVG         template.HTML // of package plot, which escapes its texts
	Wide        bool
}

type detail struct{ Title, Text string }

type link struct{ Name, File string }

// strip is the layers of a model, kept and dropped.
type strip struct {
	Label  string
	Layers []layer
}

type layer struct {
	Index   int
	Dropped bool
}

// tile is a number before and after.
type tile struct {
	Name, Before, After, Change string
	Better                      bool
}

// resamples are enough for bounds that differ by a tenth of their distance from one
// seed to another, and quick for hundreds of trials.
const resamples = 4000

func newView(d *digest.Digest) (*view, error) {
	p, err := readPublished()
	if err != nil {
		return nil, err
	}
	v := &view{d: d, published: p, dense: map[*digest.Trial]*digest.Comparison{}, baseline: map[*digest.Trial]*digest.Comparison{}}
	opt := stat.Options{Resamples: resamples, Seed: 42}
	for _, c := range d.WithDense(opt) {
		v.dense[c.Trial] = c
	}
	for _, c := range d.WithBaseline(opt) {
		v.baseline[c.Trial] = c
	}
	v.best, v.labels, v.alike = bestTrial(d), labels(d), alike(d, v.tasks())
	v.name()
	v.Lead = v.lead()
	if v.best != nil && (v.best.Curve == nil || v.best.Last() != nil) {
		v.Strip, v.Tiles, v.Machine = stripOf(v.best), tiles(v.best), machine(v.best)
		v.Paper = v.paper(v.best)
	}
	if v.Main, err = v.mainChart(); err != nil {
		return nil, err
	}
	v.Warnings = v.warnings()
	v.Results = v.results()
	v.Sections, err = v.sections()
	return v, err
}

// name fills in what stands at the top.
func (v *view) name() {
	var names []string
	for _, r := range v.d.Runs {
		names = append(names, plain(r.Run.Name))
		v.Commands = append(v.Commands, shell.Command(r.Run.Command))
		v.Version = r.Run.Version
		if v.About == "" {
			v.About = r.Run.About
		}
	}
	v.Title = strings.Join(slices.Compact(names), ", ")
	if len(v.d.Trials) == 1 && len(v.d.Trials[0].Axes) > 0 {
		v.Title += " · " + v.d.Trials[0].Name
	}
}

// bestTrial has the largest mean of what was cut; else the first with results.
func bestTrial(d *digest.Digest) *digest.Trial {
	var best *digest.Trial
	top := math.Inf(-1)
	for _, t := range d.Trials {
		s := t.Last()
		if s == nil {
			continue
		}
		m, _, ok := s.Mean()
		if !ok || !m.Value.Finite() {
			continue
		}
		worth := float64(m.Value)
		if !m.HigherIsBetter {
			worth = -worth
		}
		if t.Plan == nil && len(d.Trials) > 1 {
			worth -= 1e6 // a model as it was is nobody's best cut
		}
		if worth > top {
			best, top = t, worth
		}
	}
	if best == nil && len(d.Trials) > 0 {
		best = d.Trials[0]
	}
	return best
}

func stripOf(t *digest.Trial) *strip {
	n := t.Of.Facts.Layers
	s := &strip{Label: cutText(t)}
	if t.Plan != nil {
		n = t.Plan.Layers
	}
	for i := range n {
		s.Layers = append(s.Layers, layer{Index: i, Dropped: t.Plan != nil && slices.Contains(t.Plan.Drop, i)})
	}
	if n == 0 {
		return nil
	}
	return s
}

// tiles are three numbers of size and two of speed.
func tiles(t *digest.Trial) (out []tile) {
	parameters, bytes, kv := t.Sizes()
	sized := func(name string, s digest.Size, format func(int64) string) {
		if s.Before > 0 {
			out = append(out, tile{Name: name, Before: format(s.Before), After: format(s.After), Change: change(float64(s.Before), float64(s.After)), Better: s.After < s.Before})
		}
	}
	sized("parameters", parameters, report.FormatCount)
	sized("weights", bytes, report.FormatBytes)
	sized("cache per token", kv, report.FormatBytes)
	for i, name := range []string{"prefill", "decode"} {
		before, after := t.Rate(rundir.Dense, i == 1), t.Rate(rundir.Cut, i == 1)
		if before.Finite() || after.Finite() {
			out = append(out, tile{Name: name + ", tokens/s", Before: rate(before), After: rate(after), Change: change(float64(before), float64(after)), Better: after > before})
		}
	}
	return out
}

func change(before, after float64) string {
	if !(before > 0) || math.IsNaN(after) || math.IsInf(after, 0) {
		return ""
	}
	v := (after/before - 1) * 100
	switch {
	case math.Abs(v) < .5:
		return "as before"
	case v < 0:
		return fmt.Sprintf("−%.0f %%", -v)
	}
	return fmt.Sprintf("+%.0f %%", v)
}

// machine is what speed was measured on.
func machine(t *digest.Trial) string {
	for _, name := range []string{rundir.Cut, rundir.Dense} {
		if s := t.State(name); s != nil && s.Speed != nil {
			return machineText(*s.Speed)
		}
	}
	return ""
}

func machineText(m rundir.Measured) string {
	parts := []string{}
	if m.CPU != "" {
		parts = append(parts, m.CPU)
	}
	parts = append(parts, plural(max(m.Threads, 1), "thread"))
	if m.Provider != "" {
		parts = append(parts, m.Provider)
	}
	return strings.Join(append(parts, m.OS+"/"+m.Arch), ", ")
}

// paper sets the trial beside what was published of it.
func (v *view) paper(t *digest.Trial) string {
	row := v.published.of(t)
	if row == nil {
		return ""
	}
	s := fmt.Sprintf("The paper (%s) has a mean of %s for %s", row.about, share(report.Number(row.Values[len(v.published.Tasks)]), 4), strings.Join(row.Is, ", "))
	if m, ok := meanOf(t, rundir.Healed); ok && m.Task == "layer-pruning" {
		s += fmt.Sprintf("; here it is %s", share(m.Value, 4))
	}
	return s + "."
}

// warnings say what a reader must know before believing a number.
func (v *view) warnings() (out []string) {
	for _, r := range v.d.Runs {
		for _, c := range r.Run.Cuts {
			out = append(out, "Results are partial, to fit a budget: "+c+".")
		}
	}
	failed := 0
	for _, t := range v.d.Trials {
		if len(t.Gaps) > 0 {
			failed++
		}
	}
	if failed > 0 && len(v.d.Trials) > 1 {
		out = append(out, fmt.Sprintf("%d of %d trials lack results; see “What is missing”.", failed, len(v.d.Trials)))
	}
	if v.best != nil {
		out = append(out, v.ties()...)
		out = append(out, v.trialWarnings(v.best)...)
	}
	return out
}

// ties says how many trials cannot be told from the best one.
func (v *view) ties() []string {
	last := v.best.Last()
	if last == nil || v.best.Plan == nil {
		return nil
	}
	m, ok := meanIn(last)
	others, n := -1, -1 // than the best itself
	for _, t := range v.d.Trials {
		if t.Run == v.best.Run && t.Model == v.best.Model && t.Plan != nil && t.Last() != nil {
			others++
			if v.alike[place{t, m.Task}] {
				n++
			}
		}
	}
	if !ok || n < 1 {
		return nil
	}
	if others == 1 {
		return []string{fmt.Sprintf("A paired 95 %% interval cannot tell the other trial of %s from the best.", v.best.Of.Name)}
	}
	return []string{fmt.Sprintf("Of the %d other trials of %s, paired 95 %% intervals cannot tell %d from the best.", others, v.best.Of.Name, n)}
}

func (v *view) trialWarnings(t *digest.Trial) (out []string) {
	if len(v.d.Trials) == 1 {
		for _, g := range t.Gaps {
			out = append(out, fmt.Sprintf("%s has no result: %s.", g.Role, strings.TrimSuffix(g.Why, ".")))
		}
	}
	dtypes := map[string]bool{}
	cut := map[string]int{}
	for _, s := range t.States {
		if s.Tasks == nil {
			continue
		}
		dtypes[s.Tasks.Coppice.Compute.DType] = true
		if m, _, ok := s.Mean(); ok && m.Partial {
			cut["partial"]++
		}
		for _, n := range s.Tasks.Coppice.Truncated {
			cut["truncated"] += n
		}
		for _, row := range s.Rows() {
			if row.Empty() {
				out = append(out, fmt.Sprintf("%s, %s: no document was asked.", s.Name, row.Task))
			} else if !row.Value.Finite() {
				out = append(out, fmt.Sprintf("%s, %s: the result is not a number.", s.Name, row.Task))
			}
		}
	}
	if cut["partial"] > 0 {
		out = append(out, "Partial: not all documents of the published tasks were asked.")
	}
	if n := cut["truncated"]; n > 0 {
		out = append(out, fmt.Sprintf("%s lost their beginnings, being longer than the model's context.", plural(n, "request")))
	}
	if len(dtypes) > 1 {
		out = append(out, "Not all states were computed in the same type of numbers.")
	}
	if h := t.Heal; h != nil && h.Skipped > 0 {
		out = append(out, fmt.Sprintf("%s of the training data had nothing to learn in them and were skipped.", plural(h.Skipped, "row")))
	}
	return append(out, atChance(t)...)
}

// atChance names the tasks in which the trial does no better than guessing.
func atChance(t *digest.Trial) []string {
	last := t.Last()
	var names []string
	for _, row := range last.Rows() {
		if row.AtChance() {
			names = append(names, row.Task)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s: within two standard errors of guessing in %s.", last.Name, strings.Join(names, ", "))}
}

// files are what a report is made of.
func links(d *digest.Digest) []link {
	out := []link{{"Markdown", "report.md"}, {"LaTeX", "report.tex"}, {"all numbers (CSV)", "results.csv"}}
	if len(d.Runs) == 1 {
		out = append(out, link{"recipe", rundir.RecipeFile}, link{"run.json", rundir.RunFile})
	}
	return out
}

// runName is how a run is called beside others.
func runName(d *rundir.Dir) string { return filepath.Base(d.Path) }
