package run

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// builder makes the stages of trials.
type builder struct {
	ctx      context.Context
	env      stage.Env
	gone     map[string]int // layers, by trial
	graph    *graph
	material *material
	single   bool // one trial: its healed checkpoint is kept
}

// way is one trial's, as far as it has come.
type way struct {
	b     *builder
	t     Trial
	m     *located
	plan  *Stage   // of what is cut; nil: nothing
	heals []*Stage // that trained tensors are of, in order
	lora  *Stage   // adapter beside them; nil: none
	gone  int      // layers
	refs  []rundir.Ref
}

// trial makes a trial's stages, in the order of work.
func (b *builder) trial(t Trial) ([]rundir.Ref, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	w := &way{b: b, t: t, m: b.material.models[t.Model.From]}
	err := w.measure(rundir.Dense)
	if err == nil && t.Settings.Prune != nil {
		err = w.prune()
	} else if err == nil && t.Settings.Heal != nil {
		err = w.heal("heal", *t.Settings.Heal, true)
	}
	if err == nil && t.Settings.Heal != nil {
		err = w.measure(rundir.Healed)
	}
	if err == nil {
		err = w.keep()
	}
	if err == nil && t.Settings.Curve != nil {
		err = w.curve()
	}
	if err != nil {
		return nil, fmt.Errorf("trial %s: %w", t.Name, err)
	}
	b.gone[t.Name] = w.gone
	return w.refs, nil
}

// add puts a stage into the graph, for this trial.
func (w *way) add(role string, s *Stage) *Stage {
	s.Work.model, s.Work.engine, s.Work.trains = w.m.from, w.t.Settings.Engine, s.Kind == rundir.KindHeal || w.lora != nil
	s = w.b.graph.add(s)
	s.use(w.t.Name, role)
	w.refs = append(w.refs, s.ref(role))
	return s
}

// alias gives a stage another role.
func (w *way) alias(role string, s *Stage) {
	s.use(w.t.Name, role)
	w.refs = append(w.refs, s.ref(role))
}

// prune cuts, in one round or in several with training in between.
func (w *way) prune() error {
	p := *w.t.Settings.Prune
	rounds, err := w.rounds(p)
	if err != nil {
		return err
	}
	for k, n := range rounds {
		last := k == len(rounds)-1
		role := func(name string) string {
			if len(rounds) == 1 {
				return name
			}
			return fmt.Sprintf("%s.%d", name, k+1)
		}
		scored := w.score(role(rundir.KindScore), p, n)
		if w.plan, err = w.planned(role(rundir.KindPlan), p, scored, n); err != nil {
			return err
		}
		if last {
			if len(rounds) > 1 && scored != nil {
				w.alias(rundir.KindScore, scored)
			}
			if len(rounds) > 1 {
				w.alias(rundir.KindPlan, w.plan)
			}
			if err := w.measure(rundir.Cut); err != nil {
				return err
			}
		}
		if err := w.healRound(role(rundir.KindHeal), last); err != nil {
			return err
		}
		if last && len(rounds) > 1 && w.t.Settings.Heal != nil {
			w.alias(rundir.KindHeal, w.healed())
		}
	}
	return nil
}

// healed is the last stage of training.
func (w *way) healed() *Stage {
	if w.lora != nil {
		return w.lora
	}
	if len(w.heals) == 0 {
		return nil
	}
	return w.heals[len(w.heals)-1]
}

// healRound trains after a round of pruning: whole after the last one, and before as
// heal.between says.
func (w *way) healRound(role string, last bool) error {
	if w.t.Settings.Heal == nil {
		return nil
	}
	h := *w.t.Settings.Heal
	if last {
		return w.heal(role, h, true)
	}
	if !h.Between.Heals() {
		return nil
	}
	if h.Between.Steps > 0 {
		h.Steps = h.Between.Steps
	}
	return w.heal(role, h, false)
}

// rounds is how many layers go in each round.
func (w *way) rounds(p Prune) ([]int, error) {
	if p.Drop != "" || p.Keep != "" || p.Plan != "" {
		return []int{0}, nil
	}
	if p.Iterative != "" {
		s, err := prune.ParseSchedule(p.Iterative)
		if err != nil {
			return nil, fmt.Errorf("prune.iterative: %w", err)
		}
		if s.Total >= w.m.shape.Layers() {
			return nil, fmt.Errorf("prune.iterative %s: %s has %d layers", p.Iterative, w.t.Model.Name, w.m.shape.Layers())
		}
		return s.Rounds(), nil
	}
	n, err := w.m.shape.Drops(stage.Plan{Count: p.Count, Ratio: p.Ratio, Params: p.Params, Protect: p.Protect})
	return []int{n}, blamed("prune", err)
}

// score ranks the layers that are left; nil where prune names those that go.
func (w *way) score(role string, p Prune, n int) *Stage {
	if p.Drop != "" || p.Keep != "" || p.Plan != "" {
		return nil
	}
	by := cmp.Or(p.By, stage.DefaultMetric)
	v := stage.DefaultScore()
	v.Model, v.Metrics = w.m.dir, []string{by}
	v.Data = w.b.material.data(w.texts(by))
	v.Data.Seed, v.Batch = w.t.Seed, w.batch(by)
	s := &Stage{Kind: rundir.KindScore, Title: "score " + by + " of " + w.t.Model.Name, Inputs: w.inputs(), Needs: w.needs(), do: doScore}
	s.Inputs["metric"] = by
	group := []string{"score", w.m.id, w.state(), strconv.FormatUint(w.t.Seed, 10)}
	seeded := stage.NeedsSeed(by)
	if stage.RunsModel(by) {
		w.dataInputs(s, "score.data", v.Data)
		seeded = seeded || v.Data.Windows != "joined" || v.Data.Samples > 0
		group = append(group, s.Inputs["score.data"], fmt.Sprint(v.Data.Samples, v.Data.Length, v.Data.Windows, v.Data.AddBOS, v.Data.Field, v.Batch))
		w.engineInputs(s, false)
	} else {
		group = append(group, "no data")
	}
	if stage.UsesBatch(by) {
		s.Inputs["score.batch"] = strconv.Itoa(v.Batch)
	}
	if stage.NeedsCount(by) {
		v.Block, v.Rounds, v.Protect = n, n, p.Protect
		s.Inputs["layers to drop"], s.Inputs["prune.protect"] = strconv.Itoa(n), p.Protect
		group = append(group, "count", by, strconv.Itoa(n), p.Protect)
	}
	if seeded {
		s.seed(w.t.Seed)
	}
	w.cutInto(&v.Layers)
	w.engineInto(&v.Engine)
	s.spec, s.together = v, strings.Join(group, "\x00")
	s.Work = w.scoreWork(by, v, n)
	return w.add(role, s)
}

// seed notes a seed that reaches the stage's result.
func (s *Stage) seed(seed uint64) {
	s.Seed = &seed
	s.Inputs["seed"] = strconv.FormatUint(seed, 10)
}

// inputs are those that every stage on the model has.
func (w *way) inputs() map[string]string { return map[string]string{"model": w.m.id} }

// needs are the stages that made the model what it is by now.
func (w *way) needs() []*Stage {
	var out []*Stage
	if w.plan != nil {
		out = append(out, w.plan)
	}
	out = append(out, w.heals...)
	if w.lora != nil {
		out = append(out, w.lora)
	}
	return out
}

// state identifies what the model is by now.
func (w *way) state() string {
	var hashes []string
	for _, s := range w.needs() {
		hashes = append(hashes, s.Hash)
	}
	return strings.Join(hashes, " ")
}

// cutInto says to run the model as it is by now; paths are made whole by do.
func (w *way) cutInto(l *stage.Layers) {
	if w.plan != nil {
		l.Plan = w.plan.Dir + "/" + rundir.PlanFile
	}
	for _, h := range w.heals {
		l.Trained = append(l.Trained, h.Dir)
	}
}

// engineInto says what to run it on.
func (w *way) engineInto(e *stage.Engine) {
	*e, _ = w.b.material.engine(w.t.Settings.Engine, w.lora != nil)
	if w.lora != nil {
		e.Adapter = w.lora.Dir
	}
}

// engineInputs are what of the engine decides results. Adapters run where is trained.
func (w *way) engineInputs(s *Stage, trains bool) {
	_, by := w.b.material.engine(w.t.Settings.Engine, trains || w.lora != nil)
	s.Inputs["engine.device"], s.Inputs["engine.dtype"] = by.Device, by.DType
}

// defaultTexts are those that nobody describes.
func defaultTexts() Texts {
	return Texts{Windows: "drawn", Samples: Count{N: 10, Given: true}, Length: 128, AddBOS: "false"}
}

// texts are what a metric is computed on.
func (w *way) texts(metric string) Texts {
	out := defaultTexts()
	if s := w.t.Settings.Score; s != nil {
		out = s.Data.over(out)
		if of, ok := s.PerMetric[metric]; ok {
			out = of.Data.over(out)
		}
	}
	return out
}

// over is the texts with what is not given taken from others.
func (d Texts) over(base Texts) Texts {
	out := Texts{
		From: cmp.Or(d.From, base.From), Field: cmp.Or(d.Field, base.Field), Windows: cmp.Or(d.Windows, base.Windows),
		Samples: d.Samples, Length: cmp.Or(d.Length, base.Length), AddBOS: cmp.Or(d.AddBOS, base.AddBOS),
	}
	if !d.Samples.Given {
		out.Samples = base.Samples
	}
	return out
}

func (w *way) batch(metric string) int {
	s := w.t.Settings.Score
	if s == nil {
		return 1
	}
	return max(1, cmp.Or(s.PerMetric[metric].Batch, s.Batch))
}

func (w *way) dataInputs(s *Stage, key string, d stage.Data) {
	s.Inputs[key] = w.b.material.identity(d.Source)
	s.Inputs[key+".windows"], s.Inputs[key+".field"] = d.Windows, d.Field
	s.Inputs[key+".samples"], s.Inputs[key+".length"] = strconv.Itoa(d.Samples), strconv.Itoa(d.Length)
	s.Inputs[key+".add_bos"] = d.AddBOS
}

// planned decides which layers go.
func (w *way) planned(role string, p Prune, scored *Stage, n int) (*Stage, error) {
	v := stage.Plan{Model: w.m.dir, Protect: p.Protect, Count: n}
	s := &Stage{Kind: rundir.KindPlan, Title: "plan of " + w.t.Name, Inputs: w.inputs(), do: doPlan}
	if scored != nil {
		s.Needs = append(s.Needs, scored)
		v.Ranking = scored.Dir + "/" + rundir.RankingFile
		s.Inputs["layers to drop"], s.Inputs["prune.protect"] = strconv.Itoa(n), p.Protect
		if w.plan != nil {
			s.Needs = append(s.Needs, w.plan)
			v.Gone = w.plan.Dir + "/" + rundir.PlanFile
		}
		w.gone += n
	} else {
		v.Layers = stage.Layers{Keep: p.Keep, Cut: stage.Cut{Drop: p.Drop, Plan: p.Plan}}
		kept, err := w.m.shape.Kept(v.Layers)
		if err != nil {
			return nil, err
		}
		s.Inputs["prune.keep"] = fmt.Sprint(kept)
		w.gone = w.m.shape.Layers() - len(kept)
	}
	s.spec = v
	return w.add(role, s), nil
}

// heal trains what is left. What is gone on from later is kept in float32.
func (w *way) heal(role string, h Heal, last bool) error {
	v := stage.DefaultHeal()
	v.Model, v.Training, v.Result = w.m.dir, h.Training, stage.ResultTrained
	v.Data = w.b.material.rows(h.Data)
	v.Data.Seed = w.t.Seed
	if v.Method == "lora" && (v.Embed || v.Train != "") {
		return fmt.Errorf("heal: adapters have no room for whole tensors")
	}
	if !last {
		v.SaveDType = "float32"
	}
	var layers stage.Layers
	w.cutInto(&layers)
	v.Layers = layers.Cut
	v.Engine, _ = w.b.material.engine(w.t.Settings.Engine, true)
	v.Agreed = true
	if err := checkHeal(v, w.t); err != nil {
		return err
	}
	s := &Stage{Kind: rundir.KindHeal, Title: "heal " + w.t.Name, Inputs: w.inputs(), Needs: w.needs(), do: doHeal, spec: v}
	if err := w.healInputs(s, v); err != nil {
		return err
	}
	w.engineInputs(s, true)
	s.seed(w.t.Seed)
	var err error
	if s.Work, err = w.healWork(v, h); err != nil {
		return err
	}
	if h.Data.Answers != nil {
		answered, rows, err := w.answers(h, v.Data)
		if err != nil {
			return err
		}
		v.Data, s.Needs = rows, append(s.Needs, answered)
		s.spec = v
	}
	s = w.add(role, s)
	if v.Method != "lora" {
		w.heals = append(w.heals, s)
		return nil
	}
	if last {
		w.lora = s
		return nil
	}
	w.heals = append(w.heals, w.fold(strings.Replace(role, rundir.KindHeal, "fold", 1), s))
	return nil
}

// kindFold is a stage between rounds: an adapter is put into the weights.
const kindFold = "fold"

// fold puts an adapter into the weights, where pruning goes on from it.
func (w *way) fold(role string, adapter *Stage) *Stage {
	var layers stage.Layers
	w.cutInto(&layers)
	v := stage.Fold{Model: w.m.dir, Adapter: adapter.Dir, Cut: layers.Cut}
	s := &Stage{Kind: kindFold, Title: "fold the adapter of " + w.t.Name, Inputs: w.inputs(), Needs: append(w.needs(), adapter), do: doFold, spec: v}
	s.Work.Disk = 2 * w.m.shape.LayerParameters() * int64(w.m.shape.Layers()-w.gone)
	return w.add(role, s)
}

// keep writes checkpoints, where any are to be kept.
func (w *way) keep() error {
	k := w.t.Settings.Keep
	healed := k.Healed
	if healed == "" && w.b.single {
		healed = KeepCheckpoint
	}
	if (w.t.Settings.Heal != nil && healed == KeepCheckpoint || w.t.Settings.Heal == nil && k.Cut == KeepCheckpoint) && len(w.needs()) > 0 {
		w.checkpoint(rundir.KindCheckpoint)
	}
	if w.t.Settings.Heal != nil && k.Cut == KeepCheckpoint && w.plan != nil {
		cut := &way{b: w.b, t: w.t, m: w.m, plan: w.plan, gone: w.gone}
		cut.checkpoint("cut." + rundir.KindCheckpoint)
		w.refs = append(w.refs, cut.refs...)
	}
	return nil
}

func (w *way) checkpoint(role string) {
	s := &Stage{Kind: rundir.KindCheckpoint, Title: "checkpoint of " + w.t.Name, Inputs: w.inputs(), Needs: w.needs(), do: doCheckpoint, spec: w.assemble()}
	s.Work.Disk = 2 * (w.m.shape.Facts().Parameters - int64(w.gone)*w.m.shape.LayerParameters())
	w.add(role, s)
}

// assemble is the checkpoint that the model is by now.
func (w *way) assemble() stage.Assemble {
	var layers stage.Layers
	w.cutInto(&layers)
	v := stage.Assemble{Model: w.m.dir, Cut: layers.Cut}
	if w.lora != nil {
		v.Adapter = w.lora.Dir
	}
	return v
}

// curve measures what is lost in the order of the trial's metric.
func (w *way) curve() error {
	p := *w.t.Settings.Prune
	dense := &way{b: w.b, t: w.t, m: w.m}
	at := slices.IndexFunc(w.refs, func(r rundir.Ref) bool { return r.Role == rundir.KindScore || r.Role == "score.1" })
	if at < 0 {
		return fmt.Errorf("curve: prune names the layers that go, and no order")
	}
	scored := w.b.graph.byDir(w.refs[at].Dir)
	v := stage.DefaultCurve()
	v.Model, v.Order, v.Protect = w.m.dir, scored.Dir+"/"+rundir.RankingFile, p.Protect
	c := w.t.Settings.Curve
	s := &Stage{Kind: rundir.KindCurve, Title: "curve of " + w.t.Name, Inputs: w.inputs(), Needs: []*Stage{scored}, do: doCurve}
	s.Inputs["prune.protect"] = p.Protect
	if len(c.Tasks) > 0 {
		tasks, facts, err := w.tasks(Measure{Tasks: c.Tasks, Limit: c.Limit})
		if err != nil {
			return err
		}
		v.Tasks = tasks
		s.Inputs["curve.tasks"], s.Inputs["curve.limit"] = facts.id, strconv.Itoa(c.Limit)
		s.Partial = c.Limit > 0
	} else {
		v.Data = w.b.material.data(w.texts(""))
		v.Data.Seed = w.t.Seed
		w.dataInputs(s, "score.data", v.Data)
		s.seed(w.t.Seed)
	}
	dense.engineInto(&v.Engine)
	w.engineInputs(s, false)
	s.spec, s.Work = v, w.curveWork(v)
	w.add(rundir.KindCurve, s)
	return nil
}

// byDir finds a stage.
func (g *graph) byDir(dir string) *Stage {
	return g.stages[slices.IndexFunc(g.stages, func(s *Stage) bool { return s.Dir == dir })]
}
