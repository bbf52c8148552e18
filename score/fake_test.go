package score_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// memory is a model.Source of tensors made by a test. It counts releases.
type memory struct {
	tensors  map[string]checkpoint.TensorInfo
	data     map[string][]byte
	released map[string]int
}

func (m *memory) Tensors() []checkpoint.TensorInfo {
	var out []checkpoint.TensorInfo
	for _, t := range m.tensors {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b checkpoint.TensorInfo) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

func (m *memory) Tensor(name string) (checkpoint.TensorInfo, bool) {
	t, ok := m.tensors[name]
	return t, ok
}

func (m *memory) Data(name string) ([]byte, error) {
	d, ok := m.data[name]
	if !ok {
		return nil, fmt.Errorf("no tensor %q", name)
	}
	return d, nil
}

func (m *memory) Prefetch(...string) {}

func (m *memory) Populate(...string) {}

func (m *memory) ReleasePart(string, int64, int64) {}

func (m *memory) Release(names ...string) {
	for _, name := range names {
		m.released[name]++
	}
}

// tiny is a Llama of L layers with D = 2 and a vocabulary of 4, with biases.
// weight gives the value of every element of a tensor.
func tiny(t *testing.T, layers int, dtype safetensors.DType, weight func(w model.Weight, i int) float32) (*model.Model, *memory) {
	t.Helper()
	spec, err := model.ParseConfig(fmt.Appendf(nil, `{"architectures": ["LlamaForCausalLM"], "num_hidden_layers": %d, "hidden_size": 2,
		"num_attention_heads": 1, "intermediate_size": 3, "vocab_size": 4, "attention_bias": true}`, layers))
	if err != nil {
		t.Fatal(err)
	}
	src := &memory{tensors: map[string]checkpoint.TensorInfo{}, data: map[string][]byte{}, released: map[string]int{}}
	for w := range spec.Weights() {
		info := checkpoint.TensorInfo{Tensor: safetensors.Tensor{Name: w.Name, DType: dtype, Shape: w.Shape}}
		info.Bytes = w.Elements() * int64(dtype.Size())
		src.tensors[w.Name] = info
		for i := range int(w.Elements()) {
			src.data[w.Name] = appendElement(src.data[w.Name], dtype, weight(w, i))
		}
	}
	m, err := model.New(spec, src)
	if err != nil {
		t.Fatal(err)
	}
	return m, src
}

// appendElement encodes values that need no rounding in any of the dtypes.
func appendElement(b []byte, d safetensors.DType, v float32) []byte {
	bits := math.Float32bits(v)
	switch d {
	case safetensors.F32:
		return binary.LittleEndian.AppendUint32(b, bits)
	case safetensors.BF16:
		return binary.LittleEndian.AppendUint16(b, uint16(bits>>16))
	}
	sign, exp, frac := uint16(bits>>16&0x8000), int(bits>>23&0xff)-127+15, bits&0x7fffff
	switch {
	case v == 0:
		return binary.LittleEndian.AppendUint16(b, sign)
	case exp >= 31:
		return binary.LittleEndian.AppendUint16(b, sign|0x7c00|uint16(frac>>13))
	case exp <= 0: // subnormal: the leading one becomes visible
		return binary.LittleEndian.AppendUint16(b, sign|uint16((frac|0x800000)>>(14-exp)))
	}
	return binary.LittleEndian.AppendUint16(b, sign|uint16(exp)<<10|uint16(frac>>13))
}

// fake is an engine whose embedding is a table and whose layers are functions
// of one token's hidden state.
type fake struct {
	embedding map[int32][2]float32
	layers    []func(x [2]float32) [2]float32
}

func (*fake) Info() engine.Info { return engine.Info{Device: "fake"} }
func (*fake) NewHidden(m *model.Model, rows int) (engine.Hidden, error) {
	return &rowsOf2{make([]float32, 2*rows)}, nil
}
func (*fake) NewKV(*model.Model, int, int) (engine.KV, error) { panic("not used") }
func (f *fake) Embedding(*model.Model, engine.EmbeddingOptions) (engine.Embedding, error) {
	return fakeEmbedding{f}, nil
}
func (f *fake) Fetch(_ *model.Model, i int, _ engine.LayerOptions) engine.Fetched {
	return fakeLayer(f.layers[i])
}
func (*fake) Head(*model.Model, engine.HeadOptions) (engine.Head, error) { panic("not used") }
func (*fake) Memory(*model.Model, engine.LayerOptions) engine.Memory     { return engine.Memory{} }
func (*fake) Close() error                                               { return nil }

// rowsOf2 are hidden states with D = 2.
type rowsOf2 struct{ v []float32 }

func (h *rowsOf2) Rows() int                               { return len(h.v) / 2 }
func (h *rowsOf2) Host(context.Context) ([]float32, error) { return h.v, nil }
func (h *rowsOf2) Read(engine.Values) error                { panic("not used") }
func (h *rowsOf2) Write(engine.Values) error               { panic("not used") }
func (h *rowsOf2) Sync(context.Context) error              { return nil }
func (h *rowsOf2) Slice(lo, hi int) engine.Hidden          { return &rowsOf2{h.v[2*lo : 2*hi]} }
func (h *rowsOf2) Release()                                {}

type fakeEmbedding struct{ *fake }

func (e fakeEmbedding) Forward(_ context.Context, b *engine.Batch, y engine.Hidden) error {
	for i, id := range b.Tokens {
		v := e.embedding[id]
		copy(y.(*rowsOf2).v[2*i:], v[:])
	}
	return nil
}
func (fakeEmbedding) Release() {}

type fakeLayer func(x [2]float32) [2]float32

func (l fakeLayer) Wait(context.Context) (engine.Layer, error) { return l, nil }
func (fakeLayer) Drop()                                        {}

func (l fakeLayer) Forward(_ context.Context, c *engine.Call, x, y engine.Hidden) error {
	for i := range c.Batch.Tokens {
		v := l([2]float32(x.(*rowsOf2).v[2*i:]))
		copy(y.(*rowsOf2).v[2*i:], v[:])
	}
	return nil
}
func (fakeLayer) Release() {}
