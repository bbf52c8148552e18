package heal

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Set is what trains: tensors and adapters in the engine's memory, in a fixed order.
type Set struct {
	List    []engine.Trainable
	decays  []bool // whether weight decay reaches each: not norms and biases
	Trained engine.Trained
}

// Adapters say what low-rank adapters are made like.
type Adapters struct {
	Rank       int
	Alpha      float64
	RankStable bool    // scale by alpha / sqrt(rank), not alpha / rank (Kalajdzievski 2023)
	Dropout    float64 // probability that a value of an adapter's input is dropped
}

// Scale is what an adapter's product is multiplied by.
func (a Adapters) Scale() float64 {
	if a.RankStable {
		return a.Alpha / math.Sqrt(float64(a.Rank))
	}
	return a.Alpha / float64(a.Rank)
}

// NewSet makes what was chosen: tensors with the model's values, adapters as
// published with LoRA: A uniform within 1/sqrt(in), B zero, by seed.
func NewSet(ctx context.Context, e engine.Trainer, m *model.Model, c *Chosen, a Adapters, moments engine.DType, seed uint64) (*Set, error) {
	s := &Set{Trained: engine.Trained{Tensors: map[string]engine.Trainable{}, Adapters: map[string]engine.Adapter{}}}
	o := engine.TrainableOptions{Moments: moments}
	for _, w := range c.Tensors {
		t, err := s.add(e, w.Name, w.Shape, o, decays(w))
		if err == nil {
			err = copyIn(ctx, m, w, t)
		}
		if err != nil {
			s.Release()
			return nil, fmt.Errorf("tensor %s: %w", w.Name, err)
		}
		s.Trained.Tensors[w.Name] = t
	}
	for _, w := range c.Adapted {
		if err := s.adapter(ctx, e, w, a, o, seed); err != nil {
			s.Release()
			return nil, fmt.Errorf("adapter of %s: %w", w.Name, err)
		}
	}
	return s, nil
}

// decays tells the tensors that weight decay is for, by role.
func decays(w model.Weight) bool { return !w.IsBias() && !strings.HasSuffix(string(w.Role), "norm") }

func (s *Set) add(e engine.Trainer, name string, shape []int, o engine.TrainableOptions, decay bool) (engine.Trainable, error) {
	t, err := e.NewTrainable(name, shape, o)
	if err != nil {
		return nil, err
	}
	s.List, s.decays = append(s.List, t), append(s.decays, decay)
	return t, nil
}

// adapter makes the two matrices beside a linear map.
func (s *Set) adapter(ctx context.Context, e engine.Trainer, w model.Weight, a Adapters, o engine.TrainableOptions, seed uint64) error {
	out, in := w.Shape[0], w.Shape[1]
	first, err := s.add(e, AdapterName(w.Name, "A"), []int{a.Rank, in}, o, true)
	if err != nil {
		return err
	}
	second, err := s.add(e, AdapterName(w.Name, "B"), []int{out, a.Rank}, o, true)
	if err != nil {
		return err
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(w.Name))
	random, bound := rand.New(rand.NewPCG(seed, h.Sum64())), 1/math.Sqrt(float64(in))
	values := make([]float32, a.Rank*in)
	for i := range values {
		values[i] = float32((2*random.Float64() - 1) * bound)
	}
	if err := first.Write(ctx, engine.Master, 0, values); err != nil {
		return err
	}
	if err := second.Write(ctx, engine.Master, 0, make([]float32, out*a.Rank)); err != nil {
		return err
	}
	s.Trained.Adapters[w.Name] = engine.Adapter{A: first, B: second, Scale: float32(a.Scale()), Dropout: float32(a.Dropout)}
	return nil
}

// AdapterName is the name of matrix "A" or "B" of the adapter of a stored tensor.
func AdapterName(tensor, which string) string {
	return strings.TrimSuffix(tensor, ".weight") + ".lora_" + which + ".weight"
}

// Release lets all of it go.
func (s *Set) Release() {
	for _, t := range s.List {
		t.Release()
	}
}

// zero empties the gradients, after a step that was broken off.
func (s *Set) zero() {
	for _, t := range s.List {
		t.ZeroGrad()
	}
}

// gradNorm is the global L2 norm of all gradients.
func (s *Set) gradNorm(ctx context.Context) (float64, error) {
	var sum float64
	for _, t := range s.List {
		squares, err := t.GradSquares(ctx)
		if err != nil {
			return 0, err
		}
		sum += squares
	}
	return math.Sqrt(sum), nil
}

// update is one step of the optimiser; step counts from 0. norm is the global
// norm of the gradients, which are clipped as torch's clip_grad_norm_ does.
func (s *Set) update(ctx context.Context, o *Options, step int, norm float64) error {
	scale := 1.0
	if o.MaxGradNorm > 0 {
		scale = min(1, o.MaxGradNorm/(norm+1e-6))
	}
	for i, t := range s.List {
		a := engine.AdamW{LR: o.rate(step), Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, GradScale: scale, Step: int64(step) + 1}
		if s.decays[i] || o.DecayAll {
			a.WeightDecay = o.WeightDecay
		}
		if err := t.Step(ctx, a); err != nil {
			return fmt.Errorf("%s: %w", t.Name(), err)
		}
	}
	return nil
}

// elements is the number of values of a tensor.
func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
