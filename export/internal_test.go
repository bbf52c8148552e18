package export

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/gguf"
	"github.com/coppice-ml/coppice/model"
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

// What a type cannot hold is refused by the tensor's name.
func TestCannotHold(t *testing.T) {
	half := &tensor{source: "w", typ: gguf.F16}
	if err := half.store(make([]byte, 4), []float32{1, 70000}); err == nil || !strings.Contains(err.Error(), "tensor w holds 70000, which F16 cannot") {
		t.Error(err)
	}
	if err := half.store(make([]byte, 4), []float32{65504, float32(math.Inf(1))}); err != nil {
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
