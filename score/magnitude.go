package score

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// norms are sums over weights of |w| and of w^2, in float64.
type norms struct{ l1, l2 float64 }

// magnitudes are sums over each layer's projection and norm weights (biases
// excluded, norms as stored) of |w|^p, no root. Source: the paper's code.
type magnitudes struct{ layers []norms } // [L] by original index

// weighed is the source of metrics of the weights, which are read once for all
// of them.
func weighed(value func(*magnitudes, int) float64) source {
	return func(p *Priced, metric Metric) (reader, error) {
		if p.weights == nil {
			p.weights = &magnitudes{layers: make([]norms, p.m.Spec.Layers)}
		}
		return p.scored(metric, func() []float64 {
			scores := p.undefined()
			for _, l := range p.layers {
				scores[l] = value(p.weights, l)
			}
			return scores
		}), nil
	}
}

func (g *magnitudes) l1(layer int) float64 { return g.layers[layer].l1 }
func (g *magnitudes) l2(layer int) float64 { return g.layers[layer].l2 }

// read sums up the layers. One is in memory at a time, the next being read ahead.
func (g *magnitudes) read(ctx context.Context, m *model.Model, layers []int, t *tracker) error {
	for i, l := range layers {
		if i+1 < len(layers) {
			m.Source.Prefetch(weightNames(m.Spec, layers[i+1])...)
		}
		var err error
		if g.layers[l], err = layerNorms(ctx, m, l); err != nil {
			return fmt.Errorf("layer %d: %w", l, err)
		}
		m.Source.Release(weightNames(m.Spec, l)...)
		t.ahead(1, 1)
		t.advance(1)
	}
	return nil
}

// weightNames are the tensors of layer l that magnitudes look at.
func weightNames(spec *model.Spec, l int) []string {
	var names []string
	for _, w := range spec.LayerWeights(l) {
		if !w.IsBias() {
			names = append(names, w.Name)
		}
	}
	return names
}

// chunkElements is how many weights one goroutine sums at a time. Chunks are
// added in the order of the tensors, so the CPUs' number changes no bit.
const chunkElements = 1 << 19

type chunk struct {
	tensor checkpoint.TensorInfo
	data   []byte
	sum    norms
}

func layerNorms(ctx context.Context, m *model.Model, l int) (norms, error) {
	chunks, err := layerChunks(m, l)
	if err != nil {
		return norms{}, err
	}
	parallel(len(chunks), func(i int) {
		if ctx.Err() == nil {
			chunks[i].sum = sumOf(chunks[i].tensor.DType)(chunks[i].data)
		}
	})
	if ctx.Err() != nil {
		return norms{}, context.Cause(ctx)
	}
	var total norms
	for _, c := range chunks {
		if !finite(c.sum.l2) {
			return norms{}, fmt.Errorf("tensor %s has a NaN or Inf weight; the checkpoint is damaged", c.tensor.Name)
		}
		total.l1 += c.sum.l1
		total.l2 += c.sum.l2
	}
	return total, nil
}

func layerChunks(m *model.Model, l int) ([]chunk, error) {
	var chunks []chunk
	for _, name := range weightNames(m.Spec, l) {
		t, ok := m.Source.Tensor(name)
		if !ok {
			return nil, fmt.Errorf("tensor %s is missing", name)
		}
		if !model.Computable(t.DType) {
			return nil, fmt.Errorf("tensor %s: dtype %s, want F32, F16 or BF16", name, t.DType)
		}
		data, err := m.Source.Data(name)
		if err != nil {
			return nil, err
		}
		for size := chunkElements * t.DType.Size(); len(data) > size; data = data[size:] {
			chunks = append(chunks, chunk{tensor: t, data: data[:size]})
		}
		chunks = append(chunks, chunk{tensor: t, data: data})
	}
	return chunks, nil
}

// sumOf returns the summing loop for a dtype that is Computable.
func sumOf(d safetensors.DType) func([]byte) norms {
	switch d {
	case safetensors.BF16:
		return sumBF16
	case safetensors.F16:
		return sumF16
	default:
		return sumF32
	}
}

// lanes are four independent chains of additions.
type lanes [4]norms

func (l *lanes) total() norms {
	return norms{
		l1: (l[0].l1 + l[1].l1) + (l[2].l1 + l[3].l1),
		l2: (l[0].l2 + l[1].l2) + (l[2].l2 + l[3].l2),
	}
}

func (n *norms) add(v float64) {
	n.l1 += math.Abs(v)
	n.l2 += v * v
}

func bf16(bits uint64) float64 {
	return float64(number.FromBF16(uint16(bits)))
}

func sumBF16(b []byte) norms {
	var s0, s1, s2, s3 norms
	for ; len(b) >= 8; b = b[8:] {
		four := binary.LittleEndian.Uint64(b)
		s0.add(bf16(four & 0xffff))
		s1.add(bf16(four >> 16 & 0xffff))
		s2.add(bf16(four >> 32 & 0xffff))
		s3.add(bf16(four >> 48))
	}
	for ; len(b) >= 2; b = b[2:] {
		s0.add(bf16(uint64(binary.LittleEndian.Uint16(b))))
	}
	return (&lanes{s0, s1, s2, s3}).total()
}

// f16 widens a half exactly, its sign dropped: the bits land in a double's
// exponent and fraction, and one multiplication corrects the bias, subnormals
// included. Inf and NaN become NaN.
func f16(bits uint64) float64 {
	const rebias = 0x1p1008 // 2^(1023-15)
	if bits&0x7c00 == 0x7c00 {
		return math.NaN()
	}
	return math.Float64frombits(bits&0x7fff<<42) * rebias
}

func sumF16(b []byte) norms {
	var s0, s1, s2, s3 norms
	for ; len(b) >= 8; b = b[8:] {
		four := binary.LittleEndian.Uint64(b)
		s0.add(f16(four))
		s1.add(f16(four >> 16))
		s2.add(f16(four >> 32))
		s3.add(f16(four >> 48))
	}
	for ; len(b) >= 2; b = b[2:] {
		s0.add(f16(uint64(binary.LittleEndian.Uint16(b))))
	}
	return (&lanes{s0, s1, s2, s3}).total()
}

func sumF32(b []byte) norms {
	var s0, s1 norms
	for ; len(b) >= 8; b = b[8:] {
		two := binary.LittleEndian.Uint64(b)
		s0.add(float64(math.Float32frombits(uint32(two))))
		s1.add(float64(math.Float32frombits(uint32(two >> 32))))
	}
	if len(b) >= 4 {
		s0.add(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
	}
	return (&lanes{s0, s1}).total()
}
