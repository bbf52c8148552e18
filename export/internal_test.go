package export

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/gguf"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// PreTokenizer is for the tests of the package.
func PreTokenizer(dir string) (string, error) { return preTokenizer(dir) }

// A block is its largest number over 127 in half precision, and integers; halves
// round away from zero.
func TestQuantise8(t *testing.T) {
	block := func(values ...float32) []float32 { return append(values, make([]float32, q8Block-len(values))...) }
	for _, c := range []struct {
		name   string
		values []float32
		scale  uint16
		want   []int8
	}{
		{"zeros", block(), 0, []int8{0, 0}},
		{"its own scale", block(127, -127, 1, 64), 0x3c00, []int8{127, -127, 1, 64}},
		{"halves", block(127, 0.5, -0.5, 1.5, -2.5, 0.49999997), 0x3c00, []int8{127, 1, -1, 2, -3, 0}},
		{"a negative largest", block(-254, 1, 3), 0x4000, []int8{-127, 1, 2}},
	} {
		var dst [q8Bytes]byte
		if !quantise8(dst[:], c.values) {
			t.Errorf("%s: refused", c.name)
		}
		if got := binary.LittleEndian.Uint16(dst[:]); got != c.scale {
			t.Errorf("%s: scale %#x, want %#x", c.name, got, c.scale)
		}
		for i, want := range c.want {
			if got := int8(dst[2+i]); got != want {
				t.Errorf("%s: number %d is %d, want %d", c.name, i, got, want)
			}
		}
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1)), 1e8} {
		if quantise8(make([]byte, q8Bytes), block(1, bad)) {
			t.Errorf("%g is written", bad)
		}
	}
}

// Vector kernels write the bytes of the scalar one, of numbers of every size, halves
// and ties among them, and stop at the same block.
func TestKernels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const blocks = 3000
	values := make([]float32, blocks*q8Block)
	for b := range blocks {
		block, size := values[b*q8Block:][:q8Block], math.Ldexp(1, r.IntN(170)-149)
		for i := range block {
			switch r.IntN(4) {
			case 0:
				block[i] = float32((float64(r.IntN(255)) - 127) / 2 * size) // on a half where the largest is 127
			case 1:
				block[i] = math.Nextafter32(float32((float64(r.IntN(128))+0.5)*size), float32(r.IntN(2))*1e30)
			default:
				block[i] = float32(r.NormFloat64() * size)
			}
		}
		if b%2 == 0 {
			block[r.IntN(q8Block)] = float32(127 * size)
		}
	}
	check := func(t *testing.T, k kernels, values []float32) {
		want, got := make([]byte, len(values)/q8Block*q8Bytes), make([]byte, len(values)/q8Block*q8Bytes)
		wrote := quantiseBlocks(want, values)
		if n := k.quantise(got, values); n != wrote {
			t.Fatalf("%d blocks, want %d", n, wrote)
		}
		for i := range wrote * q8Bytes {
			if got[i] != want[i] {
				t.Fatalf("byte %d of block %d is %#x, want %#x: %v", i%q8Bytes, i/q8Bytes, got[i], want[i], values[i/q8Bytes*q8Block:][:q8Block])
			}
		}
	}
	for _, k := range variants() {
		t.Run(k.name, func(t *testing.T) {
			check(t, k, values)
			for i, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1)), 1e8} {
				few := slices.Repeat([]float32{1}, 5*q8Block)
				few[(i+1)*q8Block+7*i] = bad
				check(t, k, few)
			}
			every := make([]byte, 2<<16+6) // every number in bfloat16, and some that fill no vector
			for i := range len(every) / 2 {
				binary.LittleEndian.PutUint16(every[2*i:], uint16(i))
			}
			got := make([]float32, len(every)/2)
			k.widen(got, every)
			for i, v := range got {
				if math.Float32bits(v) != uint32(uint16(i))<<16 {
					t.Fatalf("bfloat16 %#x becomes %g", uint16(i), v)
				}
			}
		})
	}
}

// BenchmarkQuantise gives the bytes of bfloat16 that a core takes a second.
func BenchmarkQuantise(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, 4096)
	for i := range values {
		values[i] = float32(r.NormFloat64())
	}
	raw, dst := make([]byte, 2*len(values)), make([]byte, len(values)/q8Block*q8Bytes)
	number.Narrow(raw, values, safetensors.BF16)
	for _, k := range variants() {
		b.Run(k.name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				k.widen(values, raw)
				k.quantise(dst, values)
			}
		})
	}
}

// What a type cannot hold is refused by the tensor's name.
func TestCannotHold(t *testing.T) {
	half := &tensor{source: "w", typ: gguf.F16}
	if err := half.store(make([]byte, 4), []float32{1, 70000}, nil); err == nil || !strings.Contains(err.Error(), "tensor w holds 70000, which F16 cannot") {
		t.Error(err)
	}
	if err := half.store(make([]byte, 4), []float32{65504, float32(math.Inf(1))}, nil); err != nil {
		t.Errorf("the largest, and infinity: %v", err)
	}
}

// Factors of Llama 3.1's frequencies, from the formula of its release in float64.
func TestFrequencyFactors(t *testing.T) {
	r := model.Rope{Theta: 500000, Dim: 128, Scaling: model.RopeScaling{Kind: "llama3", Factor: 8, LowFreq: 1, HighFreq: 4, OriginalPosition: 8192}}
	got := frequencyFactors(r)
	plain := model.Rope{Theta: r.Theta, Dim: r.Dim}.Frequencies(0)
	for j, f := range r.Frequencies(0) {
		if want := float64(plain[j]) / float64(f); math.Abs(float64(got[j])/want-1) > 1e-5 {
			t.Errorf("factor %d: %g, want %g", j, got[j], want)
		}
	}
	if got[0] != 1 || got[63] != 8 || got[33] <= 1 || got[33] >= 8 {
		t.Errorf("%v", got)
	}
}

func TestTitle(t *testing.T) {
	for name, want := range map[string]string{
		"stories260K": "stories260K", "gemma2": "Gemma2", "org/Llama-3.2-1B": "Llama 3.2 1B", "meta-llama/tiny-v1.5-chat": "Tiny v1.5 Chat", "my model": "My Model",
	} {
		if got := title(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for n, want := range map[int64]string{260032: "260K", 1_235_814_400: "1.2B", 8_030_261_248: "8.0B", 69_505: "70K", 134_515_008: "135M", 3e12: "3.0T"} {
		if got := sizeLabel(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
