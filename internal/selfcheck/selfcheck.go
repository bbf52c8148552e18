// Package selfcheck compares a model's logits with those another program
// computed from the same weights: the way to verify a family on real weights,
// on the machine of whoever has them.
//
// The reference is a file (docs/reference.py writes one); nothing here knows
// what made it.
package selfcheck

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/internal/pyjson"
)

// Reference is what the other program computed.
type Reference struct {
	Model     string            `json:"model"`
	DType     string            `json:"dtype"`    // what it computed in, such as "float32"
	Versions  map[string]string `json:"versions"` // of the programs that made it
	Sequences []Sequence        `json:"sequences"`
}

// Sequence is one text: T token ids, and logits [R, V] at its last R positions.
type Sequence struct {
	IDs    []int32     `json:"ids"`
	Logits [][]float32 `json:"logits"`
}

// Read reads a reference and checks it against the size of the vocabulary.
func Read(path string, vocab int) (*Reference, error) {
	raw, err := mmap.ReadNamed(path)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, fmt.Errorf("%s: it is empty: what should have written it has failed; make it again with docs/reference.py", path)
	}
	var ref Reference
	if err := pyjson.Explain(json.Unmarshal(raw, &ref)); err != nil {
		return nil, fmt.Errorf("%s: not a reference as docs/reference.py writes it: %w", path, err)
	}
	if len(ref.Sequences) == 0 {
		return nil, fmt.Errorf("%s: holds no sequences; make it again with docs/reference.py", path)
	}
	for i, s := range ref.Sequences {
		if err := s.check(vocab); err != nil {
			return nil, fmt.Errorf("%s: sequence %d: %w", path, i, err)
		}
	}
	return &ref, nil
}

func (s Sequence) check(vocab int) error {
	if len(s.Logits) == 0 || len(s.Logits) > len(s.IDs) {
		return fmt.Errorf("logits at %d positions for %d tokens: want at least one, and no more than tokens", len(s.Logits), len(s.IDs))
	}
	for i, id := range s.IDs {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("token %d has id %d, and the vocabulary %d: the reference is of another model", i, id, vocab)
		}
	}
	for _, row := range s.Logits {
		if len(row) != vocab {
			return fmt.Errorf("%d logits for a vocabulary of %d: the reference is of another model", len(row), vocab)
		}
	}
	return nil
}

// Result is how far two models are apart.
type Result struct {
	Rows      int     // positions compared
	MaxError  float64 // largest absolute difference of two logits; NaN when one is not a number
	MeanError float64
	Greedy    float64 // share of positions whose likeliest token is the same
}

// Run computes the reference's positions and compares. Layers pass by once, so
// the model may be larger than memory.
func Run(ctx context.Context, run *forest.Runner, ref *Reference) (Result, error) {
	rows, err := lastStates(ctx, run, ref)
	if err != nil {
		return Result{}, err
	}
	head, err := run.Resident().Head()
	if err != nil {
		return Result{}, err
	}
	d, vocab := run.Model().Spec.Hidden, run.Model().Spec.Vocab
	x, err := run.Engine().NewHidden(run.Model(), len(rows)/d)
	if err != nil {
		return Result{}, err
	}
	defer x.Release()
	if err := x.Write(engine.Values{F32: rows}); err != nil {
		return Result{}, err
	}
	var sum comparison
	logits := make([]float32, vocab)
	for _, s := range ref.Sequences {
		for _, want := range s.Logits {
			if err := head.Logits(ctx, x, []int{sum.rows}, logits); err != nil {
				return Result{}, err
			}
			sum.add(logits, want)
		}
	}
	return sum.result(vocab), nil
}

// lastStates is what leaves the last layer at the reference's positions, [R, D]
// of all sequences one after another.
func lastStates(ctx context.Context, run *forest.Runner, ref *Reference) ([]float32, error) {
	s := run.Model().Spec
	seqs, states := make([][]int32, len(ref.Sequences)), make([][]float32, len(ref.Sequences))
	for i, q := range ref.Sequences {
		seqs[i] = q.IDs
	}
	err := run.Observe(ctx, nil, seqs, func(ctx context.Context, step forest.Step) error {
		if step.Depth < s.Layers-1 {
			return nil
		}
		for i, segment := range step.Batch.Segments {
			end, q := segment.Start+segment.Len, step.Sequences[i]
			last, err := step.Out.Slice(end-len(ref.Sequences[q].Logits), end).Host(ctx)
			if err != nil {
				return err
			}
			states[q] = append([]float32(nil), last...)
		}
		return nil
	})
	var all []float32
	for _, x := range states {
		all = append(all, x...)
	}
	return all, err
}

// comparison adds up rows.
type comparison struct {
	rows, greedy int
	most, sum    float64
}

func (c *comparison) add(got, want []float32) {
	c.rows++
	if argmax(got) == argmax(want) {
		c.greedy++
	}
	for i := range got {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		c.sum += d
		c.most = math.Max(c.most, d) // NaN stays
	}
}

func (c *comparison) result(vocab int) Result {
	n := float64(c.rows)
	return Result{Rows: c.rows, MaxError: c.most, MeanError: c.sum / n / float64(vocab), Greedy: float64(c.greedy) / n}
}

func argmax(xs []float32) int {
	best := 0
	for i, x := range xs {
		if x > xs[best] {
			best = i
		}
	}
	return best
}
