package digest

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
)

// Digest is one run or several.
type Digest struct {
	Runs   []*rundir.Dir
	Trials []*Trial
	Stages []*Stage // each once, in the order of the trials
	Dir    string   // of the first: the run's, or the trial's in it
}

// Trial is a trial with its results. Pointers are nil where there is no result.
type Trial struct {
	rundir.Trial
	Run    *rundir.Dir
	Label  string // what it is called beside the others
	Of     rundir.Model
	Plan   *report.Plan
	Score  report.Line // a report.Ranking or report.Blocks
	Heal   *Heal
	Curve  *report.Curve
	States []*State // those that the trial measures, dense first
	Gaps   []Gap
}

// State is what was measured of a model dense, cut or healed.
type State struct {
	Name       string
	Tasks      *report.EvalFile
	Perplexity []report.Perplexity
	Texts      []rundir.Generation
	Speed      *rundir.Measured
	Sizes      *report.Sizes
	Similarity report.Matrix // [kept+1][kept+1] of the states before and after every layer
}

// Heal is a training.
type Heal struct {
	report.Healed
	Steps    []report.HealStep
	Evals    []report.HealEval
	Measured rundir.Measured
}

// Gap is a stage without a result, and why.
type Gap struct{ Role, Why, Remedy string }

// Stage is a piece of work, and the trials that need it.
type Stage struct {
	rundir.Ref
	Run      *rundir.Dir
	Manifest *rundir.Manifest // nil: not done
	Failure  *rundir.Failure
	Trials   []string
	content  any
}

// Open reads run directories; one that is a trial's, RUN/TRIAL or RUN/trials/TRIAL, gives that trial
// alone. Errors: rundir.ErrNone, *rundir.VersionError, the system's. Files that do not
// read are gaps of their trials.
func Open(paths ...string) (*Digest, error) {
	d := &Digest{}
	for _, path := range paths {
		dir, trial, err := find(path)
		if err != nil {
			return nil, err
		}
		if d.Dir == "" {
			d.Dir = dir.Path
			if trial != "" {
				d.Dir = filepath.Join(dir.Path, rundir.TrialsDir, filepath.FromSlash(trial))
			}
		}
		d.add(dir, trial, len(paths) > 1)
	}
	d.shorten()
	return d, nil
}

// find opens the run that a path is, or lies in.
func find(path string) (*rundir.Dir, string, error) {
	whole, err := rundir.Open(path)
	if !errors.Is(err, rundir.ErrNone) {
		return whole, "", err
	}
	for dir := filepath.Dir(filepath.Clean(path)); ; dir = filepath.Dir(dir) {
		if d, openErr := rundir.Open(dir); openErr == nil {
			rel, _ := filepath.Rel(dir, path)
			name := strings.TrimPrefix(filepath.ToSlash(rel), rundir.TrialsDir+"/")
			if _, ok := d.Trial(name); ok {
				return d, name, nil
			}
			return nil, "", fmt.Errorf("%s: the run %s has no trial %q", path, dir, name)
		}
		if dir == filepath.Dir(dir) {
			return nil, "", err
		}
	}
}

func (d *Digest) add(dir *rundir.Dir, only string, several bool) {
	d.Runs = append(d.Runs, dir)
	stages := map[string]*Stage{}
	for _, t := range dir.Trials {
		if only != "" && t.Name != only {
			continue
		}
		out := &Trial{Trial: t, Run: dir, Label: t.Name}
		out.Of, _ = dir.Model(t.Model)
		if several {
			out.Label = filepath.Base(dir.Path) + "/" + t.Name
		}
		for _, ref := range t.Stages {
			s, ok := stages[ref.Dir]
			if !ok {
				s = &Stage{Ref: ref, Run: dir}
				stages[ref.Dir] = s
				d.Stages = append(d.Stages, s)
			}
			s.Trials = append(s.Trials, t.Name)
			out.take(s, ref.Role)
		}
		d.Trials = append(d.Trials, out)
	}
}

// shorten leaves the model's name out of labels where there is one model alone.
func (d *Digest) shorten() {
	models := map[string]bool{}
	for _, t := range d.Trials {
		models[t.Of.Name] = true
	}
	if len(models) > 1 || len(d.Runs) > 1 || len(d.Trials) < 2 {
		return
	}
	for _, t := range d.Trials {
		t.Label = strings.TrimPrefix(t.Name, t.Model+"/")
	}
}

// take puts the result of a stage in its place, or says why there is none.
func (t *Trial) take(s *Stage, role string) {
	if s.content == nil && s.Failure == nil {
		s.read()
	}
	if err, ok := s.content.(error); ok {
		t.gap(role, err.Error(), "")
		return
	}
	if s.content == nil {
		why, remedy := "not done", ""
		if s.Failure != nil {
			why, remedy = s.Failure.Message, s.Failure.Remedy
		}
		t.gap(role, why, remedy)
		return
	}
	state, _, _ := strings.Cut(role, ".")
	switch v := s.content.(type) {
	case report.EvalFile:
		t.state(state).Tasks = &v
	case report.Perplexity:
		at := t.state(state)
		at.Perplexity = append(at.Perplexity, v)
	case []rundir.Generation:
		t.state(state).Texts = v
	case rundir.Measured:
		t.state(state).Speed = &v
	case report.Curve:
		t.Curve = &v
	case report.Sizes:
		t.state(state).Sizes = &v
	case report.Ranking, report.Blocks:
		if r, ok := v.(report.Ranking); ok && s.Kind == rundir.KindSimilarity {
			t.state(state).Similarity = r.Matrix
		} else if role == rundir.KindScore {
			t.Score = v.(report.Line)
		}
	case report.Plan:
		if role == rundir.KindPlan {
			t.Plan = &v
		}
	case *Heal:
		if role == rundir.KindHeal {
			t.Heal = v
		}
	}
}

func (t *Trial) gap(role, why, remedy string) {
	t.Gaps = append(t.Gaps, Gap{Role: role, Why: why, Remedy: remedy})
}

// state finds or makes a state.
func (t *Trial) state(name string) *State {
	if s := t.State(name); s != nil {
		return s
	}
	s := &State{Name: name}
	t.States = append(t.States, s)
	return s
}

// State is what was measured in a state; nil where nothing was.
func (t *Trial) State(name string) *State {
	for _, s := range t.States {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Last is the state that the trial ends in, of those with results of tasks.
func (t *Trial) Last() *State {
	for _, name := range []string{rundir.Healed, rundir.Cut, rundir.Dense} {
		if s := t.State(name); s != nil && s.Tasks != nil {
			return s
		}
	}
	return nil
}

// read reads a stage's manifest and its result: content is nil where it is not done,
// an error where its files do not read.
func (s *Stage) read() {
	var err error
	if s.Manifest, err = s.Run.Manifest(s.Ref); err != nil {
		s.content = err
		return
	}
	if s.Manifest == nil {
		if s.Failure, err = s.Run.Failure(s.Ref); err != nil {
			s.content = err
		}
		return
	}
	content, err := s.result()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.content = fmt.Errorf("%s says that it is done, but a file is gone: %w", s.Dir, err)
	case err != nil:
		s.content = err
	default:
		s.content = content
	}
}

func (s *Stage) result() (any, error) {
	d, r := s.Run, s.Ref
	switch r.Kind {
	case rundir.KindTasks:
		return d.Results(r)
	case rundir.KindPlan:
		return d.Plan(r)
	case rundir.KindHeal:
		return s.heal()
	case rundir.KindPrompts:
		return d.Generations(r)
	case rundir.KindSpeed:
		return s.Manifest.Measured, nil
	case rundir.KindScore:
		return s.line(rundir.RankingFile)
	case rundir.KindPerplexity:
		return s.line(rundir.PerplexityFile)
	case rundir.KindCurve:
		return s.line(rundir.CurveFile)
	case rundir.KindSizes:
		return s.line(rundir.SizesFile)
	case rundir.KindSimilarity:
		return s.line(rundir.SimilarityFile)
	}
	return struct{}{}, nil // of other kinds that it is done is all there is to know
}

// line is the one line of a file.
func (s *Stage) line(name string) (report.Line, error) {
	lines, err := s.Run.Lines(s.Ref, name)
	if err == nil && len(lines) == 0 {
		err = fmt.Errorf("%s: the file is empty", s.Run.File(s.Ref, name))
	}
	if err != nil {
		return nil, err
	}
	return lines[0], nil
}

func (s *Stage) heal() (any, error) {
	done, err := s.Run.Healed(s.Ref)
	if err != nil {
		return nil, err
	}
	out := &Heal{Healed: done, Measured: s.Manifest.Measured}
	lines, err := s.Run.Lines(s.Ref, rundir.LossesFile)
	for _, l := range lines {
		switch l := l.(type) {
		case report.HealStep:
			out.Steps = append(out.Steps, l)
		case report.HealEval:
			out.Evals = append(out.Evals, l)
		}
	}
	return out, err
}
