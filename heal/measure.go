package heal

import (
	"context"
	"time"
)

// updateTime is about what an update of one parameter takes, beside which its
// exact value does not matter.
const updateTime = 0.7 // nanoseconds

// UpdateSeconds is about what an update of one parameter takes.
const UpdateSeconds = updateTime * 1e-9

// Cost is what training takes, from a trial that moves nothing.
type Cost struct {
	Step time.Duration // a step of the first batch's size
	Eval time.Duration // an evaluation
}

// Total is the time of the steps that are left, with their evaluations.
func (r *Run) Total(c Cost, done int) time.Duration {
	left := r.Steps - done
	total := time.Duration(left) * c.Step
	if len(r.Valid) > 0 {
		evals := 2 // before the first step, after the last
		if r.EvalEvery > 0 {
			evals += left / r.EvalEvery
		}
		total += time.Duration(evals) * c.Eval
	}
	return total
}

// Measure times one micro-batch of the first step, forwards and backwards, and
// the forward pass alone. No value of what trains changes.
func (r *Run) Measure(ctx context.Context) (Cost, error) {
	net := r.network()
	defer net.close()
	defer r.Set.zero()
	samples := r.Order(len(r.Train))
	micros := r.microsOf(samples.Step(0))
	one := micros[:1]
	whole, err := r.timed(func() error { _, err := net.gradients(ctx, one, 1/one[0].sum(), r.dropout()); return err })
	if err != nil {
		return Cost{}, err
	}
	c := Cost{Step: scaled(whole, rows(micros), rows(one)) + time.Duration(float64(r.Parameters())*updateTime)}
	if len(r.Valid) == 0 {
		return c, nil
	}
	forward, err := r.timed(func() error { _, _, err := net.sumLoss(ctx, one); return err })
	if err != nil {
		return Cost{}, err
	}
	held := packing{tokens: r.MicroTokens, share: true, choice: r.Model.Spec.RopeChoice}.pack(r.Valid, make([]int64, len(r.Valid)))
	c.Eval = scaled(forward, rows(held), rows(one))
	return c, nil
}

// timed runs something twice, the first time to warm up.
func (r *Run) timed(do func() error) (time.Duration, error) {
	if err := do(); err != nil {
		return 0, err
	}
	start := r.Now()
	err := do()
	return r.Now().Sub(start), err
}

func scaled(d time.Duration, rows, of int) time.Duration {
	return time.Duration(float64(d) * float64(rows) / float64(of))
}

func rows(ms []*micro) (n int) {
	for _, m := range ms {
		n += m.batch.Len()
	}
	return n
}

// Parameters counts what trains.
func (r *Run) Parameters() (n int) {
	for _, t := range r.Set.List {
		n += elements(t.Shape())
	}
	return n
}
