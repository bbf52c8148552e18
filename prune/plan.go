package prune

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/internal/nearest"
	"github.com/coppice-ml/coppice/internal/pyjson"
	"github.com/coppice-ml/coppice/model"
)

// Plan says which layers of a model stay. It is what a plan file holds.
type Plan struct {
	Layers int   `json:"layers"` // of the model to prune
	Keep   []int `json:"keep"`   // ascending, never empty
	Drop   []int `json:"drop"`   // ascending, the rest

	Parameters       int64 `json:"parameters"`        // of what is kept; 0 when not known
	ParametersBefore int64 `json:"parameters_before"` // of the whole model
	Bytes            int64 `json:"bytes"`             // of kept tensors; 0 until Measure
	BytesBefore      int64 `json:"bytes_before"`      // of all tensors

	// Source says where the choice comes from, for people: "bi on 10 x 128
	// tokens, seed 42" or "--drop 3,7".
	Source string `json:"source"`

	Provenance
}

// New plans the pruning that drops the given layers, in any order, and counts
// parameters. It fails when a layer does not exist, is named twice, or when
// none would be left. Dropping nothing is a plan, too.
func New(spec *model.Spec, drop []int, source string) (Plan, error) {
	if err := checkLayers(drop, spec.Layers); err != nil {
		return Plan{}, fmt.Errorf("layers to drop: %w", err)
	}
	if len(drop) == spec.Layers {
		return Plan{}, fmt.Errorf("cannot drop all %d layers; keep at least one", spec.Layers)
	}
	before := spec.Parameters()
	return Plan{
		Layers:           spec.Layers,
		Keep:             Complement(drop, spec.Layers),
		Drop:             append([]int{}, slices.Sorted(slices.Values(drop))...),
		Parameters:       before - int64(len(drop))*spec.LayerParameters(),
		ParametersBefore: before,
		Source:           source,
	}, nil
}

// Measure fills in Bytes and BytesBefore: the sizes of the tensors' data in the
// checkpoint, before and after. Buffers that belong to a layer go with it. It
// fails when the checkpoint is not one the plan is for.
func (p *Plan) Measure(c *checkpoint.Checkpoint) error {
	spec, err := model.SpecOf(c)
	if err != nil {
		return err
	}
	if err := p.fits(spec); err != nil {
		return err
	}
	p.Bytes, p.BytesBefore = 0, 0
	rename := spec.Renamer(p.Keep)
	for _, t := range c.Tensors() {
		p.BytesBefore += t.Bytes
		if _, kept := rename(t.Name); kept {
			p.Bytes += t.Bytes
		}
	}
	return nil
}

// fits checks the plan against a model.
func (p *Plan) fits(spec *model.Spec) error {
	if err := p.check(); err != nil {
		return err
	}
	if p.Layers != spec.Layers {
		return fmt.Errorf("the plan is for a model of %d layers, and this one has %d", p.Layers, spec.Layers)
	}
	if n := spec.Parameters(); p.ParametersBefore != 0 && p.ParametersBefore != n {
		return fmt.Errorf("the plan is for a model of %d parameters, and this one has %d; to cut the same layers of it, keep %s", p.ParametersBefore, n, FormatLayers(p.Keep))
	}
	return nil
}

// check says what contradicts itself in a plan.
func (p *Plan) check() error {
	if p.Layers < 1 || p.Layers > 1<<20 {
		return fmt.Errorf("layers = %d: want the number of layers of the model to prune", p.Layers)
	}
	for _, list := range []struct {
		key    string
		layers []int
	}{{"keep", p.Keep}, {"drop", p.Drop}} {
		if err := checkLayers(list.layers, p.Layers); err != nil {
			return fmt.Errorf("%s: %w", list.key, err)
		}
		if !slices.IsSorted(list.layers) {
			return fmt.Errorf("%s = %v: want ascending layers", list.key, list.layers)
		}
	}
	if len(p.Keep) == 0 {
		return fmt.Errorf("keep is empty: want at least one layer")
	}
	if want := Complement(p.Keep, p.Layers); !slices.Equal(p.Drop, want) {
		return fmt.Errorf("drop = %v does not go with keep = %v of %d layers: it would be %v", p.Drop, p.Keep, p.Layers, want)
	}
	if n := len(p.Scores); n != 0 && n != p.Layers {
		return fmt.Errorf("scores: %d of them for %d layers", n, p.Layers)
	}
	if p.Origin != nil {
		return p.Origin.check(len(p.Keep))
	}
	return nil
}

// For is the plan of the same layers and provenance with the sizes of a model,
// which it fails not to fit.
func (p Plan) For(spec *model.Spec) (Plan, error) {
	if err := p.fits(spec); err != nil {
		return Plan{}, err
	}
	full, err := New(spec, p.Drop, p.Source)
	full.Provenance = p.Provenance
	return full, err
}

// ReadPlan reads a plan file: one JSON object with the keys of Plan, of which
// layers and keep are required, and optionally "type": "plan". A key that does
// not exist fails with the nearest one that does; a key given twice, lists that
// contradict each other and anything after the object fail, too.
func ReadPlan(path string) (Plan, error) {
	raw, err := mmap.ReadNamed(path)
	if err != nil {
		return Plan{}, err
	}
	p, err := parsePlan(raw)
	if err != nil {
		return Plan{}, fmt.Errorf("plan %s: %w", path, err)
	}
	return p, nil
}

func unknownKey(key string, known []string) error {
	if near := nearest.Near(key, known); len(near) > 0 {
		return fmt.Errorf("unknown key %q; did you mean %q?", key, near[0])
	}
	return fmt.Errorf("unknown key %q; a plan has %s", key, strings.Join(known, ", "))
}

func parsePlan(raw []byte) (Plan, error) {
	values, err := members(raw)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: the file is cut short", err)
	}
	if err != nil {
		return Plan{}, err
	}
	var p Plan
	kind, targets := "plan", p.targets()
	targets["type"] = &kind
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value := values[key]
		target, known := targets[key]
		if !known {
			return Plan{}, unknownKey(key, slices.Sorted(maps.Keys(targets)))
		}
		if string(value) == "null" {
			return Plan{}, fmt.Errorf("%s is null: give it a value or leave it out", key)
		}
		if err := json.Unmarshal(value, target); err != nil {
			return Plan{}, fmt.Errorf("%s = %s: want %s", key, value, kindOf(target))
		}
	}
	if kind != "plan" {
		return Plan{}, fmt.Errorf("type = %q: this is not a plan", kind)
	}
	for _, key := range []string{"layers", "keep"} {
		if _, given := values[key]; !given {
			return Plan{}, fmt.Errorf("%q is missing: a plan spells out the number of layers and the kept ones", key)
		}
	}
	if _, given := values["drop"]; !given && p.Layers <= 1<<20 {
		p.Drop = Complement(p.Keep, p.Layers)
	}
	return p, p.check()
}

// targets maps the keys of a plan file to the fields they fill.
func (p *Plan) targets() map[string]any {
	return map[string]any{
		"layers": &p.Layers, "keep": &p.Keep, "drop": &p.Drop,
		"parameters": &p.Parameters, "parameters_before": &p.ParametersBefore,
		"bytes": &p.Bytes, "bytes_before": &p.BytesBefore,
		"source": &p.Source, "model": &p.Model, "model_hash": &p.ModelHash, "version": &p.Version, "metric": &p.Metric,
		"scores": &p.Scores, "data": &p.Data, "data_hash": &p.DataHash, "origin": &p.Origin, "healed": &p.Healed,
	}
}

// kindOf names what a target takes, for errors.
func kindOf(target any) string {
	switch target.(type) {
	case *int, *int64:
		return "a whole number"
	case *[]int:
		return "a list of whole numbers"
	case *[]Score:
		return "a list of numbers"
	case *bool:
		return "true or false"
	case **Origin:
		return "an object with layers and keep"
	}
	return "a text"
}

// members splits a JSON object into its values, refusing repeated keys and
// anything behind the object.
func members(raw []byte) (map[string]json.RawMessage, error) {
	if err := pyjson.CheckText(raw); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("want one JSON object")
	}
	values := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := t.(string)
		if _, twice := values[key]; twice {
			return nil, fmt.Errorf("%q is given twice", key)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		values[key] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is more than one JSON object; keep the plan's line only")
	}
	return values, nil
}
