package export

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/gguf"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// tensor is a tensor of the file: rows [rows, columns] of a stored one, or values
// that are made.
type tensor struct {
	name  string
	typ   gguf.Type
	shape []int64

	source        string // stored tensor
	dtype         safetensors.DType
	first         int64 // element of it
	rows, columns int64

	headDim int64   // rows of a head change places: (j, j+headDim/2) become (2j, 2j+1); 0: none
	offset  float32 // added to values
	scale   float64 // multiplies them then
	unit    bool    // rows are divided by their L2 norm

	values []float32 // instead of a stored tensor
	file   string    // that holds source, and
	order  string    // the name that it would have in a checkpoint: the converter's order
}

func (t *tensor) described() gguf.Tensor {
	return gguf.Tensor{Name: t.name, Type: t.typ, Shape: t.shape}
}

// lister collects the tensors of a file.
type lister struct {
	c       *checkpoint.Checkpoint
	spec    *model.Spec
	typ     gguf.Type
	rename  func(string) (string, bool)
	tensors []*tensor
	err     error
}

// listTensors lists what a file of the kept layers holds, in the order in which
// llama.cpp's converter writes the checkpoint's own copy of them: factors of
// frequencies, then file by file, by name.
func listTensors(c *checkpoint.Checkpoint, spec *model.Spec, form *model.GGUF, opt Options) (all []*tensor, notes []string, err error) {
	l := &lister{c: c, spec: spec, typ: opt.Type, rename: spec.Renamer(opt.Keep)}
	l.matrix("token_embd", block.Linear{Weight: block.EmbeddingOf(spec), Out: spec.Vocab, In: spec.Hidden})
	head := block.HeadOf(spec)
	l.vector("output_norm.weight", head.Norm)
	l.vector("output_norm.bias", head.NormBias)
	if !spec.Tied || form.Untied {
		l.matrix("output", block.Linear{Weight: head.Projection, Out: spec.Vocab, In: spec.Hidden}).unit = head.UnitRows
	}
	scale := 1.0
	if form.Scale != nil {
		scale = spec.AttnScale / form.Scale(spec, len(opt.Keep))
	}
	for i, layer := range opt.Keep {
		b, err := block.Of(spec, layer)
		if err != nil {
			return nil, nil, err
		}
		l.layer(fmt.Sprintf("blk.%d.", i), b, form, scale)
	}
	if f16 := l.fallen(); f16 > 0 {
		notes = append(notes, fmt.Sprintf("rows of %d matrices are not whole blocks of 32: they are F16", f16))
	}
	slices.SortStableFunc(l.tensors, func(a, b *tensor) int {
		return cmp.Or(strings.Compare(a.file, b.file), strings.Compare(a.order, b.order))
	})
	l.tensors = append(factorTensors(spec.Rope), l.tensors...)
	return l.tensors, notes, l.err
}

// fallen counts matrices that are F16 because their rows do not fit the type.
func (l *lister) fallen() (n int) {
	for _, t := range l.tensors {
		if len(t.shape) == 2 && t.typ != l.typ {
			n++
		}
	}
	return n
}

// layer lists the tensors of one layer. scale is what attention scores are
// multiplied by beside what llama.cpp does: queries are, or the norm that they go
// through.
func (l *lister) layer(prefix string, b *block.Layer, form *model.GGUF, scale float64) {
	headDim := int64(0)
	if form.Pairs && !l.spec.Rope.Interleaved {
		headDim = int64(l.spec.HeadDim)
	}
	if form.Sinks {
		none := slices.Repeat([]float32{noSink}, l.spec.Heads)
		l.tensors = append(l.tensors, &tensor{name: prefix + "attn_sinks.weight", typ: gguf.F32, shape: []int64{int64(len(none))}, values: none})
	}
	for _, m := range linears(b, form) {
		for _, t := range l.linear(prefix+m.name, m.linear) {
			if m.name == "attn_q" || m.name == "attn_k" {
				t.headDim = headDim
			}
			if m.name == "attn_q" && !b.QueryNorm.Present() {
				t.scale = scale
			}
		}
	}
	for _, v := range []struct {
		name   string
		vector block.Vector
	}{
		{"attn_norm.weight", b.AttnNorm}, {"attn_norm.bias", b.AttnNormBias}, {"attn_q_norm.weight", b.QueryNorm}, {"attn_k_norm.weight", b.KeyNorm},
		{"post_attention_norm.weight", b.AttnPostNorm}, {"ffn_norm.weight", b.MLPNorm}, {"ffn_norm.bias", b.MLPNormBias}, {"post_ffw_norm.weight", b.MLPPostNorm},
	} {
		if t := l.vector(prefix+v.name, v.vector); v.name == "attn_q_norm.weight" && t != nil {
			t.scale = scale
		}
	}
}

// noSink is an attention sink that takes nothing: the exponential of it is zero.
const noSink = -1e30

// named is a map and its name in the file.
type named struct {
	name   string
	linear block.Linear
}

// linears lists a layer's maps: several in one tensor where they are stored so and
// llama.cpp takes them so.
func linears(b *block.Layer, form *model.GGUF) (all []named) {
	fused := func(m block.Linear) bool { return slices.Contains(form.Fused, m.Weight.Role) }
	if fused(b.Query) {
		all = append(all, named{"attn_qkv", whole(b.Query)})
	} else {
		all = append(all, named{"attn_q", b.Query}, named{"attn_k", b.Key}, named{"attn_v", b.Value})
	}
	all = append(all, named{"attn_output", b.Out})
	switch {
	case fused(b.Gate):
		all = append(all, named{"ffn_up", whole(b.Gate)})
	case b.Up.Out == 0: // nothing multiplies what comes out of the activation
		all = append(all, named{"ffn_up", b.Gate})
	default:
		all = append(all, named{"ffn_gate", b.Gate}, named{"ffn_up", b.Up})
	}
	return append(all, named{"ffn_down", b.Down})
}

// whole is all of the tensor that holds a map, and of that of its biases.
func whole(m block.Linear) block.Linear {
	m.Row, m.Out = 0, m.Weight.Shape[0]
	if m.Bias.Present() {
		m.Bias.First, m.Bias.Len = 0, m.Bias.Weight.Shape[0]
	}
	return m
}

// linear lists a map's matrix, and its biases where it has them.
func (l *lister) linear(name string, m block.Linear) []*tensor {
	out := []*tensor{l.matrix(name, m)}
	if m.Bias.Present() {
		bias := l.vector(name+".bias", m.Bias)
		bias.rows, bias.columns = bias.columns, 1
		out = append(out, bias)
	}
	return out
}

func (l *lister) matrix(name string, m block.Linear) *tensor {
	t := l.add(&tensor{
		name: name + ".weight", typ: l.typ, source: m.Weight.Name, first: int64(m.Row) * int64(m.In),
		rows: int64(m.Out), columns: int64(m.In), shape: []int64{int64(m.Out), int64(m.In)}, scale: 1,
	})
	if elements, _ := t.typ.Block(); t.columns%elements != 0 {
		t.typ = gguf.F16 // as the converter does for rows that are not whole blocks
	}
	return t
}

// vector lists a norm or biases; nothing for those the family lacks.
func (l *lister) vector(name string, v block.Vector) *tensor {
	if !v.Present() {
		return nil
	}
	return l.add(&tensor{
		name: name, typ: gguf.F32, source: v.Weight.Name, first: int64(v.First), offset: v.Offset,
		rows: 1, columns: int64(v.Len), shape: []int64{int64(v.Len)}, scale: 1,
	})
}

func (l *lister) add(t *tensor) *tensor {
	info, ok := l.c.Tensor(t.source)
	if !ok && l.err == nil {
		l.err = fmt.Errorf("%s: no tensor %q in the checkpoint", l.c.Dir(), t.source)
	}
	if ok && !model.Computable(info.DType) && l.err == nil {
		l.err = fmt.Errorf("%s: tensor %s has dtype %s, want F32, F16 or BF16: use the original checkpoint", l.c.Dir(), t.source, info.DType)
	}
	t.dtype, t.file = info.DType, info.File
	t.order, _ = l.rename(t.source)
	l.tensors = append(l.tensors, t)
	return t
}

// factorTensors are what rotary frequencies are divided by, where they are.
func factorTensors(r model.Rope) (all []*tensor) {
	add := func(name string, values []float32) {
		all = append(all, &tensor{name: name, typ: gguf.F32, shape: []int64{int64(len(values))}, values: values})
	}
	if factors := frequencyFactors(r); factors != nil {
		add("rope_freqs.weight", factors)
	}
	if lists := r.Scaling.Lists; lists != nil {
		add("rope_factors_long.weight", floats32(lists.Long))
		add("rope_factors_short.weight", floats32(lists.Short))
	}
	return all
}

func floats32(values []float64) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = float32(v)
	}
	return out
}

// frequencyFactors are what llama.cpp divides rotary frequencies by, [Dim/2], for
// scaling of type llama3; nil for others. They are computed in float32 where the
// converter does, so that they are the same.
func frequencyFactors(r model.Rope) []float32 {
	s := r.Scaling
	if s.Kind != "llama3" {
		return nil
	}
	out := make([]float32, r.Dim/2)
	factor, low, original := float32(s.Factor), float32(s.LowFreq), float32(s.OriginalPosition)
	for j := range out {
		wavelength := float32(6.283185307179586) / baseFrequency(r, j)
		switch {
		case float64(wavelength) < float64(s.OriginalPosition)/s.HighFreq:
			out[j] = 1
		case float64(wavelength) > float64(s.OriginalPosition)/s.LowFreq:
			out[j] = factor
		default:
			smooth := (original/wavelength - low) / float32(s.HighFreq-s.LowFreq)
			out[j] = 1 / ((1-smooth)/factor + smooth)
		}
	}
	return out
}
