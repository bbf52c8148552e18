package synth

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/coppice-ml/coppice/safetensors"
)

func TestWriteLlama(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		want int // tensors
	}{
		{"defaults", Options{}, 8*9 + 3},
		{"tied float32", Options{DType: "F32", Tied: true, Layers: 2}, 2*9 + 2},
		{"biases", Options{AttnBias: true, MLPBias: true, Layers: 2, Tokenizer: true}, 2*16 + 3},
		{"shards", Options{Shards: 3, DType: "F16"}, 8*9 + 3},
		{"more shards than tensors", Options{Shards: 100, Layers: 1}, 9 + 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := WriteLlama(dir, tt.o); err != nil {
				t.Fatal(err)
			}
			if n := len(readTensors(t, dir)); n != tt.want {
				t.Errorf("%d tensors, want %d", n, tt.want)
			}
		})
	}
}

func TestSeedDecidesTheBytes(t *testing.T) {
	write := func(seed uint64, shards int) map[string][]byte {
		dir := t.TempDir()
		if err := WriteLlama(dir, Options{Layers: 2, Seed: seed, Shards: shards}); err != nil {
			t.Fatal(err)
		}
		return readTensors(t, dir)
	}
	a, b, c := write(1, 1), write(1, 2), write(2, 1)
	for name := range a {
		if !bytes.Equal(a[name], b[name]) {
			t.Errorf("%s depends on the sharding", name)
		}
		if bytes.Equal(a[name], c[name]) {
			t.Errorf("%s does not depend on the seed", name)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"negative":     {Layers: -1},
		"heads":        {Heads: 4, KVHeads: 3},
		"dtype":        {DType: "I8"},
		"small vocab":  {Vocab: 100, Tokenizer: true},
		"zero headdim": {Hidden: 2, Heads: 4},
	} {
		if err := WriteLlama(t.TempDir(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Every half is the rounding of itself, and of anything nearer to it than to
// its neighbours.
func TestFloat16(t *testing.T) {
	for h := range uint16(0x7c00) {
		f := halfValue(h)
		if got := Float16(float32(f)); got != h {
			t.Fatalf("Float16(%g) = %#x, want %#x", f, got, h)
		}
		if h == 0x7bff {
			break
		}
		mid := (f + halfValue(h+1)) / 2
		want := h + h&1 // ties to even
		if got := Float16(float32(mid)); got != want {
			t.Fatalf("Float16(%g) = %#x, want %#x", mid, got, want)
		}
		if got := Float16(-float32(f)); got != h|0x8000 {
			t.Fatalf("Float16(-%g) = %#x", f, got)
		}
	}
	if got := Float16(65520); got != 0x7c00 {
		t.Errorf("Float16(65520) = %#x, want an infinity", got)
	}
}

func halfValue(h uint16) float64 {
	exp, frac := int(h>>10&31), float64(h&1023)
	if exp == 0 {
		return math.Ldexp(frac, -24)
	}
	return math.Ldexp(1024+frac, exp-25)
}

func TestBFloat16(t *testing.T) {
	for _, tt := range []struct {
		in   uint32
		want uint16
	}{{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82}, {0xbf818000, 0xbf82}} {
		if got := BFloat16(math.Float32frombits(tt.in)); got != tt.want {
			t.Errorf("BFloat16(%#x) = %#x, want %#x", tt.in, got, tt.want)
		}
	}
}

// readTensors reads a checkpoint through its index, if it has one.
func readTensors(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	var index struct {
		Metadata struct {
			TotalSize int64 `json:"total_size"`
		}
		WeightMap map[string]string `json:"weight_map"`
	}
	files := []string{filepath.Join(dir, "model.safetensors")}
	if raw, err := os.ReadFile(filepath.Join(dir, "model.safetensors.index.json")); err == nil {
		if err := json.Unmarshal(raw, &index); err != nil {
			t.Fatal(err)
		}
		files, _ = filepath.Glob(filepath.Join(dir, "model-*-of-*.safetensors"))
	}
	out := map[string][]byte{}
	var total int64
	for _, path := range files {
		f, err := safetensors.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, tensor := range f.Header().Tensors {
			if index.WeightMap != nil && index.WeightMap[tensor.Name] != filepath.Base(path) {
				t.Errorf("%s is in %s, the index says %q", tensor.Name, path, index.WeightMap[tensor.Name])
			}
			data := f.Data(tensor)
			total += int64(len(data))
			out[tensor.Name] = bytes.Clone(data)
			checkFinite(t, tensor, data)
		}
	}
	if index.WeightMap != nil && total != index.Metadata.TotalSize {
		t.Errorf("%d bytes, the index says %d", total, index.Metadata.TotalSize)
	}
	return out
}

func checkFinite(t *testing.T, tensor safetensors.Tensor, data []byte) {
	t.Helper()
	if tensor.DType != safetensors.F32 {
		return
	}
	for i := 0; i < len(data); i += 4 {
		v := float64(math.Float32frombits(binary.LittleEndian.Uint32(data[i:])))
		if math.IsNaN(v) || math.Abs(v) > 100 {
			t.Fatalf("%s: value %g at %d", tensor.Name, v, i/4)
		}
	}
}
