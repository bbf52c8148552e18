package heal

import (
	"time"

	"github.com/coppice-ml/coppice/engine"
)

// Options say how training goes. The zero value is not useful: see Defaults.
type Options struct {
	Steps     int // updates
	BatchSize int // samples an update
	// MicroTokens is about how many tokens go through the model at once. It
	// changes speed and memory; gradients only in their last bits.
	MicroTokens int
	ComputeAll  bool // compute every row, whether the loss needs it or not
	Shuffle     bool
	Seed        uint64

	LR          float64
	Schedule    string
	WarmupSteps int
	WeightDecay float64
	DecayAll    bool // also norms and biases, as torch does where nobody says otherwise
	Beta1       float64
	Beta2       float64
	Eps         float64
	MaxGradNorm float64 // 0: gradients are not clipped
	Moments     engine.DType

	EvalEvery int  // steps; 0: only at the end
	KeepBest  bool // what evaluated best is kept, else what came last
	Patience  int  // evaluations without a new best before training ends; 0: never

	SaveEvery       int           // steps; 0: only when interrupted, and at a new best
	SaveInterval    time.Duration // or time
	KeepCheckpoints int
}

// Defaults are the paper's settings: Alpaca for two epochs in batches of 64.
func Defaults(method string) Options {
	o := Options{
		BatchSize: 64, MicroTokens: 2048, Shuffle: true, Seed: 42,
		LR: 1e-5, Schedule: Linear, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, MaxGradNorm: 1, Moments: engine.Float32,
		KeepBest: true, KeepCheckpoints: 2,
	}
	if method == LoRA {
		o.LR = 1e-4
	}
	return o
}

// WarmUp is how many steps the learning rate rises by default: the smaller of
// 100 and 6 % of the steps.
func WarmUp(steps int) int { return min(100, steps*6/100) }

// StepsOf is the number of steps of some epochs over samples.
func StepsOf(epochs float64, samples, batch int) int {
	per := (samples + batch - 1) / batch
	return int(epochs*float64(per) + 0.5)
}

// Check says which field makes no sense.
func (o *Options) Check() error {
	positive := []struct {
		field string
		value float64
	}{{"steps", float64(o.Steps)}, {"batch_size", float64(o.BatchSize)}, {"micro_batch_tokens", float64(o.MicroTokens)}, {"lr", o.LR}, {"eps", o.Eps}}
	for _, p := range positive {
		if !(p.value > 0) {
			return wrong(p.field, "%v: want more than 0", p.value)
		}
	}
	switch {
	case o.WarmupSteps < 0 || o.WarmupSteps > o.Steps:
		return wrong("warmup_steps", "%d warm-up steps of %d steps: lower it; -1 is the smaller of 100 and 6 %% of the steps", o.WarmupSteps, o.Steps)
	case o.Schedule != Linear && o.Schedule != Cosine && o.Schedule != Constant:
		return wrong("schedule", "schedule %q does not exist; choose linear, cosine or constant", o.Schedule)
	case !(o.Beta1 >= 0 && o.Beta1 < 1 && o.Beta2 >= 0 && o.Beta2 < 1):
		return wrong("betas", "%v, %v: want two numbers from 0 up to but not including 1", o.Beta1, o.Beta2)
	case !(o.WeightDecay >= 0):
		return wrong("weight_decay", "%v: want 0 or more", o.WeightDecay)
	case !(o.MaxGradNorm >= 0):
		return wrong("max_grad_norm", "%v: want 0 (no clipping) or more", o.MaxGradNorm)
	case o.Moments != engine.Float32 && o.Moments != engine.BFloat16:
		return wrong("moments", "moments in %q do not exist; choose float32 or bfloat16", o.Moments)
	}
	return nil
}
