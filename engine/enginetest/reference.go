package enginetest

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// testReference compares engines with the readable forward pass below on
// models that differ in what a config can say.
func testReference(t *testing.T, build New) {
	llama3 := map[string]any{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
	for name, o := range map[string]testkit.Options{
		"biases":            {AttnBias: true, MLPBias: true, DType: safetensors.F32},
		"multi-query":       {Heads: 8, KVHeads: 1},
		"multi-head, F16":   {Heads: 4, KVHeads: 4, DType: safetensors.F16},
		"wide heads":        {Heads: 3, KVHeads: 3, HeadDim: 40},
		"llama3 rope, tied": {RopeScaling: llama3, Tied: true},
		"linear rope":       {RopeScaling: map[string]any{"type": "linear", "factor": 4.0}},
		"odd vocabulary":    {Vocab: 1100, FF: 77},
	} {
		t.Run(name, func(t *testing.T) {
			o.Layers, o.Seed = 2, 11
			m := Open(t, testkit.Llama(t, o))
			r := load(t, build(t, engine.Float32), m)
			ids := tokens(150, m.Spec.Vocab, 3)
			hidden, logits := r.forward(t, pack(ids), nil)
			wantHidden, wantLogits := reference(t, m, ids)
			within(t, "hidden states", hidden[len(hidden)-1], wantHidden, logitTolerance)
			within(t, "logits", logits, wantLogits, logitTolerance)
		})
	}
}

// reference runs one sequence in float64, as plainly as can be. It returns the
// hidden states after the last layer [T, D] and the logits [T, V].
func reference(t testing.TB, m *model.Model, ids []int32) (hidden, logits []float32) {
	s := m.Spec
	top := tensors(t, m, s.TopWeights())
	x := make([][]float64, len(ids))
	for i, id := range ids {
		x[i] = append([]float64(nil), top[model.Embedding][int(id)*s.Hidden:][:s.Hidden]...)
	}
	for l := range s.Layers {
		block(s, tensors(t, m, s.LayerWeights(l)), x)
	}
	head := top[model.LMHead]
	if s.Tied {
		head = top[model.Embedding]
	}
	for _, row := range x {
		hidden = appendFloat32(hidden, row)
		logits = appendFloat32(logits, linear(norm(row, top[model.FinalNorm], s.NormEps), head, nil))
	}
	return hidden, logits
}

// block adds one layer's attention and feed-forward to x [T][D].
func block(s *model.Spec, w map[model.Role][]float64, x [][]float64) {
	q, k, v := make([][]float64, len(x)), make([][]float64, len(x)), make([][]float64, len(x))
	for i, row := range x {
		n := norm(row, w[model.AttnNorm], s.NormEps)
		q[i] = rotated(s, linear(n, w[model.Query], w[model.QueryBias]), i)
		k[i] = rotated(s, linear(n, w[model.Key], w[model.KeyBias]), i)
		v[i] = linear(n, w[model.Value], w[model.ValueBias])
	}
	for i, row := range x {
		attended := attend(s, q[i], k[:i+1], v[:i+1])
		sum(row, linear(attended, w[model.Out], w[model.OutProjBias]))
		n := norm(row, w[model.MLPNorm], s.NormEps)
		gate, up := linear(n, w[model.Gate], w[model.GateBias]), linear(n, w[model.Up], w[model.UpBias])
		for j, g := range gate {
			gate[j] = g / (1 + math.Exp(-g)) * up[j]
		}
		sum(row, linear(gate, w[model.Down], w[model.DownBias]))
	}
}

// attend is softmax(q kᵀ scale) v for one token's heads.
func attend(s *model.Spec, q []float64, k, v [][]float64) []float64 {
	d, group := s.HeadDim, s.Heads/s.KVHeads
	out := make([]float64, len(q))
	for h := range s.Heads {
		at := h / group * d
		p := make([]float64, len(k))
		var total float64
		for i := range k {
			var dot float64
			for j := range d {
				dot += q[h*d+j] * k[i][at+j]
			}
			p[i] = math.Exp(dot * s.AttnScale)
			total += p[i]
		}
		for i := range v {
			for j := range d {
				out[h*d+j] += p[i] / total * v[i][at+j]
			}
		}
	}
	return out
}

func rotated(s *model.Spec, row []float64, position int) []float64 {
	half := s.Rope.Dim / 2
	for head := row; len(head) > 0; head = head[s.HeadDim:] {
		for j, f := range s.Rope.Frequencies() {
			sin, cos := math.Sincos(float64(position) * float64(f))
			a, b := head[j], head[j+half]
			head[j], head[j+half] = a*cos-b*sin, b*cos+a*sin
		}
	}
	return row
}

func norm(x, w []float64, eps float64) []float64 {
	var square float64
	for _, v := range x {
		square += v * v
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = w[i] * v / math.Sqrt(square/float64(len(x))+eps)
	}
	return out
}

// linear is w x + bias, w [out, in], bias nil or [out].
func linear(x, w, bias []float64) []float64 {
	out := make([]float64, len(w)/len(x))
	for i := range out {
		for j, v := range x {
			out[i] += w[i*len(x)+j] * v
		}
		if bias != nil {
			out[i] += bias[i]
		}
	}
	return out
}

func sum(x, y []float64) {
	for i, v := range y {
		x[i] += v
	}
}

func appendFloat32(to []float32, xs []float64) []float32 {
	for _, x := range xs {
		to = append(to, float32(x))
	}
	return to
}

// tensors reads weights as float64 by role.
func tensors(t testing.TB, m *model.Model, ws []model.Weight) map[model.Role][]float64 {
	t.Helper()
	out := map[model.Role][]float64{}
	for _, w := range ws {
		raw, err := m.Source.Data(w.Name)
		if err != nil {
			t.Fatal(err)
		}
		info, _ := m.Source.Tensor(w.Name)
		out[w.Role] = decode(t, raw, info.DType)
	}
	return out
}

func decode(t testing.TB, raw []byte, d safetensors.DType) (out []float64) {
	t.Helper()
	for ; len(raw) > 0; raw = raw[d.Size():] {
		switch d {
		case safetensors.F32:
			out = append(out, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
		case safetensors.BF16:
			out = append(out, float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw))<<16)))
		case safetensors.F16:
			out = append(out, half(binary.LittleEndian.Uint16(raw)))
		default:
			t.Fatalf("dtype %s", d)
		}
	}
	return out
}

// half is an IEEE half-precision number by its definition.
func half(h uint16) float64 {
	sign, exp, frac := 1-2*float64(h>>15), int(h>>10&31), float64(h&1023)/1024
	if exp == 0 {
		return sign * math.Ldexp(frac, -14)
	}
	return sign * math.Ldexp(1+frac, exp-15)
}
