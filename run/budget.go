package run

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// limitsOfTasks and samplesOfHealing are what a budget tries, from much to little.
func limitsOfTasks() []int { return []int{1000, 500, 200, 100, 50} }

func samplesOfHealing() []int { return []int{20_000, 10_000, 5000, 2000, 1000} }

// over is a trial's settings within the limits of a recipe.
func (l Limits) over(node *yaml.Node, s Settings) *yaml.Node {
	least := func(path string, n, most int) {
		if most > 0 && (n == 0 || n > most) {
			node = merged(node, nested(node, path, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(most)}), "")
		}
	}
	if m := s.Measure; m != nil && len(m.Tasks) > 0 {
		least("measure.limit", m.Limit, l.Documents)
	}
	if c := s.Curve; c != nil && len(c.Tasks) > 0 {
		least("curve.limit", c.Limit, l.Documents)
	}
	if h := s.Heal; h != nil {
		least("heal.data.samples", h.Data.Samples.N, l.Rows)
	}
	return node
}

// cut is what a budget leaves.
type cut struct{ documents, rows int } // 0: all

func (c cut) changes() (out []Change) {
	if c.documents > 0 {
		out = append(out, Change{"limits.documents", strconv.Itoa(c.documents)})
	}
	if c.rows > 0 {
		out = append(out, Change{"limits.rows", strconv.Itoa(c.rows)})
	}
	return out
}

func (c cut) words() (out []string) {
	if c.documents > 0 {
		out = append(out, fmt.Sprintf("the first %d documents of every task", c.documents))
	}
	if c.rows > 0 {
		out = append(out, fmt.Sprintf("%d rows to train on", c.rows))
	}
	return out
}

// fit cuts a run down to a budget of time: fewer documents of every task, then fewer
// rows to train on. What was cut is in Cuts, and results are partial.
func (p *Plan) fit(ctx context.Context, env stage.Env, o Options) error {
	whole, budget := p.Recipe, o.Budget.Seconds()
	try := func(c cut) error { return p.retry(ctx, env, o, whole, c) }
	if c := earlier(o); c != (cut{}) && p.Seconds > budget {
		// What an earlier call of the same command has chosen stays: a machine is
		// not measured the same twice.
		return try(c)
	}
	asks := slices.ContainsFunc(p.Trials, func(t Trial) bool {
		m, c := t.Settings.Measure, t.Settings.Curve
		return m != nil && len(m.Tasks) > 0 || c != nil && len(c.Tasks) > 0
	})
	trains := slices.ContainsFunc(p.Trials, func(t Trial) bool { return t.Settings.Heal != nil })
	var c cut
	for _, n := range limitsOfTasks() {
		if p.Seconds <= budget || !asks {
			break
		}
		c.documents = n
		if err := try(c); err != nil {
			return err
		}
	}
	for _, n := range samplesOfHealing() {
		if p.Seconds <= budget || !trains {
			break
		}
		c.rows = n
		if err := try(c); err != nil {
			return err
		}
	}
	if p.Seconds > budget {
		even := ""
		if len(p.Cuts) > 0 {
			even = "even with " + strings.Join(p.Cuts, " and ") + " "
		}
		return &Error{What: fmt.Sprintf("--budget %s: %sthe run takes about %s", o.Budget, even, report.Roughly(time.Duration(p.Seconds*float64(time.Second)))), Remedy: "give it more, choose fewer trials with --only, or a smaller model"}
	}
	return nil
}

// retry makes the plan anew with less.
func (p *Plan) retry(ctx context.Context, env stage.Env, o Options, whole *Loaded, c cut) (err error) {
	p.Cuts = c.words()
	if p.Recipe, err = whole.With(nil, c.changes()); err != nil {
		return err
	}
	if p.Trials, err = p.Recipe.Trials(); err != nil {
		return err
	}
	if err := p.build(ctx, env); err != nil {
		return err
	}
	if err := p.choose(o.Only); err != nil {
		return err
	}
	return p.price(ctx, env)
}

// earlier is what the same command has cut before in the run directory.
func earlier(o Options) cut {
	d, err := rundir.Open(o.Out)
	if err != nil || !slices.Equal(d.Run.Command, o.Command) || len(d.Run.Cuts) == 0 {
		return cut{}
	}
	l, err := Load(filepath.Join(o.Out, rundir.RecipeFile))
	if err != nil {
		return cut{}
	}
	return cut{l.Recipe.Limits.Documents, l.Recipe.Limits.Rows}
}

// limits refuses what the recipe does not allow, and what the disk does not hold.
func (p *Plan) limits(o Options) error {
	l := p.Recipe.Recipe.Limits
	if l.Hours > 0 && p.Seconds > l.Hours*3600 {
		return &RefusedError{[]error{fmt.Errorf("limits.hours %v: the run takes about %.1f hours; --budget %vh cuts it down", l.Hours, p.Seconds/3600, l.Hours)}}
	}
	if l.Disk != "" {
		most, err := stage.ParseBytes(l.Disk)
		if err != nil {
			return &Error{What: fmt.Sprintf("limits.disk: %v", err)}
		}
		if p.Disk > most {
			return &RefusedError{[]error{fmt.Errorf("limits.disk %s: the run takes about %d MB", l.Disk, p.Disk>>20)}}
		}
	}
	if free, ok := stage.FreeDisk(o.Out); ok && p.Disk > free {
		return &RefusedError{[]error{fmt.Errorf("--out %s: the run takes about %d MB of disk, and %d MB are free; free some space, or name an --out on another disk", o.Out, p.Disk>>20, free>>20)}}
	}
	return nil
}
