package synth

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/safetensors"
)

// values draws a tensor's elements: mean + scale * gaussian.
type values struct {
	rand        *rand.Rand
	mean, scale float64
}

func (v *values) next() float32 { return float32(v.mean + v.scale*v.rand.NormFloat64()) }

// values chooses the distribution by what the tensor does. Projections keep
// their input's scale, queries and keys are larger so that attention picks,
// and what is added to the residual stream is scaled by the layer's gain.
func (o Options) values(name string, shape []int) *values {
	v := &values{rand: newRand(o.Seed, name), scale: 1}
	in := float64(shape[len(shape)-1])
	switch {
	case strings.HasSuffix(name, "norm.weight"):
		v.mean, v.scale = 1, 0.1
	case strings.HasSuffix(name, ".bias"):
		v.scale = 0.1
	case !strings.HasPrefix(name, "model.layers."): // embedding and head
		v.scale = 2 / math.Sqrt(in)
	case strings.Contains(name, "q_proj"), strings.Contains(name, "k_proj"):
		v.scale = 1.5 / math.Sqrt(in)
	case strings.Contains(name, "o_proj"), strings.Contains(name, "down_proj"):
		v.scale = o.layerGain(layerOf(name)) / math.Sqrt(in)
	default:
		v.scale = 1 / math.Sqrt(in)
	}
	return v
}

func layerOf(name string) int {
	var i int
	if _, err := fmt.Sscanf(name, "model.layers.%d.", &i); err != nil {
		panic("synth: " + name + " is not in a layer")
	}
	return i
}

// newRand is a generator of its own for every name, so that a tensor does not
// depend on those before it.
func newRand(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

func knownDType(d safetensors.DType) bool {
	return d == safetensors.F32 || d == safetensors.BF16 || d == safetensors.F16
}

// appendValue appends f in the given dtype, little endian, rounded to nearest even.
func appendValue(b []byte, d safetensors.DType, f float32) []byte {
	switch d {
	case safetensors.BF16:
		return binary.LittleEndian.AppendUint16(b, BFloat16(f))
	case safetensors.F16:
		return binary.LittleEndian.AppendUint16(b, Float16(f))
	default:
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
}

// BFloat16 rounds f to the nearest bfloat16, ties to even.
func BFloat16(f float32) uint16 { return number.ToBF16(f) }

// Float16 rounds f to the nearest IEEE half, ties to even; what is too large
// becomes an infinity.
func Float16(f float32) uint16 { return number.ToF16(f) }
