package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// ErrNoTrial: a path names no trial of a run.
var ErrNoTrial = errors.New("no trial of a run")

// FindTrial splits the path of a trial, RUN/NAME or RUN/trials/NAME, at the directory
// that is a run. ErrNoTrial where none is.
func FindTrial(path string) (dir, name string, err error) {
	for dir, rest := filepath.Clean(path), ""; ; {
		if _, err := os.Stat(filepath.Join(dir, rundir.RunFile)); err == nil {
			name := strings.TrimPrefix(filepath.ToSlash(rest), rundir.TrialsDir+"/")
			return dir, strings.Trim(name, "/"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", "", ErrNoTrial
		}
		dir, rest = parent, filepath.Join(filepath.Base(dir), rest)
	}
}

// Export writes the checkpoint of a trial to a directory: that of its healed model,
// or where nothing was healed, of its cut one. The bytes are those that the run
// itself writes where it keeps checkpoints.
func Export(ctx context.Context, env stage.Env, path, out string, force bool) (*report.Written, error) {
	dir, name, err := FindTrial(path)
	if err != nil {
		return nil, err
	}
	d, err := rundir.Open(dir)
	if err != nil {
		return nil, err
	}
	t, ok := d.Trial(name)
	if !ok && name == "" && len(d.Trials) == 1 {
		t, ok = d.Trials[0], true
	}
	if !ok {
		return nil, &Error{What: fmt.Sprintf("%s has no trial %q", dir, name), Remedy: "its trials are " + strings.Join(d.Run.Trials, ", ")}
	}
	v, err := assembled(d, t)
	if err != nil {
		return nil, err
	}
	v.Out, v.Force = out, force
	return v.Run(ctx, env)
}

// assembled is the checkpoint that a trial came to.
func assembled(d *rundir.Dir, t rundir.Trial) (stage.Assemble, error) {
	m, _ := d.Model(t.Model)
	v := stage.Assemble{Model: m.From}
	for _, ref := range t.Stages {
		if !slices.Contains([]string{rundir.KindPlan, rundir.KindHeal, kindFold}, ref.Kind) {
			continue
		}
		manifest, err := d.Manifest(ref)
		if err != nil {
			return v, err
		}
		if manifest == nil {
			return v, &Error{What: fmt.Sprintf("trial %s: %s is not done", t.Name, ref.Role), Remedy: "run the recipe first; the same command goes on"}
		}
		if ref.Kind == rundir.KindPlan {
			v.Plan = d.File(ref, rundir.PlanFile)
			continue
		}
		if _, ok := manifest.Outputs[rundir.TrainedFile]; ok {
			if dir := d.File(ref, ""); !slices.Contains(v.Trained, dir) {
				v.Trained = append(v.Trained, dir)
			}
		} else if ref.Role == rundir.KindHeal {
			v.Adapter = d.File(ref, "")
		}
	}
	return v, card(&v)
}

// dataName is what a checkpoint's card calls data: a data set of the hub as it is, a file
// without the machine's directories.
func dataName(data string) string {
	if filepath.IsAbs(data) {
		return filepath.Base(data)
	}
	return data
}

// card says in a checkpoint's card how it was healed.
func card(v *stage.Assemble) error {
	last := v.Adapter
	if last == "" && len(v.Trained) > 0 {
		last = v.Trained[len(v.Trained)-1]
	}
	if last == "" {
		return nil
	}
	d := rundir.Dir{Path: filepath.Dir(last)}
	h, err := d.Healed(rundir.Ref{Dir: filepath.Base(last)})
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n\n## Healing\n\nFine-tuned with Coppice: %s, %d parameters trained in %s, on %s of %s, %d held out.\n", h.Method, h.Trainable, report.Plural(h.Steps, "step"), report.Plural(h.Samples, "sample"), dataName(h.Data), h.HeldOut)
	if h.LossFirst != nil && h.LossBest != nil {
		fmt.Fprintf(&b, "Loss on the held-out samples: %.4f before, %.4f after.\n", float64(*h.LossFirst), float64(*h.LossBest))
	}
	v.Card = b.String()
	return nil
}
