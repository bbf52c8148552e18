package run

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/run/rundir"
)

// write writes what the run is made of: the recipe, its trials, and last the run.
func (p *Plan) write(o Options, version string) error {
	raw, err := p.Recipe.YAML()
	if err != nil {
		return err
	}
	if err := rundir.WriteFile(filepath.Join(o.Out, rundir.RecipeFile), raw); err != nil {
		return err
	}
	r := rundir.Run{
		Format: rundir.Format, Name: p.Recipe.Recipe.Name, About: p.Recipe.Recipe.About, Version: version, Command: o.Command,
		Report: p.Recipe.Recipe.Report, Cuts: p.Cuts,
	}
	for _, t := range p.Trials {
		r.Trials = append(r.Trials, t.Name)
		if err := p.writeTrial(o.Out, t); err != nil {
			return err
		}
		m := p.material.models[t.Model.From]
		if !slices.ContainsFunc(r.Models, func(have rundir.Model) bool { return have.Name == t.Model.Name }) {
			r.Models = append(r.Models, rundir.Model{Name: t.Model.Name, From: whereFrom(m), Hash: m.id, KVBytesPerToken: m.shape.KVBytesPerToken(), Facts: m.shape.Facts()})
		}
	}
	if err := rundir.Write(filepath.Join(o.Out, rundir.RunFile), r); err != nil {
		return err
	}
	return removeOthers(filepath.Join(o.Out, rundir.TrialsDir), r.Trials)
}

// whereFrom names a model so that it is found from anywhere: its directory, or its
// name on the hub.
func whereFrom(m *located) string {
	if _, err := os.Stat(m.dir); err == nil {
		if abs, err := filepath.Abs(m.dir); err == nil && !strings.Contains(abs, "models--") {
			return abs
		}
	}
	return m.from
}

// writeTrial writes a trial's file, and links to its stages where the system has any.
func (p *Plan) writeTrial(out string, t Trial) error {
	dir := filepath.Join(out, rundir.TrialsDir, filepath.FromSlash(t.Name))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	settings, err := t.Resolved()
	if err != nil {
		return err
	}
	file := rundir.Trial{Format: rundir.Format, Name: t.Name, Model: t.Model.Name, Axes: append([]rundir.Axis{}, t.Axes...), Settings: settings, Stages: p.refs[t.Name]}
	if t.Seeds > 1 {
		file.Seed = &t.Seed
	}
	if err := rundir.Write(filepath.Join(dir, rundir.TrialFile), file); err != nil {
		return err
	}
	up := strings.Repeat("../", strings.Count(t.Name, "/")+2)
	for _, ref := range file.Stages {
		link, to := filepath.Join(dir, ref.Role), filepath.FromSlash(up+ref.Dir)
		if have, err := os.Readlink(link); err == nil && have == to {
			continue
		}
		_ = os.Remove(link)
		_ = os.Symlink(to, link) // for people alone
	}
	return nil
}

// removeOthers removes the directories of trials that there are no more: they hold
// nothing but names of stages, which stay.
func removeOthers(root string, names []string) error {
	var old []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != rundir.TrialFile {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err == nil && !slices.Contains(names, filepath.ToSlash(rel)) {
			old = append(old, filepath.Dir(path))
		}
		return err
	})
	for _, dir := range old {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if e.Name() == rundir.TrialFile || e.Type() == fs.ModeSymlink {
				err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
			}
		}
		for d := dir; d != root && os.Remove(d) == nil; d = filepath.Dir(d) { // while they are empty
		}
	}
	return err
}
