package heal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Run is one training run. Its fields are set by the caller, who keeps what they name.
type Run struct {
	Engine engine.Engine // an engine.Trainer
	Model  *model.Model
	Layers []int // kept layers of the model, in order
	Parts  Parts
	Set    *Set
	Low    int // see Chosen

	Train []Sample
	Valid []Sample // may be empty
	Options
	GroupTokens int  // most tokens in flight, see Memory
	Tapes       bool // keep what layers computed for their backward pass

	Dir      string            // where checkpoints go; "" keeps none
	Identity map[string]string // all that the result depends on, see State
	Now      func() time.Time
	Observe  func(Event)
	// Resumed, if set, is told before the first step what a checkpoint says that
	// training goes on from.
	Resumed func(State) error

	net    *network
	states states
	at     State
	saved  time.Time
	seen   int64 // tokens since the last event
	since  time.Time
}

// Event is a step made, or an evaluation.
type Event struct {
	Step            int
	Loss            float64 // of the batch before the update; of the validation set
	Evaluation      bool
	Best            bool // an evaluation better than all before
	LR              float64
	GradNorm        float64 // before clipping
	TokensPerSecond float64 // of the samples, however they were packed
}

// Result is what a finished run comes to. The Set holds what is kept.
type Result struct {
	Steps int
	Kept  int         // the step whose values are kept
	Best  *Evaluation // nil without validation
	First *float64    // loss on the validation set before the first step; nil without validation
	Loss  *float64    // and of the values kept
}

// NotFiniteError says where training stopped making sense.
type NotFiniteError struct {
	Step  int
	What  string // "loss", "gradient of NAME"
	Where string // "layer 3", or empty
	Saved int    // the last good checkpoint's step, -1 if there is none
}

func (e *NotFiniteError) Error() string {
	msg := fmt.Sprintf("step %d: the %s is not finite", e.Step, e.What)
	if e.Where != "" {
		msg += ", first in " + e.Where
	}
	if e.Saved >= 0 {
		msg += fmt.Sprintf("; the checkpoint of step %d is kept", e.Saved)
	}
	return msg + "; a smaller --lr or more --warmup-steps may help"
}

// Do trains until all steps are made, going on from the newest checkpoint. When
// the context ends, the state is saved and the context's cause returned.
func (r *Run) Do(ctx context.Context) (*Result, error) {
	r.net = r.network()
	defer r.net.close()
	if err := r.resume(ctx); err != nil {
		return nil, err
	}
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	samples := r.Order(len(r.Train))
	for {
		if err := r.after(ctx); err != nil { // also after resuming: it may have been broken off
			return nil, r.interrupted(ctx, err)
		}
		if r.at.Step >= r.Steps || r.tired() {
			break
		}
		if err := r.step(ctx, samples.Step(r.at.Step)); err != nil {
			return nil, r.interrupted(ctx, err)
		}
	}
	if err := r.save(ctx); err != nil {
		return nil, err
	}
	return r.finish(ctx)
}

func (r *Run) network() *network {
	return &network{e: r.Engine, m: r.Model, parts: r.Parts, layers: r.Layers, low: r.Low, tapes: r.Tapes, group: r.GroupTokens}
}

// microsOf packs the samples of a step.
func (r *Run) microsOf(numbers []int) []*micro {
	batch, ids := make([]Sample, len(numbers)), make([]int64, len(numbers))
	for i, n := range numbers {
		batch[i], ids[i] = r.Train[n], int64(n)
	}
	return r.packing().pack(batch, ids)
}

// tired says whether evaluations have stopped getting better.
func (r *Run) tired() bool { return r.Patience > 0 && r.at.Worse >= r.Patience }

// Resumable returns the newest checkpoint of a directory, nil if there is none,
// and what in it differs from an identity.
func Resumable(dir string, identity map[string]string) (*State, []string, error) {
	st, err := states{dir}.newest()
	if err != nil || st == nil {
		return nil, nil, err
	}
	return st, Differs(st.Identity, identity), nil
}

func (r *Run) resume(ctx context.Context) error {
	r.at = State{Version: stateVersion, Identity: r.Identity}
	r.saved, r.since = r.Now(), r.Now()
	if r.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(r.Dir, 0o777); err != nil {
		return err
	}
	r.states = states{r.Dir}
	r.states.clean()
	st, other, err := Resumable(r.Dir, r.Identity)
	if err != nil || st == nil {
		return err
	}
	if len(other) > 0 {
		return fmt.Errorf("%s: %w: %s", r.Dir, ErrOtherRun, strings.Join(other, "; "))
	}
	r.at = *st
	if r.Resumed != nil {
		if err := r.Resumed(*st); err != nil {
			return err
		}
	}
	return r.states.load(ctx, st.Step, r.Set, false)
}

// start evaluates what there is before the first step.
func (r *Run) start(ctx context.Context) error {
	if r.at.Step > 0 || len(r.Valid) == 0 {
		return nil
	}
	loss, err := r.Evaluate(ctx)
	if err != nil {
		return err
	}
	r.at.First = &loss
	r.Observe(Event{Evaluation: true, Loss: loss})
	r.since = r.Now()
	return nil
}

// step makes one update.
func (r *Run) step(ctx context.Context, numbers []int) error {
	for _, n := range numbers {
		r.seen += int64(len(r.Train[n].Tokens))
	}
	micros := r.microsOf(numbers)
	var weight float64
	for _, m := range micros {
		weight += m.sum()
	}
	if weight == 0 {
		return fmt.Errorf("step %d: no sample of the batch has a target", r.at.Step+1)
	}
	drop := r.dropout()
	loss, err := r.net.gradients(ctx, micros, 1/weight, drop)
	if err != nil {
		return err
	}
	norm, err := r.Set.gradNorm(ctx)
	if err != nil {
		return err
	}
	if !finite(loss) || !finite(norm) {
		return r.notFinite(ctx, micros, drop, loss)
	}
	// A step is made whole or not at all.
	if err := r.Set.update(context.WithoutCancel(ctx), &r.Options, r.at.Step, norm); err != nil {
		return err
	}
	r.at.Step++
	e := Event{Step: r.at.Step, Loss: loss, LR: r.rate(r.at.Step - 1), GradNorm: norm}
	now := r.Now()
	e.TokensPerSecond = float64(r.seen) / max(now.Sub(r.since).Seconds(), 1e-9)
	r.seen, r.since = 0, now
	r.Observe(e)
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// packing is how batches become micro-batches: nothing adapted under dropout is
// the same for two samples.
func (r *Run) packing() packing {
	return packing{tokens: r.MicroTokens, share: !r.ComputeAll && r.dropout() == nil, all: r.ComputeAll, choice: r.Model.Spec.RopeChoice}
}

// dropout is nil where no adapter drops anything.
func (r *Run) dropout() *engine.Dropout {
	for _, a := range r.Set.Trained.Adapters {
		if a.Dropout > 0 {
			return &engine.Dropout{Seed: r.Seed, Step: int64(r.at.Step)}
		}
	}
	return nil
}

// after evaluates and saves when their time has come.
func (r *Run) after(ctx context.Context) error {
	if r.at.Step == 0 {
		return nil
	}
	due := r.at.Step == r.Steps || r.EvalEvery > 0 && r.at.Step%r.EvalEvery == 0
	if len(r.Valid) > 0 && due && r.at.Evaluated < r.at.Step {
		if err := r.evaluate(ctx); err != nil {
			return err
		}
	}
	due = r.SaveEvery > 0 && r.at.Step%r.SaveEvery == 0 || r.SaveInterval > 0 && r.Now().Sub(r.saved) >= r.SaveInterval
	if !due {
		return nil
	}
	return r.save(ctx)
}

// evaluate notes the loss on the validation set; of equals the earlier is best.
func (r *Run) evaluate(ctx context.Context) error {
	loss, err := r.Evaluate(ctx)
	if err != nil {
		return err
	}
	better := r.at.Best == nil || loss < r.at.Best.Loss
	r.at.Evaluated, r.at.Last = r.at.Step, loss
	r.at.Worse++
	if better {
		r.at.Best, r.at.Worse = &Evaluation{Step: r.at.Step, Loss: loss}, 0
	}
	r.Observe(Event{Step: r.at.Step, Evaluation: true, Loss: loss, Best: better})
	r.since = r.Now()
	if better && r.KeepBest && r.at.Step < r.Steps {
		return r.save(ctx)
	}
	return nil
}

// Evaluate is the mean loss over the targets of the validation set.
func (r *Run) Evaluate(ctx context.Context) (float64, error) {
	return MeanLoss(ctx, r.Engine, r.Model, r.Layers, r.Parts, r.Valid, r.MicroTokens, r.GroupTokens)
}

// MeanLoss is the mean of -log p over the targets of samples.
func MeanLoss(ctx context.Context, e engine.Engine, m *model.Model, layers []int, parts Parts, samples []Sample, microTokens, groupTokens int) (float64, error) {
	net := &network{e: e, m: m, parts: parts, layers: layers, group: groupTokens}
	defer net.close()
	micros := packing{tokens: microTokens, share: true, choice: m.Spec.RopeChoice}.pack(samples, make([]int64, len(samples)))
	sum, weight, err := net.sumLoss(ctx, micros)
	if err != nil {
		return 0, err
	}
	return sum / weight, nil
}

// save writes a checkpoint of the last whole step and removes those it replaces.
func (r *Run) save(ctx context.Context) error {
	if r.Dir == "" || r.at.Step == 0 {
		return nil
	}
	if err := r.states.save(ctx, &r.at, r.Set); err != nil {
		return err
	}
	r.saved = r.Now()
	return r.states.prune(r.KeepCheckpoints, r.at.Best)
}

// interrupted saves the last whole step when the context has ended.
func (r *Run) interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	r.Set.zero()
	if failed := r.save(context.WithoutCancel(ctx)); failed != nil {
		return errors.Join(context.Cause(ctx), failed)
	}
	return context.Cause(ctx)
}

// finish puts what is kept into the Set.
func (r *Run) finish(ctx context.Context) (*Result, error) {
	out := &Result{Steps: r.at.Step, Kept: r.at.Step, Best: r.at.Best, First: r.at.First}
	if len(r.Valid) > 0 {
		out.Loss = &r.at.Last
	}
	if r.KeepBest && r.at.Best != nil && r.at.Best.Step != r.at.Step && r.Dir != "" {
		out.Kept, out.Loss = r.at.Best.Step, &r.at.Best.Loss
		return out, r.states.load(ctx, out.Kept, r.Set, true)
	}
	return out, nil
}

// notFinite finds out where a number that is none came from.
func (r *Run) notFinite(ctx context.Context, micros []*micro, drop *engine.Dropout, loss float64) error {
	e := &NotFiniteError{Step: r.at.Step + 1, What: "loss", Saved: -1}
	if st, err := r.states.newest(); err == nil && st != nil {
		e.Saved = st.Step
	}
	if finite(loss) {
		e.What = r.badGradient(ctx)
		return e
	}
	where, err := r.net.firstNotFinite(ctx, micros, drop)
	if err != nil {
		return err
	}
	e.Where = where
	return e
}

func (r *Run) badGradient(ctx context.Context) string {
	for _, t := range r.Set.List {
		if s, err := t.GradSquares(ctx); err == nil && !finite(s) {
			return "gradient of " + t.Name()
		}
	}
	return "norm of all gradients"
}
