package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// Options say what to run, and where.
type Options struct {
	Recipe   *Loaded
	Out      string // the run directory
	Only     string // pattern of trials' names; "": all
	Parallel int    // calls side by side
	Budget   time.Duration
	Command  []string // that makes the run again
	// Embedded writes what ships inside the program, for recipes that name it.
	Embedded func(dir string) error
	// Tell hears of every stage: what is used again, done, failed or left out.
	Tell func(report.Stage) error
	// Pace is how fast the machine is, by model; of those that are not there it is
	// measured.
	Pace map[string]stage.Pace

	beat  time.Duration         // between signs of life; 0: heartbeat
	begun func(context.Context) // a test's: hears of the context that ends when the lock is lost
}

// Outcome is how a run ended.
type Outcome struct {
	Dir                           string
	Trials                        int // that were asked for
	Reused, Done, Failed, Skipped int // stages
}

// Plan is a run before it is begun: its trials, their stages, and what they take.
type Plan struct {
	Recipe   *Loaded
	Trials   []Trial
	Stages   []*Stage
	Seconds  float64
	Disk     int64
	Memory   int64
	Cuts     []string // of a budget
	refs     map[string][]rundir.Ref
	graph    *graph
	material *material
	selected []Trial
	pace     map[string]stage.Pace
	gone     map[string]int // layers, by trial
}

// Prepare makes the plan of a run: it reads configs and tokenizers alone.
func Prepare(ctx context.Context, env stage.Env, o Options) (*Plan, error) {
	p := &Plan{Recipe: o.Recipe, material: &material{models: map[string]*located{}, ids: map[string]string{}, tasks: map[stage.Tasks]taskFacts{}, extents: map[string]stage.Extent{}, engine: enginesOf(env)}, pace: maps.Clone(o.Pace)}
	var err error
	if p.Trials, err = o.Recipe.Trials(); err != nil {
		return nil, err
	}
	if usesEmbedded(p.Trials) {
		if err := p.embed(o); err != nil {
			return nil, err
		}
	}
	if err := p.material.locate(ctx, env, p.Trials); err != nil {
		return nil, err
	}
	if err := p.build(ctx, env); err != nil {
		return nil, err
	}
	if err := p.choose(o.Only); err != nil {
		return nil, err
	}
	if err := p.price(ctx, env); err != nil {
		return nil, err
	}
	if o.Budget > 0 {
		if err := p.fit(ctx, env, o); err != nil {
			return nil, err
		}
	}
	p.sayDevices(env)
	return p, nil
}

// embed writes what ships inside the program into the run directory.
func (p *Plan) embed(o Options) error {
	p.material.embedded = filepath.Join(o.Out, "sapling")
	if o.Embedded == nil {
		return errors.New("nothing ships inside this program")
	}
	return o.Embedded(p.material.embedded)
}

// build makes the stages of all trials.
func (p *Plan) build(ctx context.Context, env stage.Env) error {
	b := &builder{ctx: ctx, env: env, graph: &graph{}, material: p.material, single: len(p.Trials) == 1, gone: map[string]int{}}
	p.refs, p.graph, p.gone = map[string][]rundir.Ref{}, b.graph, b.gone
	trials, err := b.seeded(p.Trials)
	if err != nil {
		return err
	}
	p.Trials = trials
	for _, t := range p.Trials {
		if p.refs[t.Name], err = b.trial(t); err != nil {
			return err
		}
	}
	return nil
}

// seeded leaves one of the trials that differ in their seeds, where no seed reaches
// any of their results.
func (b *builder) seeded(trials []Trial) (out []Trial, err error) {
	for i := 0; i < len(trials); i += max(1, trials[i].Seeds) {
		n := max(1, trials[i].Seeds)
		same := n > 1
		var first []rundir.Ref
		for k, t := range trials[i : i+n] {
			alone := *b
			alone.graph = &graph{}
			refs, err := alone.trial(t)
			if err != nil {
				return nil, err
			}
			if k == 0 {
				first = refs
			}
			same = same && slices.Equal(first, refs)
		}
		if !same {
			out = append(out, trials[i:i+n]...)
			continue
		}
		one := trials[i]
		one.Name, one.Seeds = one.Name[:len(one.Name)-len(fmt.Sprintf("/seed-%d", one.Seed))], 1
		out = append(out, one)
	}
	return out, nil
}

// choose takes the trials that a pattern names, and their stages.
func (p *Plan) choose(only string) error {
	p.selected = nil
	for _, t := range p.Trials {
		ok := only == ""
		if !ok {
			var err error
			if ok, err = Matches(only, t.Name); err != nil {
				return &Error{What: fmt.Sprintf("--only %s: %v", only, err)}
			}
		}
		if ok {
			p.selected = append(p.selected, t)
		}
	}
	if len(p.selected) == 0 {
		return &Error{What: fmt.Sprintf("--only %s: no trial is called so", only), Remedy: "coppice run --dry-run lists them"}
	}
	p.Stages = slices.DeleteFunc(slices.Clone(p.graph.stages), func(s *Stage) bool {
		return !slices.ContainsFunc(p.selected, func(t Trial) bool { return slices.Contains(s.Trials, t.Name) })
	})
	return nil
}

// Do runs what Prepare has planned.
func (p *Plan) Do(ctx context.Context, env stage.Env, o Options) (*Outcome, error) {
	if err := checkOut(o.Out); err != nil {
		return nil, err
	}
	if err := p.limits(o); err != nil {
		return nil, err
	}
	_, err := os.Stat(filepath.Join(o.Out, rundir.RunFile))
	begun := err == nil
	if !begun {
		if err := consent(ctx, env, p.Seconds); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(o.Out, 0o777); err != nil {
		return nil, err
	}
	l, err := takeLock(o.Out)
	if err != nil {
		return nil, err
	}
	defer l.close()
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	l.beat(lost, cmp.Or(o.beat, heartbeat))
	if o.begun != nil {
		o.begun(ctx)
	}
	b := &builder{ctx: ctx, env: env, material: p.material}
	if err := p.material.identify(ctx, env, b, p.selected); err != nil {
		return nil, err
	}
	seconds := map[string]float64{}
	for _, s := range p.graph.stages {
		seconds[s.Title+s.Roles[0]] = s.Work.seconds
	}
	if err := p.build(ctx, env); err != nil {
		return nil, err
	}
	for _, s := range p.graph.stages {
		s.Work.seconds = seconds[s.Title+s.Roles[0]]
	}
	if err := p.choose(o.Only); err != nil {
		return nil, err
	}
	before, err := rundir.Open(o.Out)
	if err != nil && !errors.Is(err, rundir.ErrNone) && !errors.As(err, new(*rundir.VersionError)) && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := p.write(o, env.Version); err != nil {
		return nil, err
	}
	x := &executor{root: o.Out, env: env, graph: &graph{stages: p.Stages}, before: before, parallel: o.Parallel, devices: p.gpus(env, o.Parallel), partial: p.partial(), tell: o.Tell}
	x.env.Talk = quiet{env.Talk}
	if err := x.look(); err != nil {
		return nil, err
	}
	if left := x.left(); begun && len(left) > 0 {
		if err := consent(ctx, env, p.cost(left)); err != nil {
			return nil, err
		}
	}
	err = x.do(ctx)
	return x.outcome(p, o), x.ended(ctx, err)
}

// consent says how long it takes, and asks.
func consent(ctx context.Context, env stage.Env, seconds float64) error {
	return env.Talk.Consent(ctx, stage.Estimate{What: "run", Time: time.Duration(seconds * float64(time.Second))})
}

// left are the stages that are not done yet.
func (x *executor) left() (out []*Stage) {
	for _, s := range x.graph.stages {
		if x.state[s] == "" {
			out = append(out, s)
		}
	}
	return out
}

// gpus are as many as there are of those that calls side by side could have one each
// of; none where there is one, or the models run elsewhere.
func (p *Plan) gpus(env stage.Env, parallel int) (out []string) {
	if parallel < 2 || !slices.ContainsFunc(p.Stages, func(s *Stage) bool {
		_, by := p.material.engine(s.Work.engine, false)
		return strings.HasPrefix(by.Device, "cuda")
	}) {
		return nil
	}
	for i := range parallel {
		name := fmt.Sprintf("cuda:%d", i)
		if _, err := (stage.Engine{Device: name}).Resolve(env); err != nil {
			break
		}
		out = append(out, name)
	}
	if len(out) < 2 {
		return nil
	}
	return out
}

// sayDevices says where training does not run on what the models run on.
func (p *Plan) sayDevices(env stage.Env) {
	for _, s := range p.Stages {
		if s.Kind != rundir.KindHeal {
			continue
		}
		_, plain := p.material.engine(s.Work.engine, false)
		if _, by := p.material.engine(s.Work.engine, true); by.Device != plain.Device {
			env.Talk.Note("healing runs on the %s: the engine of %s computes no gradients in this version", by.Device, plain.Device)
			return
		}
	}
}

// partial says that not all is asked or trained on that the recipe is about.
func (p *Plan) partial() bool {
	l := p.Recipe.Recipe.Limits
	return len(p.Cuts) > 0 || l.Documents+l.Rows > 0
}

// checkOut refuses a directory that is something else.
func checkOut(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	known := []string{rundir.RunFile, rundir.RecipeFile, rundir.LockFile, rundir.LockFile + ".held", rundir.TrialsDir, rundir.StagesDir, "sapling"}
	if len(entries) > 0 && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return slices.Contains(known, e.Name()) }) {
		return &Error{What: fmt.Sprintf("--out %s: the directory is not empty, and no run is in it", dir), Remedy: "name another directory"}
	}
	return nil
}

// outcome counts.
func (x *executor) outcome(p *Plan, o Options) *Outcome {
	out := &Outcome{Dir: o.Out, Trials: len(p.selected)}
	for _, state := range x.state {
		switch state {
		case report.StageReused:
			out.Reused++
		case report.StageRun:
			out.Done++
		case report.StageFailed:
			out.Failed++
		case report.StageSkipped:
			out.Skipped++
		}
	}
	return out
}

// ended is the error of a run, nil where all stages are done.
func (x *executor) ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		if cause := context.Cause(ctx); errors.Is(cause, ErrLost) {
			return &PartialError{What: cause.Error(), Remedy: "see who else works there; the same command goes on from what is done"}
		}
		return &PartialError{What: "cancelled", Remedy: "the same command goes on from what is done"}
	}
	if endsAll(err) {
		return &PartialError{What: err.Error(), Remedy: "what is done is kept: make room where " + x.root + " is, and the same command goes on"}
	}
	if err != nil {
		return err
	}
	if n := len(x.failed); n > 0 {
		f := x.failed[0]
		return &PartialError{What: fmt.Sprintf("%s failed, the first of them: %s", report.Plural(n, "stage"), f.Title), Remedy: fmt.Sprintf("%s says why; the same command tries again", filepath.Join(f.Dir, rundir.FailureFile))}
	}
	return nil
}

// PartialError is a run with stages that are not done, and others that are.
type PartialError struct{ What, Remedy string }

func (e *PartialError) Error() string { return e.What }

// Is makes it one of the partial errors of stages, with their exit code.
func (e *PartialError) Is(target error) bool { return target == stage.ErrPartial }

// quiet passes on what matters where one of many stages speaks.
type quiet struct{ stage.Talk }

func (q quiet) Note(format string, args ...any)             { q.Detail(format, args...) }
func (quiet) Consent(context.Context, stage.Estimate) error { return nil }
