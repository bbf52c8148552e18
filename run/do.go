package run

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/generate"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// call is what stages are done with.
type call struct {
	ctx     context.Context
	env     stage.Env
	root    string // the run directory
	threads int    // of each of several that work side by side; 0: as the recipe says
	memory  string
	device  string // one of several GPUs, of those that work side by side
	partial bool   // a budget left something out
}

// path is where something of the run directory is; other paths stay as they are.
func (c *call) path(name string) string {
	if !strings.HasPrefix(name, rundir.StagesDir+"/") {
		return name
	}
	return filepath.Join(c.root, filepath.FromSlash(name))
}

// file is a file of a stage.
func (c *call) file(s *Stage, name string) string { return filepath.Join(c.path(s.Dir), name) }

func (c *call) cut(l *stage.Cut) {
	l.Plan = c.path(l.Plan)
	l.Trained = slices.Clone(l.Trained)
	for i, dir := range l.Trained {
		l.Trained[i] = c.path(dir)
	}
}

func (c *call) engine(e *stage.Engine) {
	e.Adapter = c.path(e.Adapter)
	if c.device != "" && slices.Contains([]string{"", "auto", "cuda"}, e.Device) {
		e.Device = c.device
	}
	if c.threads > 0 && e.Threads == 0 {
		e.Threads = c.threads
	}
	if c.memory != "" && e.Memory == "" {
		e.Memory = c.memory
	}
}

// doScore ranks by the metrics of all stages in one call.
func doScore(c *call, stages []*Stage) error {
	v := stages[0].spec.(stage.Score)
	v.Metrics = nil
	for _, s := range stages {
		v.Metrics = append(v.Metrics, s.spec.(stage.Score).Metrics...)
	}
	c.cut(&v.Cut)
	c.engine(&v.Engine)
	lines, err := v.Run(c.ctx, c.env)
	if err != nil {
		return err
	}
	for i, s := range stages {
		line := lines[i]
		switch l := line.(type) {
		case report.Ranking:
			s.result = result{compute: l.Compute, tokens: int64(l.Tokens)}
			l.Seconds = 0
			line = l
		case report.Blocks:
			s.result = result{compute: l.Compute, tokens: int64(l.Tokens)}
			l.Seconds = 0
			line = l
		}
		if err := c.lines(s, rundir.RankingFile, line); err != nil {
			return err
		}
	}
	return nil
}

// lines writes a file of a stage as JSON lines.
func (c *call) lines(s *Stage, name string, lines ...report.Line) error {
	var b bytes.Buffer
	for _, l := range lines {
		if err := report.Write(&b, l); err != nil {
			return err
		}
	}
	return rundir.WriteFile(c.file(s, name), b.Bytes())
}

func doPlan(c *call, stages []*Stage) error {
	for _, s := range stages {
		v := s.spec.(stage.Plan)
		v.Ranking, v.Gone, v.Out = c.path(v.Ranking), c.path(v.Gone), c.file(s, rundir.PlanFile)
		c.cut(&v.Cut)
		if _, err := v.Run(c.ctx, c.env); err != nil {
			return err
		}
	}
	return nil
}

func doHeal(c *call, stages []*Stage) error {
	s := stages[0]
	v := s.spec.(stage.Heal)
	v.Out = c.path(s.Dir)
	v.Data.Sources = slices.Clone(v.Data.Sources)
	for i, source := range v.Data.Sources {
		v.Data.Sources[i] = c.path(source)
	}
	c.cut(&v.Layers)
	c.engine(&v.Engine)
	done, err := v.Run(c.ctx, c.env, func(report.Line) error { return nil })
	if err != nil {
		return err
	}
	s.result = result{compute: &done.Compute, seconds: done.Seconds}
	if err := c.losses(s); err != nil {
		return err
	}
	done.Seconds, done.Path = 0, ""
	for _, n := range s.Needs {
		if g, ok := n.spec.(stage.Generate); ok {
			done.Data = dataName(g.Data) + ", answered by the whole model"
		}
	}
	return rundir.Write(c.file(s, rundir.HealedFile), done.Typed())
}

// losses writes the events of training without what differs from run to run.
func (c *call) losses(s *Stage) error {
	f, err := os.Open(stage.HealEvents(c.path(s.Dir)))
	if err != nil {
		return err
	}
	defer f.Close()
	var lines []report.Line
	for in := bufio.NewScanner(f); in.Scan(); {
		l, err := report.Read(in.Bytes())
		if err != nil {
			return err
		}
		switch l := l.(type) {
		case report.HealStep:
			l.TokensPerSecond = 0
			lines = append(lines, l)
		case report.HealEval:
			lines = append(lines, l)
		}
	}
	return c.lines(s, rundir.LossesFile, lines...)
}

// leftovers are what of a stage's directory is not its result.
func leftovers(kind string) []string {
	if kind == rundir.KindHeal {
		return []string{".coppice", "events.jsonl", "coppice_heal.json"}
	}
	if kind == rundir.KindAnswers {
		return []string{rundir.AnswersFile + ".settings.json"}
	}
	return nil
}

func doFold(c *call, stages []*Stage) error {
	s := stages[0]
	v := s.spec.(stage.Fold)
	v.Out, v.Adapter = c.path(s.Dir), c.path(v.Adapter)
	c.cut(&v.Cut)
	return v.Run(c.ctx, c.env)
}

func doCheckpoint(c *call, stages []*Stage) error {
	s := stages[0]
	v := s.spec.(stage.Assemble)
	v.Out, v.Adapter, v.Force = c.file(s, rundir.ModelDir), c.path(v.Adapter), true
	c.cut(&v.Cut)
	if err := card(&v); err != nil {
		return err
	}
	_, err := v.Run(c.ctx, c.env)
	return err
}

// doTasks asks the model and prunings of it in one call.
func doTasks(c *call, stages []*Stage) error {
	v := stages[0].spec.(stage.Eval)
	c.cut(&v.Layers.Cut)
	c.engine(&v.Engine)
	v.Out, v.Force = c.file(stages[0], rundir.ResultsFile), false
	for _, s := range stages[1:] {
		v.Plans = append(v.Plans, c.path(s.spec.(stage.Eval).Layers.Plan))
		v.PlanOuts = append(v.PlanOuts, c.file(s, rundir.ResultsFile))
	}
	for _, s := range stages {
		if err := os.Remove(c.file(s, rundir.ResultsFile)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	if _, err := v.Run(c.ctx, c.env); err != nil {
		return err
	}
	for _, s := range stages {
		if err := c.settle(s); err != nil {
			return err
		}
	}
	return nil
}

// settle takes what differs from run to run out of results.
func (c *call) settle(s *Stage) error {
	path := c.file(s, rundir.ResultsFile)
	f, err := report.ReadEval(path)
	if err != nil {
		return err
	}
	s.result = result{compute: &f.Coppice.Compute, seconds: f.Coppice.Seconds}
	f.Date, f.Coppice.Seconds = 0, 0
	return rundir.Write(path, f)
}

func doPerplexity(c *call, stages []*Stage) error {
	s := stages[0]
	v := s.spec.(stage.PPL)
	c.cut(&v.Cut)
	c.engine(&v.Engine)
	r, err := v.Run(c.ctx, c.env)
	if err != nil {
		return err
	}
	compute := r.Compute
	s.result = result{compute: &compute, tokens: int64(r.Tokens), seconds: r.Seconds}
	r.Seconds = 0
	return c.lines(s, rundir.PerplexityFile, r)
}

func doPrompts(c *call, stages []*Stage) error {
	s := stages[0]
	p := s.spec.(prompting)
	v := p.Generate
	v.Texts = p.texts
	c.cut(&v.Cut)
	c.engine(&v.Engine)
	made, err := v.Run(c.ctx, c.env, func(int, string) error { return nil })
	if err != nil {
		return err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for i, g := range made {
		s.result.compute, s.result.tokens = &made[i].Compute, s.result.tokens+int64(len(g.IDs))
		out := rundir.Generation{Prompt: p.texts[i], Tokens: len(g.IDs), Finish: g.Finish, Repetition: generate.Repetition(g.IDs, repeated)}
		if g.Text != nil {
			out.Text = *g.Text
		}
		if err := e.Encode(out); err != nil {
			return err
		}
	}
	return rundir.WriteFile(c.file(s, rundir.GenerationsFile), b.Bytes())
}

// repeated is how many tokens in a row count as a repetition.
const repeated = 4

func doSpeed(c *call, stages []*Stage) error {
	s := stages[0]
	v := s.spec.(stage.Speed)
	c.cut(&v.Cut)
	c.engine(&v.Engine)
	r, err := v.Run(c.ctx, c.env)
	if err != nil {
		return err
	}
	s.result = result{compute: &r.Compute, prefill: &rundir.Rate{Tokens: r.PrefillTokens, TokensPerSecond: r.Prefill}, decode: &rundir.Rate{Tokens: r.DecodeTokens, TokensPerSecond: r.Decode}}
	return nil
}

func doSimilarity(c *call, stages []*Stage) error {
	s := stages[0]
	v := s.spec.(stage.Score)
	c.cut(&v.Cut)
	c.engine(&v.Engine)
	lines, err := v.Run(c.ctx, c.env)
	if err != nil {
		return err
	}
	l := lines[0].(report.Ranking)
	s.result = result{compute: l.Compute, tokens: int64(l.Tokens)}
	l.Seconds = 0
	return c.lines(s, rundir.SimilarityFile, l)
}

func doSizes(c *call, stages []*Stage) error {
	s := stages[0]
	v := s.spec.(sizing).Sizes
	c.cut(&v.Cut)
	r, err := v.Run(c.ctx, c.env)
	if err != nil {
		return err
	}
	return c.lines(s, rundir.SizesFile, r)
}

func doCurve(c *call, stages []*Stage) error {
	s := stages[0]
	v := s.spec.(stage.Curve)
	v.Order = c.path(v.Order)
	c.engine(&v.Engine)
	r, err := v.Run(c.ctx, c.env)
	if err != nil {
		return err
	}
	compute := r.Compute
	s.result = result{compute: &compute, tokens: int64(r.Tokens), seconds: r.Seconds}
	r.Seconds = 0
	return c.lines(s, rundir.CurveFile, r)
}

// outputs lists the files of a stage with their hashes.
func outputs(dir string) (map[string]rundir.Output, error) {
	out := map[string]rundir.Output{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.HasPrefix(d.Name(), ".") && !strings.Contains(path, string(filepath.Separator)+".coppice") {
			return os.Remove(path) // what a killed process left half written
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == rundir.ManifestFile || rel == rundir.FailureFile {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum, err := hashOf(path)
		out[filepath.ToSlash(rel)] = rundir.Output{Bytes: info.Size(), SHA256: sum}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", dir, err)
	}
	return out, nil
}
