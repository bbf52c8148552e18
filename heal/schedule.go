package heal

import "math"

// Schedules of the learning rate, by the names the field has for them.
const (
	Linear   = "linear"
	Cosine   = "cosine"
	Constant = "constant"
)

// Schedules lists the names.
func Schedules() []string { return []string{Linear, Cosine, Constant} }

// rate is the learning rate of a step, counted from 0: it rises from 0 over the
// warm-up steps, then follows the schedule down to 0 at the last step's end
// (transformers' get_linear_schedule_with_warmup and its siblings).
func (o *Options) rate(step int) float64 {
	if step < o.WarmupSteps {
		return o.LR * float64(step) / float64(max(1, o.WarmupSteps))
	}
	done := float64(step-o.WarmupSteps) / float64(max(1, o.Steps-o.WarmupSteps))
	switch o.Schedule {
	case Cosine:
		return o.LR * max(0, 0.5*(1+math.Cos(math.Pi*done)))
	case Constant:
		return o.LR
	default:
		return o.LR * max(0, 1-done)
	}
}
