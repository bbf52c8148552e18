package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/report"
)

// Dir is a run directory that was opened for reading.
type Dir struct {
	Path   string
	Run    Run
	Trials []Trial // in the recipe's order
}

// Open reads a run directory, which may be at work. Errors: ErrNone, *VersionError,
// the system's.
func Open(path string) (*Dir, error) {
	d := &Dir{Path: path}
	err := read(filepath.Join(path, RunFile), &d.Run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: it has no %s", path, ErrNone, RunFile)
	}
	if err != nil {
		return nil, anew(err)
	}
	for _, name := range d.Run.Trials {
		var t Trial
		if err := read(filepath.Join(path, TrialsDir, filepath.FromSlash(name), TrialFile), &t); err != nil {
			return nil, anew(err)
		}
		d.Trials = append(d.Trials, t)
	}
	return d, nil
}

// anew says what helps where a file is damaged that a run writes every time.
func anew(err error) error {
	if errors.Is(err, errDamaged) {
		return fmt.Errorf("%w; remove it, and the command that wrote this directory writes it again", err)
	}
	return err
}

// Trial finds a trial by its name.
func (d *Dir) Trial(name string) (Trial, bool) {
	i := slices.IndexFunc(d.Trials, func(t Trial) bool { return t.Name == name })
	if i < 0 {
		return Trial{}, false
	}
	return d.Trials[i], true
}

// Model finds a model by its name.
func (d *Dir) Model(name string) (Model, bool) {
	i := slices.IndexFunc(d.Run.Models, func(m Model) bool { return m.Name == name })
	if i < 0 {
		return Model{}, false
	}
	return d.Run.Models[i], true
}

// Stage finds the stage of a role.
func (t Trial) Stage(role string) (Ref, bool) {
	i := slices.IndexFunc(t.Stages, func(r Ref) bool { return r.Role == role })
	if i < 0 {
		return Ref{}, false
	}
	return t.Stages[i], true
}

// Roles lists the stages whose role is the name, or begins with it and a dot.
func (t Trial) Roles(name string) (out []Ref) {
	for _, r := range t.Stages {
		if r.Role == name || strings.HasPrefix(r.Role, name+".") {
			out = append(out, r)
		}
	}
	return out
}

// Value is the trial's value of an axis; "model" is one, and so is "seed".
func (t Trial) Value(axis string) string {
	switch axis {
	case "model":
		return t.Model
	case "seed":
		if t.Seed != nil {
			return fmt.Sprint(*t.Seed)
		}
	}
	for _, a := range t.Axes {
		if a.Name == axis {
			return a.Value
		}
	}
	return ""
}

// File is the path of a stage's file.
func (d *Dir) File(r Ref, name string) string {
	return filepath.Join(d.Path, filepath.FromSlash(r.Dir), name)
}

// Manifest reads a stage's manifest; nil where the stage is not done.
func (d *Dir) Manifest(r Ref) (*Manifest, error) {
	var m Manifest
	err := read(d.File(r, ManifestFile), &m)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// Failure reads why a stage failed; nil where it did not.
func (d *Dir) Failure(r Ref) (*Failure, error) {
	var f Failure
	err := read(d.File(r, FailureFile), &f)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &f, nil
}

// Lines reads a file of JSON lines of results.
func (d *Dir) Lines(r Ref, name string) ([]report.Line, error) {
	path := d.File(r, name)
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []report.Line
	n := 0
	for line := range strings.Lines(string(raw)) {
		n++
		l, err := report.Read([]byte(line))
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, n, err)
		}
		out = append(out, l)
	}
	return out, nil
}

// Results reads the results of tasks, in the form of lm-evaluation-harness.
func (d *Dir) Results(r Ref) (f report.EvalFile, err error) {
	err = d.decode(r, ResultsFile, &f)
	return f, err
}

// Healed reads what healing came to.
func (d *Dir) Healed(r Ref) (h report.Healed, err error) {
	err = d.decode(r, HealedFile, &h)
	return h, err
}

// Plan reads a plan.
func (d *Dir) Plan(r Ref) (p report.Plan, err error) {
	err = d.decode(r, PlanFile, &p)
	return p, err
}

// Generations reads what a model made of the prompts.
func (d *Dir) Generations(r Ref) (out []Generation, err error) {
	raw, err := os.ReadFile(d.File(r, GenerationsFile))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(raw)) {
		var g Generation
		if err := json.Unmarshal([]byte(line), &g); err != nil {
			return nil, fmt.Errorf("%s: %w", d.File(r, GenerationsFile), err)
		}
		out = append(out, g)
	}
	return out, nil
}

func (d *Dir) decode(r Ref, name string, into any) error {
	raw, err := os.ReadFile(d.File(r, name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: %w", d.File(r, name), err)
	}
	return nil
}
