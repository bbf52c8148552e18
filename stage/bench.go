package stage

import (
	"context"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/internal/bench"
	"github.com/coppice-ml/coppice/internal/doctor"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
)

// Bench measures speed on weights made up for the purpose, beside the limit of this
// machine.
type Bench struct {
	Shape   string `yaml:"shape"`
	Config  string `yaml:"config"` // a config.json, or the directory of one, in place of a shape; "": the shape
	What    string `yaml:"what"`
	Tokens  int    `yaml:"tokens"`  // 0: 512, or a context of 32 for decoding
	Rounds  int    `yaml:"rounds"`  // pairs of measurements
	Profile bool   `yaml:"profile"` // also say what the workers' time goes to
	Seed    uint64 `yaml:"seed"`    // of weights and tokens
	Dir     string `yaml:"dir"`     // keep weights here for the next run; "": a temporary directory
	// Of heal-rows: rows to train on, and the directory of the tokenizer for them.
	Data      TrainData `yaml:"rows"`
	Tokenizer string    `yaml:"tokenizer"`
	Engine    `yaml:",inline"`
}

// DefaultBench has every field that is not given.
func DefaultBench() Bench {
	return Bench{Shape: bench.Shapes()[0], What: bench.Whats()[0], Rounds: 5, Seed: 42, Data: DefaultTrainData()}
}

// BenchShapes lists the shapes that can be measured.
func BenchShapes() []string { return bench.Shapes() }

// BenchWhats lists what can be measured.
func BenchWhats() []string { return bench.Whats() }

// Check finds what can be wrong before anything is measured.
func (b Bench) Check() error {
	if b.Config == "" {
		if err := oneOf("shape", b.Shape, bench.Shapes()...); err != nil {
			return err
		}
	}
	if err := oneOf("what", b.What, bench.Whats()...); err != nil {
		return err
	}
	if b.Tokens < 0 || b.Rounds < 1 {
		return wrong("{tokens} %d {rounds} %d: want at least 1 of each", b.Tokens, b.Rounds)
	}
	return b.Engine.Check()
}

// Run measures.
func (b Bench) Run(ctx context.Context, env Env) (results []report.Bench, err error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	shape, err := b.shape()
	if err != nil {
		return nil, err
	}
	e, err := b.Engine.start(env)
	if err != nil {
		return nil, err
	}
	defer func() { _ = e.Close() }()
	opt := bench.Options{
		Engine: e, Memory: b.Engine.memory(), Shape: shape, What: b.What, Tokens: b.Tokens, Rounds: b.Rounds, Profile: b.Profile, Seed: b.Seed,
	}
	opt.Streaming.Dir = b.Dir
	if b.What == bench.HealRows {
		if opt.Samples, err = b.samples(ctx, env, shape.Spec); err != nil {
			return nil, err
		}
	}
	opt.Streaming.Bound = func(f forest.Options) forest.Options {
		f.DeviceMemory = e.Info().DeviceMemory
		return bounded(f, opt.Memory)
	}
	opt.Streaming.Peak = func() int64 { _, peak := doctor.Process(); return peak }
	env.Talk.Note("measuring %s of %s, %s and a warm-up", b.What, shape.Name, report.Plural(b.Rounds, "pair"))
	err = bench.Run(ctx, opt, func(r report.Bench) { results = append(results, r) })
	return results, err
}

// shape is the model to make up.
func (b Bench) shape() (bench.Shape, error) {
	if b.Config == "" {
		return bench.ShapeNamed(b.Shape)
	}
	c, err := checkpoint.OpenConfigFile(b.Config)
	if err != nil {
		return bench.Shape{}, failed("{config}: %w", err)
	}
	defer c.Close()
	spec, err := model.ParseConfigBeside(c.Config(), c.Beside)
	if err != nil {
		return bench.Shape{}, failed("{config}: %s: %w", b.Config, err)
	}
	return bench.Shape{Name: b.Config, Config: c.Config(), Spec: spec}, nil
}

// samples are the rows that healing is measured on.
func (b Bench) samples(ctx context.Context, env Env, spec *model.Spec) ([]heal.Sample, error) {
	if err := b.Data.Check(); err != nil {
		return nil, err
	}
	if b.Tokenizer == "" && b.Data.Tokens == "" {
		return nil, wrong("{tokenizer}: whose?").with("pass {tokenizer} with a directory that has one")
	}
	b.Data.Validation = 0
	set, err := b.Data.read(ctx, env, b.Tokenizer, spec)
	if err != nil {
		return nil, err
	}
	return set.train, nil
}
