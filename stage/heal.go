package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/resident"
)

// Heal fine-tunes a model, or a pruning of it that was never written, and writes
// the result: a checkpoint or, for lora, an adapter.
type Heal struct {
	Model  string    `yaml:"model"`
	Layers Cut       `yaml:",inline"`
	Engine Engine    `yaml:",inline"`
	Data   TrainData `yaml:",inline"`
	Out    string    `yaml:"out"`
	Force  bool      `yaml:"force"`
	Result string    `yaml:"result"` // checkpoint, or the trained tensors alone
	// Agreed: how long it takes is known and agreed to, and not measured beforehand.
	Agreed bool `yaml:"-"`

	Training `yaml:",inline"`
}

// Training says what trains, and how.
type Training struct {
	Method string `yaml:"method" doc:"partial: head, final norm and the last layers; lora: adapters beside frozen weights; full: everything" enum:"partial,lora,full"`

	Last        int      `yaml:"last" doc:"partial: how many of the last layers train"`
	TrainLayers string   `yaml:"layers" doc:"layers that train (lora: are adapted), as the model counts them, in place of last"`
	Head        bool     `yaml:"head" doc:"partial: the head trains"`
	Norm        bool     `yaml:"norm" doc:"partial: the final norm trains"`
	Embed       bool     `yaml:"embed" doc:"partial: the embedding trains"`
	Train       string   `yaml:"train" doc:"partial: regular expression: tensors that train as well, by name"`
	Untie       bool     `yaml:"untie" doc:"a head that is tied to the embedding gets weights of its own"`
	Rank        int      `yaml:"rank" doc:"lora: columns of an adapter"`
	Alpha       float64  `yaml:"alpha" doc:"lora: an adapter is scaled by alpha / rank"`
	Dropout     float64  `yaml:"dropout" doc:"lora: share of an adapter's input that is dropped while training"`
	Targets     []string `yaml:"targets" doc:"lora: q, k, v, o, gate, up, down, all, or a regular expression of tensor names"`
	RankStable  bool     `yaml:"rslora" doc:"lora: scale by alpha / sqrt(rank)"`
	LoRAInit    string   `yaml:"lora_init" doc:"lora: directory of an adapter to begin with"`

	Epochs      float64       `yaml:"epochs" doc:"times that all samples are taken"`
	Steps       int           `yaml:"steps" doc:"updates, in place of epochs; 0: epochs decide"`
	Batch       int           `yaml:"batch_size" doc:"samples of an update"`
	MicroTokens int           `yaml:"micro_batch_tokens" doc:"about how many tokens go through the model at once"`
	LR          float64       `yaml:"lr" doc:"learning rate; 0: 1e-5, lora 1e-4"`
	Schedule    string        `yaml:"schedule" doc:"of the learning rate" enum:"linear,cosine,constant"`
	Warmup      int           `yaml:"warmup_steps" doc:"steps that the learning rate rises; -1: the smaller of 100 and 6 %"`
	WeightDecay float64       `yaml:"weight_decay" doc:"of AdamW, decoupled"`
	DecayAll    bool          `yaml:"decay_all" doc:"decay norms and biases, too"`
	Betas       [2]float64    `yaml:"betas" doc:"of AdamW"`
	Eps         float64       `yaml:"eps" doc:"of AdamW"`
	MaxGradNorm float64       `yaml:"max_grad_norm" doc:"gradients are scaled down to this norm; 0: never"`
	Moments     string        `yaml:"moments" doc:"what AdamW's moments are kept in" enum:"float32,bfloat16"`
	Compute     string        `yaml:"compute" doc:"needed: only what the loss needs; all: every row, for comparison" enum:"needed,all"`
	NoShuffle   bool          `yaml:"no_shuffle" doc:"take the samples in their order"`
	EvalEvery   int           `yaml:"eval_every" doc:"steps between evaluations on what is held out; 0: at the end alone"`
	TensorBoard bool          `yaml:"tensorboard" doc:"an event file for TensorBoard beside events.jsonl"`
	Keep        string        `yaml:"keep" doc:"what is written: best evaluation or last step" enum:"best,last"`
	Patience    int           `yaml:"patience" doc:"end after so many evaluations without a better one; 0: never"`
	SaveEvery   int           `yaml:"save_every" doc:"steps between checkpoints of training, in place of save_interval"`
	SaveMinutes time.Duration `yaml:"save_interval" doc:"time between checkpoints of training, such as 10m"`
	Checkpoints int           `yaml:"keep_checkpoints" doc:"newest checkpoints that are kept, beside the best"`
	SaveDType   string        `yaml:"save_dtype" doc:"of the written weights" enum:"original,float32"`
	InitFrom    string        `yaml:"init_from" doc:"output of an earlier run whose trained tensors to go on from, with a new schedule"`
}

// DefaultHeal is the paper's recipe.
func DefaultHeal() Heal {
	return Heal{Data: DefaultTrainData(), Training: DefaultTraining(), Result: ResultCheckpoint}
}

// What healing leaves.
const (
	ResultCheckpoint = "checkpoint" // a checkpoint, or for lora an adapter
	ResultTrained    = "trained"    // the trained tensors alone, or for lora an adapter
)

// DefaultTraining is how the paper's recipe trains.
func DefaultTraining() Training {
	o := heal.Defaults(heal.Partial)
	return Training{
		Method: heal.Partial, Last: 3, Head: true, Norm: true,
		Rank: 8, Alpha: 16, Dropout: 0.05, Targets: []string{"all"},
		Epochs: 2, Batch: o.BatchSize, MicroTokens: o.MicroTokens, Schedule: o.Schedule, Warmup: -1,
		Betas: [2]float64{o.Beta1, o.Beta2}, Eps: o.Eps, MaxGradNorm: o.MaxGradNorm, Moments: string(o.Moments), Compute: "needed",
		EvalEvery: 200, Keep: "best", SaveMinutes: 10 * time.Minute, Checkpoints: o.KeepCheckpoints, SaveDType: "original",
	}
}

// Check finds what can be wrong before any file is opened.
func (h Heal) Check() error {
	if h.Out == "" {
		return wrong("{out}: where should the result go?").with("pass {out} with a directory")
	}
	if err := h.Data.Check(); err != nil {
		return err
	}
	for _, c := range []struct {
		field, value string
		valid        []string
	}{
		{"method", h.Method, heal.Methods()}, {"schedule", h.Schedule, heal.Schedules()}, {"compute", h.Compute, []string{"needed", "all"}},
		{"keep", h.Keep, []string{"best", "last"}}, {"moments", h.Moments, []string{"float32", "bfloat16"}}, {"save_dtype", h.SaveDType, []string{"original", "float32"}},
		{"result", cmp.Or(h.Result, ResultCheckpoint), []string{ResultCheckpoint, ResultTrained}},
	} {
		if err := oneOf(c.field, c.value, c.valid...); err != nil {
			return err
		}
	}
	if len(h.Layers.Trained) > 0 && h.Result != ResultTrained && h.Method != heal.LoRA {
		return wrong("{trained}: a checkpoint would lack what was trained before").with("pass {result} %s", ResultTrained)
	}
	if err := h.numbers(); err != nil {
		return err
	}
	return h.Engine.Check()
}

// numbers checks fields whose values are numbers.
func (h Heal) numbers() error {
	for _, c := range []struct {
		field string
		value float64
		least float64
	}{
		{"last", float64(h.Last), 0}, {"rank", float64(h.Rank), 1}, {"dropout", h.Dropout, 0}, {"steps", float64(h.Steps), 0}, {"batch_size", float64(h.Batch), 1},
		{"micro_batch_tokens", float64(h.MicroTokens), 1}, {"warmup_steps", float64(h.Warmup), -1}, {"weight_decay", h.WeightDecay, 0}, {"max_grad_norm", h.MaxGradNorm, 0},
		{"eval_every", float64(h.EvalEvery), 0}, {"patience", float64(h.Patience), 0}, {"save_every", float64(h.SaveEvery), 0}, {"keep_checkpoints", float64(h.Checkpoints), 1},
		{"lr", h.LR, 0}, {"epochs", h.Epochs, 0}, {"alpha", h.Alpha, 0}, {"eps", h.Eps, 0},
	} {
		if !(c.value >= c.least) {
			return wrong("{"+c.field+"} %v: want at least %v", c.value, c.least)
		}
		if math.IsInf(c.value, 1) {
			return wrong("{"+c.field+"} %v: want a finite number", c.value)
		}
	}
	if h.Epochs > 1e6 {
		return wrong("{epochs} %v: want at most 1e6", h.Epochs)
	}
	if h.Dropout >= 1 {
		return wrong("{dropout} %v: want less than 1", h.Dropout)
	}
	if h.Steps > 0 && h.Warmup > h.Steps {
		return wrong("{warmup_steps} %d: more than the %d {steps}", h.Warmup, h.Steps).with("lower {warmup_steps}; -1 is the smaller of 100 and 6 %% of the steps")
	}
	return nil
}

// Healing hears of steps while Run works.
type Healing func(line report.Line) error

// Run heals. A finished output with the same settings is left as it is; an
// unfinished one is gone on with.
func (h Heal) Run(ctx context.Context, env Env, hear Healing) (*report.Healed, error) {
	if err := h.Check(); err != nil {
		return nil, err
	}
	s, err := Open(ctx, env, h.Model, Layers{Cut: h.Layers})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	j := &healJob{Heal: h, s: s, env: env, hear: hear, stored: s.Model.Spec, kept: s.kept(), started: time.Now()}
	defer j.close()
	if h.Untie && !j.stored.Tied {
		return nil, wrong("{untie}: the head of %s has weights of its own", h.Model).with("leave {untie} out")
	}
	if h.Untie {
		s.Model = s.Model.Untied()
	}
	if err := j.apart(); err != nil {
		return nil, err
	}
	if err := j.prepare(ctx); err != nil {
		return nil, err
	}
	return j.run(ctx)
}

// kept are the layers that run, all of them where there is no pruning.
func (s *Session) kept() []int {
	if s.Keep != nil {
		return s.Keep
	}
	all := make([]int, s.Model.Spec.Layers)
	for i := range all {
		all[i] = i
	}
	return all
}

// healJob is one healing on its way.
type healJob struct {
	Heal
	s       *Session
	env     Env
	hear    Healing
	stored  *model.Spec // of the model as it is stored, before its head is untied
	kept    []int
	started time.Time

	chosen   *heal.Chosen
	data     *trainSet
	options  heal.Options
	set      *heal.Set
	fit      healFit
	parts    *resident.Set
	identity map[string]string
	dir      *healDir
}

func (j *healJob) close() {
	if j.dir != nil {
		j.dir.close()
	}
	j.releaseParts()
	if j.set != nil {
		j.set.Release()
	}
}

func (j *healJob) releaseParts() {
	if j.parts != nil {
		j.parts.Close()
		j.parts = nil
	}
}

// prepare works out everything that can be known before training, and refuses
// what cannot be.
func (j *healJob) prepare(ctx context.Context) (err error) {
	if j.chosen, err = j.choose(); err != nil {
		return err
	}
	if j.data, err = j.Data.read(ctx, j.env, j.s.Checkpoint.Dir(), j.s.Model.Spec); err != nil {
		return err
	}
	if err := j.settle(); err != nil {
		return err
	}
	if err := j.s.Start(j.Engine.training(), nil); err != nil {
		return err
	}
	if _, ok := j.s.Engine.(engine.Trainer); !ok {
		return failed("{device} %s: this engine computes no gradients", j.s.Engine.Info().Device).with("use {device} cpu")
	}
	if j.identity, err = j.describe(ctx); err != nil {
		return err
	}
	j.dir, err = openHealDir(j.Out, j.Force, j.Steps == 0, j.identity)
	return err
}

// choose says what trains, with the fields of this stage in errors.
func (j *healJob) choose() (*heal.Chosen, error) {
	sel := heal.Selection{Method: j.Method, Last: j.Last, Head: j.Head, Norm: j.Norm, Embed: j.Embed, Train: j.Train, Targets: j.Targets}
	if j.Method != heal.Partial {
		sel.Last = 0
	}
	spec := j.s.Model.Spec
	if j.TrainLayers != "" {
		layers, err := prune.ParseLayers(j.TrainLayers, spec.Layers)
		if err != nil {
			return nil, wrong("{layers} %s: %w", j.TrainLayers, err)
		}
		sel.Layers = layers
	}
	c, err := sel.Choose(spec, j.kept)
	if err != nil {
		return nil, healProblem(err)
	}
	for _, n := range c.Notes {
		j.env.Talk.Note("%s", n)
	}
	if c.Low < 0 && j.Method == heal.Partial && !j.Embed && spec.Tied {
		j.env.Talk.Note("the head is tied to the embedding, which trains with it: gradients go through all %d layers; {untie} trains a head alone", len(j.kept))
	}
	return c, nil
}

// healProblem turns an error about a field of package heal into a problem.
func healProblem(err error) error {
	var f *heal.FieldError
	if errors.As(err, &f) {
		return wrong("{"+f.Field+"}: %s", f.Message)
	}
	return err
}

// settle works the settings out that depend on the data.
func (j *healJob) settle() error {
	o := heal.Defaults(j.Method)
	if j.LR > 0 {
		o.LR = j.LR
	}
	o.BatchSize, o.MicroTokens, o.ComputeAll = j.Batch, j.MicroTokens, j.Compute == "all"
	o.Shuffle, o.Seed = !j.NoShuffle, j.Data.Seed
	o.Schedule, o.WeightDecay, o.DecayAll = j.Schedule, j.WeightDecay, j.DecayAll
	o.Beta1, o.Beta2, o.Eps, o.MaxGradNorm = j.Betas[0], j.Betas[1], j.Eps, j.MaxGradNorm
	o.Moments = engine.DType(j.Moments)
	o.EvalEvery, o.KeepBest, o.Patience = j.EvalEvery, j.Keep == "best", j.Patience
	o.SaveEvery, o.SaveInterval, o.KeepCheckpoints = j.SaveEvery, j.SaveMinutes, j.Checkpoints
	if o.SaveEvery > 0 {
		o.SaveInterval = 0
	}
	o.Steps = j.Steps
	if o.Steps == 0 {
		if o.Steps = heal.StepsOf(j.Epochs, len(j.data.train), j.Batch); o.Steps == 0 {
			return wrong("{epochs} %v of %s in batches of %d: that is no step", j.Epochs, report.Plural(len(j.data.train), "sample"), j.Batch).with("pass more {epochs}, or {steps}")
		}
	}
	if o.WarmupSteps = j.Warmup; j.Warmup < 0 {
		o.WarmupSteps = heal.WarmUp(o.Steps)
	}
	j.options = o
	return healProblem(o.Check())
}

// describe lists all that the result depends on.
func (j *healJob) describe(ctx context.Context) (map[string]string, error) {
	hash, err := j.hash(ctx)
	if err != nil {
		return nil, err
	}
	by, o := j.s.Compute(), j.options
	id := map[string]string{
		"model": hash, "kept layers": report.FormatLayers(j.kept), "data": j.data.sha256,
		"engine": by.Device + ", " + by.Provider, "dtype": by.DType, "version": j.env.Version,
		"method": j.Method, "trained": nameTrained(j.chosen),
		"steps": fmt.Sprint(o.Steps), "batch_size": fmt.Sprint(o.BatchSize), "micro_batch_tokens": fmt.Sprint(o.MicroTokens), "compute": j.Heal.Compute,
		"seed": fmt.Sprint(o.Seed), "no_shuffle": fmt.Sprint(!o.Shuffle),
		"lr": fmt.Sprint(o.LR), "schedule": o.Schedule, "warmup_steps": fmt.Sprint(o.WarmupSteps), "weight_decay": fmt.Sprint(o.WeightDecay), "decay_all": fmt.Sprint(o.DecayAll),
		"betas": fmt.Sprint(o.Beta1, ",", o.Beta2), "eps": fmt.Sprint(o.Eps), "max_grad_norm": fmt.Sprint(o.MaxGradNorm), "moments": string(o.Moments),
		"eval_every": fmt.Sprint(o.EvalEvery), "keep": j.Keep, "patience": fmt.Sprint(o.Patience), "save_dtype": j.SaveDType, "untie": fmt.Sprint(j.Untie),
		"init_from": j.InitFrom,
	}
	if by.Trained != "" {
		id["trained before"] = by.Trained
	}
	if j.Result == ResultTrained {
		id["result"] = j.Result
	}
	if j.Method == heal.LoRA {
		id["adapters"] = fmt.Sprintf("rank %d, alpha %v, dropout %v, rslora %v, lora_init %q", j.Rank, j.Alpha, j.Dropout, j.RankStable, j.LoRAInit)
	}
	return id, nil
}

// hash identifies the model, by a cache of hashes where there is one.
func (j *healJob) hash(ctx context.Context) (string, error) {
	c, err := checkpoint.Open(j.s.Checkpoint.Dir(), checkpoint.WithHashCache(j.env.Cache))
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.Hash(ctx)
}

// nameTrained names what trains, for comparing two runs.
func nameTrained(c *heal.Chosen) string {
	var names []string
	for _, w := range c.Tensors {
		names = append(names, w.Name)
	}
	for _, w := range c.Adapted {
		names = append(names, "adapter of "+w.Name)
	}
	return strings.Join(names, ", ")
}

// run trains and writes.
func (j *healJob) run(ctx context.Context) (*report.Healed, error) {
	if done := j.dir.finished(); done != nil {
		j.env.Talk.Note("%s is finished, with the same settings: nothing to do ({force} starts over)", j.Out)
		return done, heal.RemoveCheckpoints(j.dir.state())
	}
	if err := j.arrange(); err != nil {
		return nil, err
	}
	if err := j.makeSet(ctx); err != nil {
		return nil, err
	}
	r := j.newRun()
	if !j.Agreed {
		if err := j.estimate(ctx, r); err != nil {
			return nil, err
		}
	}
	tell, end := j.env.Talk.Progress("healing", Steps)
	defer end()
	r.Observe = func(e heal.Event) {
		tell(int64(e.Step), int64(j.options.Steps))
		j.observe(e)
	}
	result, err := r.Do(ctx)
	if err != nil {
		return nil, j.stopped(ctx, err)
	}
	end()
	done, err := j.finish(ctx, result)
	if err != nil {
		return nil, j.stopped(ctx, err)
	}
	return done, nil
}

// stopped is the problem of a run that did not get to its end.
func (j *healJob) stopped(ctx context.Context, err error) error {
	if ctx.Err() == nil && !outOfSpace(err) {
		return err
	}
	st, _, _ := heal.Resumable(j.dir.state(), j.identity)
	if st == nil {
		return err
	}
	p := failed("cancelled after step %d of %d, which is kept", st.Step, j.options.Steps).with("the same command goes on from there")
	if ctx.Err() == nil {
		p = failed("%w; what was learnt up to step %d of %d is kept", err, st.Step, j.options.Steps).with(again(err))
	}
	p.Kind = ErrPartial
	return p
}

func (j *healJob) newRun() *heal.Run {
	return &heal.Run{
		Engine: j.s.Engine, Model: j.s.Model, Layers: j.kept, Parts: j.parts, Set: j.set, Low: j.chosen.Low,
		Train: j.data.train, Valid: j.data.valid, Options: j.options, GroupTokens: j.fit.group, Tapes: j.fit.tapes,
		Dir: j.dir.state(), Identity: j.identity, Now: time.Now,
		Resumed: j.dir.resumed,
	}
}

// observe passes an event on, to the file of events too.
func (j *healJob) observe(e heal.Event) {
	var line report.Line = report.HealStep{
		Step: e.Step, Loss: report.Number(e.Loss), LR: report.Number(e.LR), GradNorm: report.Number(e.GradNorm), TokensPerSecond: report.Number(e.TokensPerSecond),
	}
	if e.Evaluation {
		line = report.HealEval{Step: e.Step, Loss: report.Number(e.Loss), Best: e.Best}
	}
	j.dir.event(line)
	if j.TensorBoard {
		j.dir.chart(e, time.Now())
	}
	if err := j.hear(line); err != nil {
		j.env.Talk.Detail("event not printed: %v", err)
	}
}

// makeSet makes what trains, with the values it begins with.
func (j *healJob) makeSet(ctx context.Context) (err error) {
	trainer := j.s.Engine.(engine.Trainer)
	a := heal.Adapters{Rank: j.Rank, Alpha: j.Alpha, RankStable: j.RankStable, Dropout: j.Dropout}
	if j.set, err = heal.NewSet(ctx, trainer, j.s.Model, j.chosen, a, j.options.Moments, j.options.Seed); err != nil {
		return err
	}
	if j.LoRAInit != "" {
		if err := j.loadAdapter(ctx); err != nil {
			return err
		}
	}
	if j.InitFrom != "" {
		if err := heal.LoadMasters(ctx, filepath.Join(j.InitFrom, healState), j.set); err != nil {
			return failed("{init_from} %s: %w", j.InitFrom, err)
		}
	}
	j.parts.Close()
	j.parts = j.residents(j.s.Model, &j.set.Trained)
	j.parts.Use(j.fit.Fit)
	return nil
}

// loadAdapter begins with an adapter that was trained before.
func (j *healJob) loadAdapter(ctx context.Context) error {
	a, err := j.s.readAdapter("lora_init", j.LoRAInit)
	if err != nil {
		return err
	}
	if err = j.set.Load(ctx, a); err != nil {
		return failed("{lora_init}: %w", err)
	}
	return nil
}
