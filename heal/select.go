package heal

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/model"
)

// The methods of healing.
const (
	Partial = "partial" // head, final norm and the last layers
	Full    = "full"    // every tensor
	LoRA    = "lora"    // low-rank adapters beside frozen linear maps
)

// Methods lists them.
func Methods() []string { return []string{Partial, Full, LoRA} }

// Selection says what trains.
type Selection struct {
	Method string
	// Layers are the trained or adapted layers as the model counts them; nil: the
	// Last ones of those kept (partial), or all (lora).
	Layers []int
	Last   int
	Head   bool
	Norm   bool
	Embed  bool
	Train  string // regular expression: tensors by name, beside the others

	Targets []string // lora: roles as q, k, v, o, gate, up, down (also q_proj, …), "all", or one regular expression
}

// Chosen is what a Selection comes to for one model.
type Chosen struct {
	Tensors []model.Weight // trained whole
	Adapted []model.Weight // linear maps with adapters
	// Low is the depth of the lowest kept layer that gradients reach: the number
	// of layers if none, -1 when the embedding trains.
	Low   int
	Notes []string // what a user should know, e.g. that a fused tensor is adapted as a whole
}

// Parameters counts what trains, adapters having rank columns.
func (c *Chosen) Parameters(rank int) (n int64) {
	for _, w := range c.Tensors {
		n += w.Elements()
	}
	for _, w := range c.Adapted {
		n += int64(rank) * int64(w.Shape[0]+w.Shape[1])
	}
	return n
}

// FieldError is an error about one field of a Selection or of Options.
type FieldError struct {
	Field   string
	Message string
}

func (e *FieldError) Error() string { return e.Message }

func wrong(field, format string, args ...any) error {
	return &FieldError{Field: field, Message: fmt.Sprintf(format, args...)}
}

// Choose works out what trains of the kept layers of a model.
func (s Selection) Choose(spec *model.Spec, kept []int) (*Chosen, error) {
	chosen := map[string]bool{}
	c := &Chosen{}
	if err := s.layers(spec, kept); err != nil {
		return nil, err
	}
	switch s.Method {
	case Full:
		for _, w := range weights(spec, kept) {
			chosen[w.Name] = true
		}
	case Partial:
		s.partial(spec, kept, chosen)
	case LoRA:
		if s.Train != "" {
			return nil, wrong("train", "an adapter's files have no room for whole tensors")
		}
		if err := s.lora(spec, kept, c); err != nil {
			return nil, err
		}
	default:
		return nil, wrong("method", "method %q does not exist; choose %s", s.Method, strings.Join(Methods(), ", "))
	}
	if err := s.byName(spec, kept, chosen); err != nil {
		return nil, err
	}
	for _, w := range weights(spec, kept) {
		if chosen[w.Name] {
			c.Tensors = append(c.Tensors, w)
		}
	}
	if len(c.Tensors)+len(c.Adapted) == 0 {
		return nil, wrong("last", "nothing would be trained: no head, no norm, no layer")
	}
	c.Low = low(c, kept)
	return c, nil
}

// weights lists the tensors of the kept layers and those around them.
func weights(spec *model.Spec, kept []int) []model.Weight {
	ws := spec.TopWeights()
	for _, i := range kept {
		ws = append(ws, spec.LayerWeights(i)...)
	}
	return ws
}

// layers checks the layers that were asked for.
func (s Selection) layers(spec *model.Spec, kept []int) error {
	if s.Last < 0 || s.Last > len(kept) {
		return wrong("last", "the last %d layers of %d cannot be trained", s.Last, len(kept))
	}
	for _, i := range s.Layers {
		if i < 0 || i >= spec.Layers {
			return wrong("layers", "there is no layer %d: the model's are 0-%d", i, spec.Layers-1)
		}
		if !slices.Contains(kept, i) {
			return wrong("layers", "layer %d is one of those that are left out", i)
		}
	}
	return nil
}

func (s Selection) partial(spec *model.Spec, kept []int, chosen map[string]bool) {
	layers := s.Layers
	if layers == nil {
		layers = kept[len(kept)-s.Last:]
	}
	for _, i := range layers {
		for _, w := range spec.LayerWeights(i) {
			chosen[w.Name] = true
		}
	}
	for _, w := range spec.TopWeights() {
		switch w.Role {
		case model.LMHead:
			chosen[w.Name] = s.Head
		case model.FinalNorm, model.FinalNormBias:
			chosen[w.Name] = s.Norm
		case model.Embedding:
			chosen[w.Name] = s.Embed || s.Head && spec.Tied
		}
	}
}

// byName adds tensors whose name a regular expression matches.
func (s Selection) byName(spec *model.Spec, kept []int, chosen map[string]bool) error {
	if s.Train == "" {
		return nil
	}
	re, err := regexp.Compile(s.Train)
	if err != nil {
		return wrong("train", "%q is no regular expression: %v", s.Train, err)
	}
	found := false
	for _, w := range weights(spec, kept) {
		if re.MatchString(w.Name) {
			chosen[w.Name], found = true, true
		}
	}
	if !found {
		return wrong("train", "no tensor's name matches %q; names are such as %s", s.Train, spec.LayerWeights(kept[0])[0].Name)
	}
	return nil
}

// low is the depth that gradients have to reach.
func low(c *Chosen, kept []int) int {
	at := len(kept)
	for _, w := range slices.Concat(c.Tensors, c.Adapted) {
		switch {
		case w.Role == model.Embedding:
			return -1
		case w.Layer >= 0:
			at = min(at, slices.Index(kept, w.Layer))
		}
	}
	return at
}

// lora finds the linear maps that adapters go beside.
func (s Selection) lora(spec *model.Spec, kept []int, c *Chosen) error {
	layers := s.Layers
	if layers == nil {
		layers = kept
	}
	match, err := s.targets(spec, c)
	if err != nil {
		return err
	}
	for _, i := range layers {
		for _, w := range spec.LayerWeights(i) {
			if len(w.Shape) == 2 && match(w) {
				c.Adapted = append(c.Adapted, w)
			}
		}
	}
	if len(c.Adapted) == 0 {
		return wrong("targets", "no linear map's name matches %q; names are such as %s", s.Targets, example(spec))
	}
	return nil
}

func example(spec *model.Spec) string {
	for _, w := range spec.LayerWeights(0) {
		if len(w.Shape) == 2 {
			return w.Name
		}
	}
	return ""
}

// parts are the linear maps that a role holds, by the names people give them.
func parts(r model.Role) []string {
	switch r {
	case model.QKV:
		return []string{"q", "k", "v"}
	case model.GateUp:
		return []string{"gate", "up"}
	case model.Query:
		return []string{"q"}
	case model.Key:
		return []string{"k"}
	case model.Value:
		return []string{"v"}
	case model.Out:
		return []string{"o"}
	case model.Gate:
		return []string{"gate"}
	case model.Up:
		return []string{"up"}
	case model.Down:
		return []string{"down"}
	}
	return nil
}

// targets returns what tells the linear maps that are adapted.
func (s Selection) targets(spec *model.Spec, c *Chosen) (func(model.Weight) bool, error) {
	var names []string
	for _, t := range s.Targets {
		t = strings.TrimSuffix(t, "_proj")
		if t == "all" {
			names = []string{"q", "k", "v", "o", "gate", "up", "down"}
			break
		}
		names = append(names, t)
	}
	known := []string{"q", "k", "v", "o", "gate", "up", "down"}
	if i := slices.IndexFunc(names, func(n string) bool { return !slices.Contains(known, n) }); i >= 0 {
		return s.expression(names[i])
	}
	for _, w := range spec.LayerWeights(0) {
		fused := parts(w.Role)
		if len(fused) < 2 {
			continue
		}
		asked := slices.DeleteFunc(slices.Clone(fused), func(p string) bool { return !slices.Contains(names, p) })
		switch {
		case len(asked) == len(fused):
			c.Notes = append(c.Notes, fmt.Sprintf("%s are one tensor, %s: one adapter serves them together", strings.Join(fused, ", "), w.Name))
		case len(asked) > 0:
			return nil, wrong("targets", "%s cannot be adapted alone: %s are one tensor, %s; name all of them or none", strings.Join(asked, ", "), strings.Join(fused, ", "), w.Name)
		}
	}
	return func(w model.Weight) bool {
		ps := parts(w.Role)
		return len(ps) > 0 && slices.Contains(names, ps[0])
	}, nil
}

// expression matches names of tensors, for targets that are no role.
func (s Selection) expression(unknown string) (func(model.Weight) bool, error) {
	if len(s.Targets) > 1 || regexp.QuoteMeta(s.Targets[0]) == s.Targets[0] {
		return nil, wrong("targets", "target %q does not exist; choose q, k, v, o, gate, up, down, all, or one regular expression of tensor names", unknown)
	}
	re, err := regexp.Compile(s.Targets[0])
	if err != nil {
		return nil, wrong("targets", "%q is no regular expression: %v", s.Targets[0], err)
	}
	return func(w model.Weight) bool { return re.MatchString(w.Name) }, nil
}
