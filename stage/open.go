package stage

import (
	"context"
	"errors"
	"fmt"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/heal/overlay"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/doctor"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Session is an open model and, once started, the engine that runs it.
type Session struct {
	Checkpoint *checkpoint.Checkpoint
	Model      *model.Model
	Engine     engine.Engine  // nil until Start
	Runner     *forest.Runner // nil until Start
	Keep       []int          // of a pruning; nil: the whole model

	env         Env
	adapter     *heal.Set // runs beside the weights; nil: none
	adapterHash string
	trained     *overlay.Tensors        // in the places of the model's; nil: none
	progress    func(done, total int64) // of passes; may be nil
	memory      int64                   // bound on the process; 0: none
}

// Open finds a model, a directory or a name on the hub, checks every tensor's
// place and shape, and narrows it to the layers of a pruning.
func Open(ctx context.Context, env Env, name string, layers Layers) (*Session, error) {
	dir, err := find(ctx, env, name, hub.NeedAll)
	if err != nil {
		return nil, err
	}
	return openDir(ctx, env, dir, layers)
}

// openDir opens a model that is here.
func openDir(ctx context.Context, env Env, dir string, layers Layers) (*Session, error) {
	if err := isDir(dir); err != nil {
		return nil, err
	}
	c, err := checkpoint.Open(dir, checkpoint.WithHashCache(env.Cache))
	if err != nil {
		return nil, err
	}
	s := &Session{Checkpoint: c, env: env}
	if s.Model, err = model.OpenLayout(c); err == nil {
		s.warnOfFiles()
		err = s.narrow(ctx, layers)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// warnOfFiles says what is odd about the model and no reason not to use it.
func (s *Session) warnOfFiles() {
	for _, w := range s.Checkpoint.Warnings() {
		s.env.Talk.Warn("%v", w)
	}
	for _, w := range s.Model.Warnings {
		s.env.Talk.Warn("%s: %s", s.Checkpoint.Dir(), w)
	}
}

// checkTokenizer finds what keeps texts from being run: no tokenizer, one that cannot
// be read, or one with more tokens than the model has.
func checkTokenizer(dir string, spec *model.Spec) error {
	t, err := tokenizer.Load(dir)
	switch {
	case errors.Is(err, tokenizer.ErrNone):
		return fmt.Errorf("%w; without it the model runs on token ids only", err)
	case err != nil:
		return err
	case t.VocabSize() > spec.Vocab:
		return fmt.Errorf("the tokenizer has %d tokens and the model's vocabulary %d: ids from there on cannot be run, and perhaps the two do not belong together", t.VocabSize(), spec.Vocab)
	}
	return nil
}

// Start starts the engine. progress, which may be nil, hears of the session's passes.
// It fails with model.ErrUnsupported for a model that can only be cut.
func (s *Session) Start(e Engine, progress func(done, total int64)) error {
	if err := s.Model.Spec.Runnable(); err != nil {
		return fmt.Errorf("%s/config.json: %w", s.Checkpoint.Dir(), err)
	}
	var err error
	if e.Adapter != "" {
		e = e.training()
	}
	if s.Engine, err = e.start(s.env); err != nil {
		return err
	}
	s.memory = e.memory()
	info := s.Engine.Info()
	s.env.Talk.Detail("engine: %s, %s by %s, %s, memory %s", info.Device, info.DType, info.Provider, report.Plural(info.Threads, "thread"), report.FormatBytes(s.memory))
	if info.DeviceMemory > 0 {
		s.env.Talk.Detail("engine: up to %s of the device's memory", report.FormatBytes(info.DeviceMemory))
	}
	for _, n := range info.Notes {
		s.env.Talk.Detail("engine: %s", n)
	}
	o := forest.Options{DeviceMemory: info.DeviceMemory}
	if e.Adapter != "" {
		if s.adapter, err = s.adapt(context.Background(), e.Adapter); err != nil {
			return err
		}
		o.Trained = &s.adapter.Trained
	}
	s.Runner = forest.New(s.Model, s.Engine, bounded(o, s.memory))
	s.progress = progress
	return nil
}

// Close ends the engine and closes the model.
func (s *Session) Close() {
	if s.Runner != nil {
		s.Runner.Close()
	}
	if s.adapter != nil {
		s.adapter.Release()
	}
	if s.Engine != nil {
		_ = s.Engine.Close()
	}
	if s.trained != nil {
		_ = s.trained.Close()
	}
	_ = s.Checkpoint.Close()
}

// Compute says what makes results.
func (s *Session) Compute() report.Compute {
	i := s.Engine.Info()
	c := report.Compute{Device: i.Device, DType: string(i.DType), Provider: i.Provider, Threads: i.Threads, Keep: s.Keep, Adapter: s.adapterHash}
	if s.trained != nil {
		c.Trained = s.trained.SHA256
	}
	return c
}

// warnOfMemory says where the bound on memory cannot be kept.
func (s *Session) warnOfMemory(c forest.Cost) {
	resident, _ := doctor.Process()
	if s.memory > 0 && c.Memory+resident > s.memory {
		s.env.Talk.Warn("{memory} %s cannot be kept: one sequence beside one layer takes %s", report.FormatBytes(s.memory), report.FormatBytes(c.Memory+resident))
	}
}

// warnOfLength: a model is run as asked, but it was not made for this.
func (s *Session) warnOfLength(seqs [][]int32) {
	for i, seq := range seqs {
		if len(seq) > s.Model.Spec.MaxPositions {
			s.env.Talk.Warn("sequence %d has %d tokens, more than the model's %d positions: expect bad scores", i, len(seq), s.Model.Spec.MaxPositions)
			return
		}
	}
}

// logProbs is LogProbs of the runner through the kept layers, with the warning.
func (s *Session) logProbs(ctx context.Context, seqs [][]int32, emit func(i int, scores []engine.TokenScore) error) error {
	priced, err := s.Runner.Price([]forest.Variant{{Layers: s.Keep, Scores: emit}}, forest.Sequences(seqs))
	if err != nil {
		return err
	}
	s.warnOfMemory(priced.Cost())
	return priced.Run(ctx, forest.RunOptions{Progress: s.progress})
}
