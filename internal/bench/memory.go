package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/synth"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// Source holds random weights in memory. Weights of layers may be shared:
// layer i then is layer i modulo their number, which times the same as long as
// no cache holds so many.
type Source struct {
	tensors []checkpoint.TensorInfo
	byName  map[string]int
	data    map[string][]byte
}

var _ model.Source = (*Source)(nil)

// beyondCaches is more than any processor's caches: so many bytes of layers
// are distinct.
const beyondCaches = 2 << 30

// synthetic makes up a model of the shape, in the dtype the engine computes in,
// so that nothing is converted while it is measured.
func synthetic(ctx context.Context, s Shape, opt Options) (*model.Model, error) {
	dtype := safetensors.F32
	if opt.Engine.Info().DType == engine.BFloat16 {
		dtype = safetensors.BF16
	}
	distinct := distinctLayers(s.Spec, dtype)
	if need := weightBytes(s.Spec, dtype, distinct); opt.Memory > 0 && need > opt.Memory {
		return nil, fmt.Errorf("the weights of %s in %s take %.1f GiB, --memory is %.1f GiB: raise it or choose a smaller shape",
			s.Name, dtype, gib(need), gib(opt.Memory))
	}
	src, err := newSource(ctx, s.Spec, dtype, distinct, opt.Seed)
	if err != nil {
		return nil, err
	}
	return model.New(s.Spec, src)
}

func distinctLayers(s *model.Spec, d safetensors.DType) int {
	layer := s.LayerParameters() * int64(d.Size())
	return int(min(int64(s.Layers), (beyondCaches+layer-1)/layer))
}

// weightBytes is what the weights take when so many layers are distinct.
func weightBytes(s *model.Spec, d safetensors.DType, distinct int) int64 {
	shared := int64(s.Layers-distinct) * s.LayerParameters()
	return (s.Parameters() - shared) * int64(d.Size())
}

func gib(n int64) float64 { return float64(n) / (1 << 30) }

// newSource draws weights; it fails only when ctx is done.
func newSource(ctx context.Context, s *model.Spec, d safetensors.DType, distinct int, seed uint64) (*Source, error) {
	src := &Source{byName: map[string]int{}, data: map[string][]byte{}}
	p := newPattern(d, 1-s.NormOffset, seed)
	for w := range s.Weights() {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		size := w.Elements() * int64(d.Size())
		src.tensors = append(src.tensors, checkpoint.TensorInfo{
			Tensor: safetensors.Tensor{Name: w.Name, DType: d, Shape: w.Shape, Bytes: size},
		})
		if w.Layer >= distinct {
			twin := s.LayerWeights(w.Layer % distinct)
			here := s.LayerWeights(w.Layer)
			i := slices.IndexFunc(here, func(h model.Weight) bool { return h.Name == w.Name })
			src.data[w.Name] = src.data[twin[i].Name]
			continue
		}
		src.data[w.Name] = p.fill(make([]byte, size), strings.HasSuffix(string(w.Role), "norm"))
	}
	slices.SortFunc(src.tensors, func(a, b checkpoint.TensorInfo) int { return strings.Compare(a.Name, b.Name) })
	for i, t := range src.tensors {
		src.byName[t.Name] = i
	}
	return src, nil
}

// bytes is what the weights take in memory.
func (s *Source) bytes() (n int64) {
	counted := map[*byte]bool{}
	for _, data := range s.data {
		if first := &data[0]; !counted[first] {
			counted[first], n = true, n+int64(len(data))
		}
	}
	return n
}

// Tensors implements model.Source.
func (s *Source) Tensors() []checkpoint.TensorInfo { return slices.Clone(s.tensors) }

// Tensor implements model.Source.
func (s *Source) Tensor(name string) (checkpoint.TensorInfo, bool) {
	i, ok := s.byName[name]
	if !ok {
		return checkpoint.TensorInfo{}, false
	}
	return s.tensors[i], true
}

// Data implements model.Source.
func (s *Source) Data(name string) ([]byte, error) {
	data, ok := s.data[name]
	if !ok {
		return nil, fmt.Errorf("tensor %s does not exist", name)
	}
	return data, nil
}

// Prefetch implements model.Source; everything is in memory.
func (s *Source) Prefetch(...string) {}

// Populate implements model.Source; everything is in memory.
func (s *Source) Populate(...string) {}

// Release implements model.Source; everything stays.
func (s *Source) Release(...string) {}

// ReleasePart implements model.Source; everything stays.
func (s *Source) ReleasePart(string, int64, int64) {}

// pattern is a run of gaussian values to fill weights from: drawing billions
// of them would take longer than what is measured.
type pattern struct {
	values []byte // as in the file
	size   int    // bytes a value
	norm   []byte // one value
	random *rand.Rand
}

const patternValues = 1 << 20

// newPattern draws values; norm is what the weights of norms get.
func newPattern(d safetensors.DType, norm float64, seed uint64) *pattern {
	p := &pattern{size: d.Size(), random: rand.New(rand.NewPCG(seed, 0))}
	p.norm = encode(nil, d, float32(norm))
	for range patternValues {
		p.values = encode(p.values, d, float32(0.02*p.random.NormFloat64()))
	}
	return p
}

// encode appends v as BF16 or F32.
func encode(b []byte, d safetensors.DType, v float32) []byte {
	if d == safetensors.BF16 {
		return binary.LittleEndian.AppendUint16(b, synth.BFloat16(v))
	}
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
}

// fill writes the weights of a norm or, from random places of the pattern on, gaussians.
func (p *pattern) fill(dst []byte, norm bool) []byte {
	for rest := dst; len(rest) > 0; {
		from := p.norm
		if !norm {
			from = p.values[p.size*p.random.IntN(patternValues):]
		}
		rest = rest[copy(rest, from):]
	}
	return dst
}
