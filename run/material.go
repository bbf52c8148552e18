package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

// material is what trials are made of: models and data, found and identified.
type material struct {
	models map[string]*located // by their from
	ids    map[string]string   // of data, by source
	tasks  map[stage.Tasks]taskFacts
	// extents of data, by kind and source
	extents map[string]stage.Extent
	// embedded is where what ships inside the program was written to, for names that
	// begin with its prefix.
	embedded string
	exact    bool // identified by content, not by name alone
	// engine is what models run on, or train on, and what auto comes to there.
	engine func(e Engine, trains bool) (stage.Engine, report.Compute)
}

// enginesOf finds out once for each what an engine of a recipe comes to.
func enginesOf(env stage.Env) func(Engine, bool) (stage.Engine, report.Compute) {
	type wanted struct {
		e      Engine
		trains bool
	}
	type found struct {
		e  stage.Engine
		by report.Compute
	}
	known := map[wanted]found{}
	return func(e Engine, trains bool) (stage.Engine, report.Compute) {
		f, ok := known[wanted{e, trains}]
		if !ok {
			f.e = stage.Engine{Device: e.Device, DType: e.DType, Threads: e.Threads, Memory: e.Memory}
			if trains {
				f.e = f.e.Training(env)
			}
			f.by, _ = f.e.Resolve(env)
			known[wanted{e, trains}] = f
		}
		return f.e, f.by
	}
}

// located is a model that was found.
type located struct {
	from, dir string
	id        string // hash of config and weights; the name where only its config is here
	shape     *stage.Shape
}

// embeddedPrefix names what ships inside the program: sapling:model.
const embeddedPrefix = "sapling:"

// path is where a path of a recipe is.
func (m *material) path(name string) string {
	if rest, ok := strings.CutPrefix(name, embeddedPrefix); ok {
		return filepath.Join(m.embedded, filepath.FromSlash(rest))
	}
	return name
}

// usesEmbedded says whether anything of the trials ships inside the program.
func usesEmbedded(trials []Trial) bool {
	return slices.ContainsFunc(trials, func(t Trial) bool {
		return slices.ContainsFunc(append(sources(t), t.Model.From), func(s string) bool { return strings.HasPrefix(s, embeddedPrefix) })
	})
}

// data is what sequences are cut from.
func (m *material) data(t Texts) stage.Data {
	d := stage.DefaultData()
	d.Source, d.Field, d.Windows, d.Samples = m.path(t.From), t.Field, t.Windows, t.Samples.N
	d.Length, d.AddBOS = t.Length, t.AddBOS
	return d
}

// rows are what is trained on.
func (m *material) rows(r Rows) stage.TrainData {
	d := stage.DefaultTrainData()
	for _, s := range r.From {
		d.Sources = append(d.Sources, m.path(s))
	}
	d.Tokens, d.Schema, d.Map, d.Template, d.Learn = m.path(r.TrainTokens), r.Schema, r.Map, r.Template, r.TrainOn
	d.MaxLength, d.Samples, d.ValidationData = cmp.Or(r.MaxLength, d.MaxLength), r.Samples.N, m.path(r.ValidationData)
	if r.Validation != nil {
		d.Validation = *r.Validation
	}
	return d
}

// identity of data: by content where that was looked at.
func (m *material) identity(source string) string { return cmp.Or(m.ids[source], source) }

// taskFacts are what is known of tasks.
type taskFacts struct {
	id     string
	shared bool // several prunings can be asked them at once
}

// taskFacts identifies tasks, and remembers it.
func (m *material) taskFacts(t stage.Tasks) (taskFacts, error) {
	key := t
	key.Limit, key.Shots = 0, 0
	if f, ok := m.tasks[key]; ok {
		return f, nil
	}
	f := taskFacts{id: t.Names}
	var err error
	if f.shared, err = t.Shareable(); err == nil && m.exact {
		f.id, err = t.Identity()
	}
	if err != nil {
		return f, err
	}
	m.tasks[key] = f
	return f, nil
}

// sources are the data of a trial that stages read.
func sources(t Trial) (out []string) {
	s := t.Settings
	if s.Score != nil {
		out = append(out, s.Score.Data.From)
		for _, of := range s.Score.PerMetric {
			out = append(out, of.Data.From)
		}
	}
	if s.Heal != nil {
		out = append(append(out, s.Heal.Data.From...), s.Heal.Data.TrainTokens, s.Heal.Data.ValidationData)
	}
	if s.Measure != nil {
		for _, p := range s.Measure.Perplexity {
			out = append(out, p.Data)
		}
		out = append(out, s.Measure.DataDir, s.Measure.TaskDir)
		if x := s.Measure.Similarity; x != nil {
			out = append(out, x.Data.From)
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// needed are the data that the trials' stages are run on.
func (w *way) needed() (out []string) {
	s := w.t.Settings
	m := w.b.material
	if s.Prune != nil && s.Prune.Drop+s.Prune.Keep+s.Prune.Plan == "" {
		if by := cmp.Or(s.Prune.By, stage.DefaultMetric); stage.RunsModel(by) {
			out = append(out, m.data(w.texts(by)).Source)
		}
	}
	if s.Curve != nil && len(s.Curve.Tasks) == 0 {
		out = append(out, m.data(w.texts("")).Source)
	}
	if s.Heal != nil {
		rows := m.rows(s.Heal.Data)
		out = append(append(out, rows.Sources...), rows.Tokens, rows.ValidationData)
	}
	if s.Measure != nil {
		for _, p := range s.Measure.Perplexity {
			out = append(out, m.path(p.Data))
		}
		if x := s.Measure.Similarity; x != nil {
			out = append(out, m.path(x.Data.From))
		}
	}
	return out
}

// locate finds all models, by their configs first, so that all that is missing or
// refused is said before anything is done.
func (m *material) locate(ctx context.Context, env stage.Env, trials []Trial) error {
	var problems []error
	for _, t := range trials {
		from := t.Model.From
		if _, seen := m.models[from]; seen {
			continue
		}
		shape, err := stage.ReadShape(ctx, env, m.path(from))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("model %s: %w", t.Model.Name, err))
		}
		m.models[from] = &located{from: from, dir: m.path(from), id: from, shape: shape}
	}
	return refused(problems)
}

// identify brings models and data here and identifies them by their content.
func (m *material) identify(ctx context.Context, env stage.Env, b *builder, trials []Trial) error {
	var problems []error
	for _, from := range slices.Sorted(maps.Keys(m.models)) {
		l := m.models[from]
		dir, hash, err := stage.Locate(ctx, env, l.dir)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("model %s: %w", from, err))
			continue
		}
		l.dir, l.id = dir, hash
	}
	for _, t := range trials {
		w := &way{b: b, t: t, m: m.models[t.Model.From]}
		for _, source := range w.needed() {
			if _, seen := m.ids[source]; seen || source == "" {
				continue
			}
			id, err := stage.Fingerprint(ctx, env, source)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("data %s: %w", source, err))
			}
			m.ids[source] = id
		}
	}
	m.exact, m.tasks = true, map[stage.Tasks]taskFacts{}
	return refused(problems)
}

// refused joins what keeps a run from starting.
func refused(problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	return &RefusedError{problems}
}

// RefusedError is all that keeps a run from starting; nothing was done.
type RefusedError struct{ Problems []error }

func (e *RefusedError) Error() string {
	lines := []string{"nothing was started:"}
	for _, p := range e.Problems {
		message, remedy := stage.Describe(p, func(f string) string { return f })
		if remedy != "" {
			message += "; " + remedy
		}
		lines = append(lines, message)
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives all of them.
func (e *RefusedError) Unwrap() []error { return e.Problems }

// isRefused says whether an error is one.
func isRefused(err error) bool { return errors.As(err, new(*RefusedError)) }
