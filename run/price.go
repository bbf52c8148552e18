package run

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// Work is what a stage takes, in units whose time a machine has for a model's shapes.
type Work struct {
	Layers    float64 // tokens x layers, forwards or as much
	Head      float64 // rows through the head, forwards or as much
	Alone     float64 // tokens x layers one by one
	Updates   float64 // parameters x steps
	Bytes     float64 // of weights brought in
	Trainable int64   // parameters that change
	Disk      int64   // bytes that stay
	Scratch   int64   // bytes while it works, beside those
	Memory    int64   // bytes beside mapped weights
	Guessed   bool    // sizes of data that are not here were taken for typical

	model   string
	trains  bool // or runs where is trained
	engine  Engine
	seconds float64
}

// time is what the work takes at a pace: weights are brought in while others are
// computed with, and keep one of the threads from that.
func (k Work) time(p stage.Pace) float64 {
	load := k.Bytes * p.Load
	work := k.Layers*p.Layer + k.Head*p.Head + k.Alone*p.Alone + k.Updates*p.Update
	if p.Threads > 0 {
		work += load / float64(p.Threads)
	}
	return max(load, work)
}

// sized gives the extent of data, which several stages ask for.
func (w *way) sized(key string, of func() (stage.Extent, error)) stage.Extent {
	m := w.b.material
	if x, ok := m.extents[key]; ok {
		return x
	}
	x, err := of()
	if err != nil { // the stage itself will say so
		x.Guessed = true
	}
	m.extents[key] = x
	return x
}

// left is how many layers there are by now.
func (w *way) left() float64 { return float64(w.m.shape.Layers() - w.gone) }

// weights are bytes of those that run by now: they are brought in once, or where they
// do not stay beside what else takes memory, as often as they are passed.
func (w *way) weights(passes, memory float64) float64 {
	f := w.m.shape.Facts()
	each := float64(f.Bytes) / float64(max(1, f.Parameters))
	all := each * (w.left()*float64(w.m.shape.LayerParameters()) + float64(w.m.shape.HeadParameters()))
	if may := w.memory(); may > 0 && all+memory > may {
		return all * math.Max(1, passes)
	}
	return all
}

// memory is how much the process may hold; 0: no bound.
func (w *way) memory() float64 {
	if n, err := stage.ParseBytes(w.t.Settings.Engine.Memory); err == nil {
		return float64(n)
	}
	return float64(stage.DefaultMemory())
}

// rowBytes is about what a token takes in flight: its states, and what a layer makes
// of it.
func (w *way) rowBytes() float64 {
	f := w.m.shape.Facts()
	return 4 * float64(4*f.Hidden+3*f.FeedForward)
}

// scoreWork is that of one metric by itself; those that go together share passes.
func (w *way) scoreWork(by string, v stage.Score, n int) Work {
	k := Work{}
	if !stage.RunsModel(by) {
		return k
	}
	tokens := float64(v.Data.Samples * v.Data.Length)
	if v.Data.Samples == 0 {
		x := w.sized("text "+v.Data.Source, func() (stage.Extent, error) {
			return stage.TextExtent(w.b.ctx, w.b.env, v.Data.Source, v.Data.Field, w.m.shape.Dir)
		})
		tokens, k.Guessed = x.Tokens, x.Guessed
	}
	layers := w.left()
	k.Memory = int64(math.Min(tokens, 4096) * w.rowBytes())
	passes := stage.Passes(by, int(layers), n)
	k.Layers, k.Head, k.Bytes = tokens*passes.Layers, tokens*passes.Head, w.weights(1, 0)
	return k
}

func (w *way) taskWork(t stage.Tasks) Work {
	x := w.sized(fmt.Sprint("tasks ", t), func() (stage.Extent, error) { return t.Extent(w.b.ctx, w.b.env, w.m.shape.Dir) })
	return Work{Layers: x.Tokens * w.left(), Head: x.Scored, Bytes: w.weights(1, 0), Memory: int64(4096 * w.rowBytes()), Guessed: x.Guessed}
}

func (w *way) perplexityWork(v stage.PPL) Work {
	x := w.sized("text "+v.Data, func() (stage.Extent, error) {
		return stage.TextExtent(w.b.ctx, w.b.env, v.Data, v.Field, w.m.shape.Dir)
	})
	return Work{Layers: x.Tokens * w.left(), Head: x.Scored, Bytes: w.weights(1, 0), Memory: int64(4096 * w.rowBytes()), Guessed: x.Guessed}
}

func (w *way) decodeWork(tokens int) Work {
	return Work{Alone: float64(tokens) * w.left(), Head: float64(tokens), Bytes: w.weights(1, 0)}
}

// curveWork: every number of layers, prefixes shared.
func (w *way) curveWork(v stage.Curve) Work {
	k := Work{}
	layers := float64(w.m.shape.Layers())
	rows, scored := float64(v.Data.Samples*v.Data.Length), float64(v.Data.Samples*v.Data.Length)
	if v.Tasks.Names != "" {
		one := w.taskWork(v.Tasks)
		rows, scored, k.Guessed = one.Layers/w.left(), one.Head, one.Guessed
	}
	k.Layers, k.Head, k.Bytes = rows*layers*(layers+1)/2, scored*layers, w.weights(1, 0)
	return k
}

// rowsOfAll is the extent of all rows, however few are drawn.
func (w *way) rowsOfAll(all stage.TrainData) stage.Extent {
	all.Samples = 0
	key := "rows " + strings.Join(append(slices.Clone(all.Sources), all.Tokens), " ")
	return w.sized(key, func() (stage.Extent, error) { return all.Extent(w.b.ctx, w.b.env, w.m.shape) })
}

// healWork counts the products of training: forwards, back to the lowest layer that
// trains, and once more for the weights that do.
func (w *way) healWork(v stage.Heal, h Heal) (Work, error) {
	trains, depth, err := w.m.shape.Trains(v.Training, w.gone)
	if err != nil {
		return Work{}, err
	}
	x := w.rowsOfAll(v.Data)
	k := Work{Trainable: trains, Guessed: x.Guessed}
	rows := float64(x.Rows)
	if v.Data.Samples > 0 {
		rows = math.Min(rows, float64(v.Data.Samples))
	}
	each, scored := x.Tokens/math.Max(1, float64(x.Rows)), x.Scored/math.Max(1, float64(x.Rows))
	steps := float64(v.Steps)
	if v.Steps == 0 {
		steps = math.Floor(v.Epochs * rows / float64(v.Batch))
	}
	samples := steps * float64(v.Batch)
	held := float64(max(0, v.Data.Validation))
	if v.Data.Validation < 0 {
		held = math.Min(2000, rows*.04)
	}
	evals := 2.0
	if v.EvalEvery > 0 {
		evals += math.Floor(steps / float64(v.EvalEvery))
	}
	back := 1.0
	if v.Method == "partial" || v.Method == "full" {
		back = 2
	}
	k.Layers = samples*each*(w.left()+back*float64(depth)) + held*evals*each*w.left()
	k.Head = samples*scored*3 + held*evals*scored
	k.Updates = steps * float64(trains)
	k.Disk = trains * 2
	if v.SaveDType == "float32" || v.Method == "lora" {
		k.Disk = trains * 4
	}
	state := int64(20) // bytes a parameter: as it runs twice, its master copy, its gradient, two moments
	if v.Moments == "bfloat16" {
		state -= 4
	}
	k.Scratch = trains * (state - 8) * int64(v.Checkpoints+1)
	k.Memory = trains*state + int64(float64(max(v.MicroTokens, v.Data.MaxLength))*w.rowBytes()*math.Max(1, float64(depth)))
	if held == 0 {
		evals = 0
	}
	k.Bytes = w.weights(steps+evals, float64(k.Memory))
	return k, nil
}

// price gives every stage its time, and the plan what all of them take.
func (p *Plan) price(ctx context.Context, env stage.Env) error {
	p.Disk, p.Memory = 0, 0
	var scratch int64
	for _, s := range p.Stages {
		if s.Work.time(stage.Pace{Layer: 1, Head: 1, Alone: 1, Update: 1, Load: 1}) > 0 {
			pace, err := p.paceOf(ctx, env, s.Work)
			if err != nil {
				return err
			}
			s.Work.seconds = s.Work.time(pace)
		}
		p.Disk += s.Work.Disk
		p.Memory, scratch = max(p.Memory, s.Work.Memory), max(scratch, s.Work.Scratch)
	}
	p.Disk += scratch
	p.Seconds = p.cost(p.Stages)
	return nil
}

// paceOf is how fast work goes, measured once for a model and what it runs on.
func (p *Plan) paceOf(ctx context.Context, env stage.Env, k Work) (stage.Pace, error) {
	if p.pace == nil {
		p.pace = map[string]stage.Pace{}
	}
	e, by := p.material.engine(k.engine, k.trains)
	key := k.model
	if _, plain := p.material.engine(k.engine, false); plain.Device != by.Device || plain.DType != by.DType {
		key += " on " + by.Device
	}
	if pace, ok := p.pace[key]; ok {
		return pace, nil
	}
	pace, err := p.material.models[k.model].shape.Pace(ctx, env, e)
	if err == nil {
		p.pace[key] = pace
	}
	return pace, err
}

// cost is the time of stages. A shared pass is counted once: stages that go together
// take what the largest of them takes, and their heads.
func (p *Plan) cost(stages []*Stage) (seconds float64) {
	groups := map[string][]*Stage{}
	for _, s := range stages {
		if s.together != "" {
			groups[s.together] = append(groups[s.together], s)
			continue
		}
		seconds += s.Work.seconds
	}
	for _, group := range groups {
		seconds += together(group)
	}
	return seconds
}

// together is the time of stages that are done in one call. Prunings asked the same
// share at least the layers before the first cut; what exactly is known when plans
// are, so half is taken for each after the first. Metrics of one pass share it whole.
func together(group []*Stage) float64 {
	var sum, most float64
	for _, s := range group {
		sum, most = sum+s.Work.seconds, math.Max(most, s.Work.seconds)
	}
	if len(group) == 1 {
		return sum
	}
	if group[0].Kind == rundir.KindTasks {
		return most + (sum-most)/2
	}
	var single float64 // the dearest of the metrics that one pass serves
	var rest float64
	one := math.Inf(1)
	for _, s := range group {
		if s.Work.seconds > 0 {
			one = math.Min(one, s.Work.seconds)
		}
	}
	for _, s := range group {
		if s.Work.seconds <= one*1.01 {
			single = math.Max(single, s.Work.seconds)
		} else {
			rest += s.Work.seconds
		}
	}
	return single + rest
}

// Lines are the plan as results: a trial each, then all together.
func (p *Plan) Lines() []report.Line {
	var out []report.Line
	all := report.RunPlan{Trials: len(p.selected), Stages: len(p.Stages), Seconds: p.Seconds, Disk: p.Disk, Memory: p.Memory, Cuts: p.Cuts}
	for _, t := range p.selected {
		l := report.TrialPlan{Trial: t.Name, Layers: p.layersOf(t)}
		for _, s := range p.Stages {
			if !slices.Contains(s.Trials, t.Name) {
				continue
			}
			l.Seconds += s.Work.seconds
			l.Trainable = max(l.Trainable, s.Work.Trainable)
			all.Unshared++
			all.UnsharedSeconds += s.Work.seconds
			if len(uniqueNames(s.Trials)) > 1 {
				l.Shared++
				continue
			}
			l.Own, l.Disk = l.Own+1, l.Disk+s.Work.Disk
		}
		out = append(out, l)
	}
	kinds := map[string]*report.KindPlan{}
	var order []string
	for _, s := range p.Stages {
		k := kinds[s.Kind]
		if k == nil {
			k = &report.KindPlan{Kind: s.Kind}
			kinds[s.Kind], order = k, append(order, s.Kind)
		}
		k.Stages, k.Seconds = k.Stages+1, k.Seconds+s.Work.seconds
		if z, ok := s.spec.(sizing); ok {
			all.Sizes = append(all.Sizes, z.foreseen.Typed().(report.Sizes))
		}
		all.Guessed = all.Guessed || s.Work.Guessed
	}
	for _, name := range order {
		all.Kinds = append(all.Kinds, *kinds[name])
	}
	return append(out, all)
}

func uniqueNames(names []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// layersOf says how many layers a trial keeps.
func (p *Plan) layersOf(t Trial) string {
	total := p.material.models[t.Model.From].shape.Layers()
	return fmt.Sprintf("%d/%d", total-p.gone[t.Name], total)
}
