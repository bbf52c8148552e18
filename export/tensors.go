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
	scale   float64 // multiplies values; 0: nothing does
	offset  float32 // added to values
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
	if !spec.Tied {
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
	if factors := frequencyFactors(spec.Rope); factors != nil {
		l.tensors = slices.Insert(l.tensors, 0, &tensor{name: "rope_freqs.weight", typ: gguf.F32, shape: []int64{int64(len(factors))}, values: factors})
	}
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

// layer lists the tensors of one layer.
func (l *lister) layer(prefix string, b *block.Layer, form *model.GGUF, scale float64) {
	headDim := int64(0)
	if form.Pairs && !l.spec.Rope.Interleaved {
		headDim = int64(l.spec.HeadDim)
	}
	for _, m := range []struct {
		name    string
		linear  block.Linear
		headDim int64
		scale   float64
	}{
		{"attn_q", b.Query, headDim, scale}, {"attn_k", b.Key, headDim, 1}, {"attn_v", b.Value, 0, 1}, {"attn_output", b.Out, 0, 1},
		{"ffn_gate", b.Gate, 0, 1}, {"ffn_up", b.Up, 0, 1}, {"ffn_down", b.Down, 0, 1},
	} {
		for _, t := range l.linear(prefix+m.name, m.linear) {
			t.headDim = m.headDim
			if m.scale != 1 {
				t.scale = m.scale
			}
		}
	}
	for _, v := range []struct {
		name   string
		vector block.Vector
	}{
		{"attn_norm", b.AttnNorm}, {"attn_q_norm", b.QueryNorm}, {"attn_k_norm", b.KeyNorm}, {"post_attention_norm", b.AttnPostNorm},
		{"ffn_norm", b.MLPNorm}, {"post_ffw_norm", b.MLPPostNorm},
	} {
		l.vector(prefix+v.name+".weight", v.vector)
	}
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
		rows: int64(m.Out), columns: int64(m.In), shape: []int64{int64(m.Out), int64(m.In)},
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
		rows: 1, columns: int64(v.Len), shape: []int64{int64(v.Len)},
	})
}

func (l *lister) add(t *tensor) *tensor {
	info, ok := l.c.Tensor(t.source)
	if !ok && l.err == nil {
		l.err = fmt.Errorf("%s: no tensor %q in the checkpoint", l.c.Dir(), t.source)
	}
	t.dtype, t.file = info.DType, info.File
	t.order, _ = l.rename(t.source)
	l.tensors = append(l.tensors, t)
	return t
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
