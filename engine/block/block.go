// Package block says what the parts of a model are made of: which rows of which
// stored tensor are a linear map (fused tensors hold several), what is added to
// the weights of norms, which tensor the head projects with, how rotary
// embeddings turn a position into cosines and sines. Engines share it, so that
// each turns a model.Spec into its own memory and none interprets it anew.
//
// It holds names, shapes and tables, no weights: those are an engine's.
package block

import (
	"fmt"

	"github.com/coppice-ml/coppice/model"
)

// Linear is a map y = W x + b: W [Out, In] is rows [Row, Row+Out) of a stored
// tensor, and b, where the family has one, of the tensor of biases.
type Linear struct {
	Weight       model.Weight
	Row, Out, In int
	Bias         Vector
}

// Vector is elements [First, First+Len) of a stored tensor, to each of which
// Offset is added: 1 where the norm w stands for 1 + w. The zero Vector is one
// that the family does not have.
type Vector struct {
	Weight     model.Weight
	First, Len int
	Offset     float32
}

// Layer is what a decoder block is made of. Norms and biases that the family does
// not have are zero Vectors.
type Layer struct {
	Query, Key, Value, Out Linear
	// Gate goes into the activation and Up multiplies what comes out: Up is a zero
	// Linear where nothing does.
	Gate, Up, Down Linear

	AttnNorm, QueryNorm, KeyNorm, AttnPostNorm Vector
	MLPNorm, MLPPostNorm                       Vector
	AttnNormBias, MLPNormBias                  Vector

	Window int        // keys a query sees, its own included; 0 for all before it
	Rope   model.Rope // of queries and keys; zero where the layer has none
}

// Of says what layer i of a model is made of. It fails on a role that it does
// not know, which is a family that needs more than this package says.
func Of(s *model.Spec, i int) (*Layer, error) {
	l := &Layer{Window: s.Window(i), Rope: s.RopeOf(i)}
	linears, biases, norms := l.linears(s), l.biases(s), l.norms(s)
	for _, w := range s.LayerWeights(i) {
		row := 0
		for _, p := range linears[w.Role] {
			p.into.Weight, p.into.Row, p.into.Out, p.into.In = w, row, p.rows, w.Shape[1]
			row += p.rows
		}
		for _, p := range biases[w.Role] {
			*p.into = Vector{Weight: w, First: row, Len: p.rows}
			row += p.rows
		}
		if p, ok := norms[w.Role]; ok {
			*p.into = Vector{Weight: w, Len: p.rows, Offset: float32(s.NormOffset)}
			row = p.rows
		}
		if row != w.Shape[0] {
			return nil, fmt.Errorf("tensor %s: role %s of shape %v has no place in a block", w.Name, w.Role, w.Shape)
		}
	}
	return l, nil
}

// part is a run of rows of a tensor and where it goes.
type part[T any] struct {
	into *T
	rows int
}

// linears lists the maps that tensors of each role hold.
func (l *Layer) linears(s *model.Spec) map[model.Role][]part[Linear] {
	q, kv, f, d := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim, s.FF, s.Hidden
	up := &l.Up
	if s.Ungated {
		up = &l.Gate
	}
	return map[model.Role][]part[Linear]{
		model.QKV:    {{&l.Query, q}, {&l.Key, kv}, {&l.Value, kv}},
		model.Query:  {{&l.Query, q}},
		model.Key:    {{&l.Key, kv}},
		model.Value:  {{&l.Value, kv}},
		model.Out:    {{&l.Out, d}},
		model.GateUp: {{&l.Gate, f}, {&l.Up, f}},
		model.Gate:   {{&l.Gate, f}},
		model.Up:     {{up, f}},
		model.Down:   {{&l.Down, d}},
	}
}

func (l *Layer) biases(s *model.Spec) map[model.Role][]part[Vector] {
	q, kv, f, d := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim, s.FF, s.Hidden
	up := &l.Up.Bias
	if s.Ungated {
		up = &l.Gate.Bias
	}
	return map[model.Role][]part[Vector]{
		model.AttnNormBias: {{&l.AttnNormBias, d}},
		model.MLPNormBias:  {{&l.MLPNormBias, d}},
		model.QKVBias:      {{&l.Query.Bias, q}, {&l.Key.Bias, kv}, {&l.Value.Bias, kv}},
		model.QueryBias:    {{&l.Query.Bias, q}},
		model.KeyBias:      {{&l.Key.Bias, kv}},
		model.ValueBias:    {{&l.Value.Bias, kv}},
		model.OutProjBias:  {{&l.Out.Bias, d}},
		model.GateUpBias:   {{&l.Gate.Bias, f}, {&l.Up.Bias, f}},
		model.GateBias:     {{&l.Gate.Bias, f}},
		model.UpBias:       {{up, f}},
		model.DownBias:     {{&l.Down.Bias, d}},
	}
}

func (l *Layer) norms(s *model.Spec) map[model.Role]part[Vector] {
	query, key := s.HeadDim, s.HeadDim
	if s.WholeNorm {
		query, key = s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	}
	return map[model.Role]part[Vector]{
		model.AttnNorm:     {&l.AttnNorm, s.Hidden},
		model.QueryNorm:    {&l.QueryNorm, query},
		model.KeyNorm:      {&l.KeyNorm, key},
		model.AttnPostNorm: {&l.AttnPostNorm, s.Hidden},
		model.MLPNorm:      {&l.MLPNorm, s.Hidden},
		model.MLPPostNorm:  {&l.MLPPostNorm, s.Hidden},
	}
}

// Present says whether the family has the vector.
func (v Vector) Present() bool { return v.Len > 0 }

// Norms lists the norms and their biases.
func (l *Layer) Norms() []Vector {
	return []Vector{l.AttnNorm, l.QueryNorm, l.KeyNorm, l.AttnPostNorm, l.MLPNorm, l.MLPPostNorm, l.AttnNormBias, l.MLPNormBias}
}

// Linears lists the maps, in the order they are used, zero ones that the family
// does not have among them.
func (l *Layer) Linears() []*Linear {
	return []*Linear{&l.Query, &l.Key, &l.Value, &l.Out, &l.Gate, &l.Up, &l.Down}
}

// Head is what logits are made of: the final norm, a projection [V, D], and for
// each of its rows, where UnitRows is set, a division by the row's L2 norm.
type Head struct {
	Norm       Vector
	NormBias   Vector       // zero where the family has none
	Projection model.Weight // the embedding's table where they are tied
	UnitRows   bool
}

// HeadOf says what a model's head is made of.
func HeadOf(s *model.Spec) Head {
	role := model.LMHead
	if s.Tied {
		role = model.Embedding
	}
	norm := top(s, model.FinalNorm)
	return Head{
		NormBias:   biasOf(s),
		Norm:       Vector{Weight: norm, Len: norm.Shape[0], Offset: float32(s.NormOffset)},
		Projection: top(s, role),
		UnitRows:   s.HeadUnitRows,
	}
}

func biasOf(s *model.Spec) Vector {
	for _, w := range s.TopWeights() {
		if w.Role == model.FinalNormBias {
			return Vector{Weight: w, Len: w.Shape[0]}
		}
	}
	return Vector{}
}

// PositionsOf is the table [positions, D] of learned positions; ok is false where
// the family has none. Token at position p gets row p + the spec's PositionOffset.
func PositionsOf(s *model.Spec) (w model.Weight, ok bool) {
	for _, w := range s.TopWeights() {
		if w.Role == model.Positions {
			return w, true
		}
	}
	return model.Weight{}, false
}

// EmbeddingOf is the table [V, D] that tokens are looked up in; what comes out is
// multiplied by the spec's EmbedScale.
func EmbeddingOf(s *model.Spec) model.Weight { return top(s, model.Embedding) }

// top finds the weight with a role outside the layers. Every spec has an
// embedding and a final norm, and a head unless it is tied.
func top(s *model.Spec, role model.Role) model.Weight {
	for _, w := range s.TopWeights() {
		if w.Role == role {
			return w
		}
	}
	panic("block: the spec has no " + string(role))
}
