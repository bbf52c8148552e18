package prune

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/checkpoint"
)

// Provenance says from what a plan was made. Plans of before have none of it.
type Provenance struct {
	Model     string  `json:"model,omitempty"`      // the name of the model to prune
	ModelHash string  `json:"model_hash,omitempty"` // its checkpoint's, see [checkpoint.Checkpoint.Hash]
	Version   string  `json:"version,omitempty"`    // of Coppice
	Metric    string  `json:"metric,omitempty"`     // that ordered the layers
	Scores    []Score `json:"scores,omitempty"`     // by it, one a layer, where one ranking decided
	Data      string  `json:"data,omitempty"`       // that it ran on
	DataHash  string  `json:"data_hash,omitempty"`  // of the token ids
	Origin    *Origin `json:"origin,omitempty"`     // where the model was itself pruned before
	Healed    bool    `json:"healed,omitempty"`     // the weights that are left were trained on
}

// Origin is the model that a chain of prunings began with.
type Origin struct {
	Model     string `json:"model,omitempty"`
	ModelHash string `json:"model_hash,omitempty"`
	Layers    int    `json:"layers"`
	Keep      []int  `json:"keep"` // of its layers, by this plan and those before it
}

// Score is a layer's score; NaN, which JSON lacks, is null.
type Score float64

// MarshalJSON implements json.Marshaler.
func (s Score) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(s)) || math.IsInf(float64(s), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(s))
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Score) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		*s = Score(math.NaN())
		return nil
	}
	return json.Unmarshal(raw, (*float64)(s))
}

// ScoresOf makes a plan's scores of a ranking's.
func ScoresOf(scores []float64) []Score {
	out := make([]Score, len(scores))
	for i, s := range scores {
		out[i] = Score(s)
	}
	return out
}

// IsFor checks that a plan that names its model was made for the one with this
// hash. A plan that names none fits every model of its shape.
func (p *Plan) IsFor(hash string) error {
	if p.ModelHash == "" || hash == "" || p.ModelHash == hash {
		return nil
	}
	name := p.Model
	if name == "" {
		name = "a model"
	}
	return fmt.Errorf("the plan is for %s (hash %.12s), and this model is another (hash %.12s); to cut the same layers of it, keep %s", name, p.ModelHash, hash, FormatLayers(p.Keep))
}

// Measured says what a number measured on a model is to the checkpoint that a plan
// leaves.
type Measured int

// What a number can be of.
const (
	Another Measured = iota // some other model, or some other layers
	Before                  // the model that was pruned, whole
	After                   // what the plan leaves of it
)

// Of says what results measured on the layers keep (nil: all) of the model with a hash are to
// what the plan leaves.
func (p *Plan) Of(hash string, keep []int) Measured {
	type step struct {
		hash   string
		layers int
		keep   []int
	}
	steps := []step{{p.ModelHash, p.Layers, p.Keep}}
	if p.Origin != nil {
		steps = append(steps, step{p.Origin.ModelHash, p.Origin.Layers, p.Origin.Keep})
	}
	for _, s := range steps {
		switch {
		case s.hash == "" || s.hash != hash:
		case slices.Equal(keep, s.keep) && !p.Healed:
			return After
		case len(keep) == 0 || len(keep) == s.layers:
			return Before
		}
	}
	return Another
}

// Leaves says whether keep, layers of a model of so many, are those that the plan
// leaves, as any model of either's chain of prunings counts them. before is the plan
// that lies in the model, if one does.
func (p *Plan) Leaves(layers int, keep []int, before *Plan) bool {
	type step struct {
		layers int
		keep   []int
	}
	left := []step{{p.Layers, p.Keep}}
	if o := p.Origin; o != nil {
		left = append(left, step{o.Layers, o.Keep})
	}
	run := []step{{layers, keep}}
	if before != nil && len(before.Keep) == layers {
		run = append(run, step{before.Layers, pick(before.Keep, keep)})
		if o := before.Origin; o != nil {
			run = append(run, step{o.Layers, pick(o.Keep, keep)})
		}
	}
	return slices.ContainsFunc(left, func(a step) bool {
		return slices.ContainsFunc(run, func(b step) bool { return a.layers == b.layers && slices.Equal(a.keep, b.keep) })
	})
}

// pick is the elements of a list at some places.
func pick(list, places []int) []int {
	out := make([]int, len(places))
	for i, at := range places {
		out[i] = list[at]
	}
	return out
}

// PlanOf reads the plan that lies in a pruned checkpoint.
func PlanOf(c *checkpoint.Checkpoint) (Plan, error) { return parsePlan(c.Beside(PlanFile)) }

// originOf composes the plan that lies in a checkpoint, if one does, with the one
// that prunes it now.
func originOf(c *checkpoint.Checkpoint, p Plan) *Origin {
	before, err := PlanOf(c)
	if err != nil || len(before.Keep) != p.Layers {
		return nil
	}
	o := &Origin{Model: before.Model, ModelHash: before.ModelHash, Layers: before.Layers}
	kept := before.Keep
	if first := before.Origin; first != nil && len(first.Keep) == p.Layers {
		o.Model, o.ModelHash, o.Layers, kept = first.Model, first.ModelHash, first.Layers, first.Keep
	}
	o.Keep = pick(kept, p.Keep)
	return o
}

// check says what contradicts itself.
func (o *Origin) check(kept int) error {
	if err := checkLayers(o.Keep, o.Layers); err != nil {
		return fmt.Errorf("origin: %w", err)
	}
	if len(o.Keep) != kept {
		return fmt.Errorf("origin: keeps %d layers, and the plan %d", len(o.Keep), kept)
	}
	return nil
}
