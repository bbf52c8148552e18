package run

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// limitsOfTasks and samplesOfHealing are what a budget tries, from much to little.
func limitsOfTasks() []int { return []int{1000, 500, 200, 100, 50} }

func samplesOfHealing() []int { return []int{20_000, 10_000, 5000, 2000, 1000} }

// fit cuts a run down to a budget of time: fewer documents of every task, then fewer
// rows to train on. What was cut is in Cuts, and results are partial.
func (p *Plan) fit(ctx context.Context, env stage.Env, o Options) error {
	whole := p.Recipe
	var changes []Change
	try := func(c ...Change) error {
		var err error
		if p.Recipe, err = whole.With(nil, c); err != nil {
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
	budget := o.Budget.Seconds()
	if c, cuts := earlier(o); len(c) > 0 && p.Seconds > budget {
		// What an earlier call of the same command has chosen stays: a machine is
		// not measured the same twice.
		p.Cuts = cuts
		return try(c...)
	}
	asks, trains := whole.Recipe.Measure != nil && len(whole.Recipe.Measure.Tasks) > 0, whole.Recipe.Heal != nil
	for _, n := range limitsOfTasks() {
		if p.Seconds <= budget || !asks {
			break
		}
		changes = []Change{{"measure.limit", strconv.Itoa(n)}}
		p.Cuts = []string{fmt.Sprintf("the first %d documents of every task", n)}
		if err := try(changes...); err != nil {
			return err
		}
	}
	asked := len(changes)
	for _, n := range samplesOfHealing() {
		if p.Seconds <= budget || !trains {
			break
		}
		changes = append(changes[:asked:asked], Change{"heal.data.samples", strconv.Itoa(n)})
		p.Cuts = append(p.Cuts[:asked:asked], fmt.Sprintf("%d rows to train on", n))
		if err := try(changes...); err != nil {
			return err
		}
	}
	if p.Seconds > budget {
		return &Error{What: fmt.Sprintf("--budget %s: even with %s the run takes about %s", o.Budget, strings.Join(p.Cuts, " and "), time.Duration(p.Seconds*1e9).Round(time.Minute)), Remedy: "give it more, choose fewer trials with --only, or a smaller model"}
	}
	return nil
}

// earlier is what the same command has cut before in the run directory.
func earlier(o Options) (changes []Change, cuts []string) {
	d, err := rundir.Open(o.Out)
	if err != nil || !slices.Equal(d.Run.Command, o.Command) || len(d.Run.Cuts) == 0 {
		return nil, nil
	}
	l, err := Load(filepath.Join(o.Out, rundir.RecipeFile))
	if err != nil {
		return nil, nil
	}
	if m := l.Recipe.Measure; m != nil && m.Limit > 0 {
		changes = append(changes, Change{"measure.limit", strconv.Itoa(m.Limit)})
	}
	if h := l.Recipe.Heal; h != nil && h.Data.Samples.N > 0 {
		changes = append(changes, Change{"heal.data.samples", strconv.Itoa(h.Data.Samples.N)})
	}
	return changes, d.Run.Cuts
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
		return &RefusedError{[]error{fmt.Errorf("--out %s: the run takes about %d MB of disk, and %d MB are free", o.Out, p.Disk>>20, free>>20)}}
	}
	return nil
}
