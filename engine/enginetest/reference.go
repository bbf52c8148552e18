package enginetest

import (
	"encoding/binary"
	"fmt"
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
			againstReference(t, build, Open(t, testkit.Llama(t, o)))
		})
	}
	for _, name := range Picos() {
		t.Run(name, func(t *testing.T) { againstReference(t, build, Pico(t, name)) })
	}
}

func againstReference(t *testing.T, build New, m *model.Model) {
	t.Helper()
	r := load(t, build(t, engine.Float32), m)
	ids := tokens(100, m.Spec.Vocab, 3)
	hidden, logits := r.forward(t, pack(ids), nil)
	want := reference(t, m, ids, allLayers(m))
	for i := range hidden {
		within(t, fmt.Sprintf("hidden states %d", i), hidden[i], want.hidden[i], logitTolerance)
	}
	within(t, "logits", logits, want.logits, logitTolerance)
}

// Logits computes the logits [T, V] of one sequence in float64, as plainly as
// can be: for tests that need to know what is right.
func Logits(t testing.TB, m *model.Model, ids []int32) []float32 {
	t.Helper()
	return reference(t, m, ids, allLayers(m)).logits
}

// trace is what a forward pass of one sequence computes.
type trace struct {
	hidden        [][]float32 // [layers+1][T*D]: after the embedding and after every layer
	final, logits []float32   // [T, D] after the final norm; [T, V]
}

// reference runs one sequence through the layers in keep, in float64, as
// plainly as can be.
func reference(t testing.TB, m *model.Model, ids []int32, keep []int) trace {
	s := m.Spec
	top := tensors(t, m, s.TopWeights())
	x := make([][]float64, len(ids))
	for i, id := range ids {
		x[i] = scaled(top[model.Embedding][int(id)*s.Hidden:][:s.Hidden], s.EmbedScale)
		if positions := top[model.Positions]; positions != nil {
			sum(x[i], positions[(i+s.PositionOffset)*s.Hidden:][:s.Hidden])
		}
	}
	out := trace{hidden: [][]float32{flat(x)}}
	for _, l := range keep {
		block(s, s.Window(l), s.RopeOf(l), tensors(t, m, s.LayerWeights(l)), x)
		out.hidden = append(out.hidden, flat(x))
	}
	head := top[model.LMHead]
	if s.Tied {
		head = top[model.Embedding]
	}
	if s.HeadUnitRows {
		head = unitRows(head, s.Hidden)
	}
	for _, row := range x {
		n := streamNorm(s, row, top[model.FinalNorm], top[model.FinalNormBias])
		out.final = appendFloat32(out.final, n)
		logits := linear(n, head, nil)
		for j := range logits {
			logits[j] = capped(logits[j]*s.Logit(), s.LogitSoftCap)
		}
		out.logits = appendFloat32(out.logits, logits)
	}
	return out
}

func allLayers(m *model.Model) []int {
	keep := make([]int, m.Spec.Layers)
	for i := range keep {
		keep[i] = i
	}
	return keep
}

// block adds one layer's attention and feed-forward to x [T][D]. A query sees
// window keys, its own included; 0 means all before it.
func block(s *model.Spec, window int, rope model.Rope, w map[model.Role][]float64, x [][]float64) {
	q, k, v := make([][]float64, len(x)), make([][]float64, len(x)), make([][]float64, len(x))
	for i, row := range x {
		q[i], k[i], v[i] = project(s, w, streamNorm(s, row, w[model.AttnNorm], w[model.AttnNormBias]))
		q[i] = rotated(s, rope, headNorm(s, q[i], w[model.QueryNorm]), i, len(x))
		k[i] = rotated(s, rope, headNorm(s, k[i], w[model.KeyNorm]), i, len(x))
	}
	for i, row := range x {
		first := 0
		if window > 0 {
			first = max(0, i+1-window)
		}
		attended := attend(s, q[i], k[first:i+1], v[first:i+1])
		before := streamNorm(s, row, w[model.AttnNorm], w[model.AttnNormBias])
		sum(row, scaled(postNorm(s, linear(attended, w[model.Out], w[model.OutProjBias]), w[model.AttnPostNorm]), s.Residual()))
		if !s.Parallel {
			before = streamNorm(s, row, w[model.MLPNorm], w[model.MLPNormBias])
		}
		sum(row, scaled(postNorm(s, feedForward(s, w, before), w[model.MLPPostNorm]), s.Residual()))
	}
}

// project gives one token's queries, keys and values, from one matrix or three.
func project(s *model.Spec, w map[model.Role][]float64, x []float64) (q, k, v []float64) {
	if w[model.QKV] == nil {
		return linear(x, w[model.Query], w[model.QueryBias]), linear(x, w[model.Key], w[model.KeyBias]), linear(x, w[model.Value], w[model.ValueBias])
	}
	all, nq, nk := linear(x, w[model.QKV], w[model.QKVBias]), s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	return all[:nq], all[nq : nq+nk], all[nq+nk:]
}

// feedForward is down(activation(gate x) * up x), or without a gate down(activation(up x)).
func feedForward(s *model.Spec, w map[model.Role][]float64, x []float64) []float64 {
	if s.Ungated {
		up := linear(x, w[model.Up], w[model.UpBias])
		for j := range up {
			up[j] = activate(s.Activation, up[j])
		}
		return linear(up, w[model.Down], w[model.DownBias])
	}
	gate, up := linear(x, w[model.Gate], w[model.GateBias]), linear(x, w[model.Up], w[model.UpBias])
	if w[model.GateUp] != nil {
		both := linear(x, w[model.GateUp], w[model.GateUpBias])
		gate, up = both[:s.FF], both[s.FF:]
	}
	for j := range gate {
		gate[j] = activate(s.Activation, gate[j]) * up[j]
	}
	return linear(gate, w[model.Down], w[model.DownBias])
}

func activate(a model.Activation, x float64) float64 {
	switch a {
	case model.GELU:
		return x * (1 + math.Erf(x/math.Sqrt2)) / 2
	case model.GELUTanh:
		return x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) / 2
	case model.ReLU:
		return max(x, 0)
	case model.ReLU2:
		return max(x, 0) * max(x, 0)
	default:
		return x / (1 + math.Exp(-x))
	}
}

// attend is softmax(cap(q kᵀ scale)) v for one token's heads.
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
			p[i] = math.Exp(capped(dot*s.AttnScale, s.AttnSoftCap))
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

func capped(x, c float64) float64 {
	if c == 0 {
		return x
	}
	return c * math.Tanh(x/c)
}

// rotated turns the pairs of every head's first Dim columns by their angles, in a
// sequence of length tokens.
func rotated(s *model.Spec, rope model.Rope, row []float64, position, length int) []float64 {
	frequencies := rope.Frequencies(rope.Choice(length))
	for head := row; len(head) > 0; head = head[s.HeadDim:] {
		for j, f := range frequencies {
			first, second := j, j+rope.Dim/2
			if rope.Interleaved {
				first, second = 2*j, 2*j+1
			}
			sin, cos := math.Sincos(float64(position) * float64(f))
			sin, cos = sin*rope.Magnitude(), cos*rope.Magnitude()
			a, b := head[first], head[second]
			head[first], head[second] = a*cos-b*sin, b*cos+a*sin
		}
	}
	return row
}

// headNorm is the norm of every head on its own, or of all together; without
// weights, nothing.
func headNorm(s *model.Spec, row, w []float64) []float64 {
	if w == nil || s.WholeNorm {
		return postNorm(s, row, w)
	}
	var out []float64
	for head := row; len(head) > 0; head = head[s.HeadDim:] {
		out = append(out, norm(s, head[:s.HeadDim], w)...)
	}
	return out
}

func postNorm(s *model.Spec, x, w []float64) []float64 {
	if w == nil {
		return x
	}
	return norm(s, x, w)
}

// streamNorm is the norm of the residual stream, which may take the mean off.
func streamNorm(s *model.Spec, x, w, bias []float64) []float64 {
	if w == nil {
		return x
	}
	if s.LayerNorm {
		var mean float64
		for _, v := range x {
			mean += v / float64(len(x))
		}
		x = scaled(x, 1)
		for i := range x {
			x[i] -= mean
		}
	}
	out := norm(s, x, w)
	if bias != nil {
		sum(out, bias)
	}
	return out
}

func norm(s *model.Spec, x, w []float64) []float64 {
	var square float64
	for _, v := range x {
		square += v * v
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = (s.NormOffset + w[i]) * v / math.Sqrt(square/float64(len(x))+s.NormEps)
	}
	return out
}

// unitRows divides each row of w [.., n] by its L2 norm.
func unitRows(w []float64, n int) []float64 {
	var out []float64
	for ; len(w) > 0; w = w[n:] {
		var square float64
		for _, v := range w[:n] {
			square += v * v
		}
		out = append(out, scaled(w[:n], 1/math.Max(math.Sqrt(square), 1e-12))...)
	}
	return out
}

func scaled(x []float64, by float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v * by
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

func flat(x [][]float64) (out []float32) {
	for _, row := range x {
		out = appendFloat32(out, row)
	}
	return out
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
