//go:build !nopurego && linux && (amd64 || arm64)

package cuda_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cuda"
	"github.com/coppice-ml/coppice/engine/cuda/cudatest"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// attended is attention of one query over the keys of its sequence that it sees, in
// float64: softmax(cap(q kᵀ scale)) v.
func attended(q []float32, keys, values [][]float32, scale, limit float64) []float64 {
	weights, top, sum := make([]float64, len(keys)), math.Inf(-1), 0.0
	for i, k := range keys {
		for j := range q {
			weights[i] += float64(q[j]) * float64(k[j])
		}
		if weights[i] *= scale; limit > 0 {
			weights[i] = limit * math.Tanh(weights[i]/limit)
		}
		top = max(top, weights[i])
	}
	for i, w := range weights {
		weights[i] = math.Exp(w - top)
		sum += weights[i]
	}
	out := make([]float64, len(q))
	for i, v := range values {
		for j := range out {
			out[j] += weights[i] / sum * float64(v[j])
		}
	}
	return out
}

// TestAttention: attention of heads of every width that has a kernel, on tensor cores
// and without, is what a plain loop makes of it, and each query's bits do not depend
// on what is beside it: segments with parents, windows, soft caps, shared keys, some
// rows alone.
func TestAttention(t *testing.T) {
	for _, width := range []int{64, 80, 96, 128, 256, 24} {
		for _, tt := range []struct {
			name           string
			heads, kvHeads int
			window         int
			limit          float32
		}{{"plain", 2, 1, 0, 0}, {"window and cap", 1, 1, 70, 3}} {
			t.Run(fmt.Sprintf("%d %s", width, tt.name), func(t *testing.T) {
				a := &cuda.Attention{Width: width, Heads: tt.heads, KVHeads: tt.kvHeads, Window: tt.window, Scale: float32(1 / math.Sqrt(float64(width))), Cap: tt.limit}
				attention(t, a)
			})
		}
	}
}

func attention(t *testing.T, a *cuda.Attention) {
	t.Helper()
	e := build(t, engine.BFloat16)
	b := &engine.Batch{}
	add := func(n, parent int) int { return b.Add(make([]int32, n), parent) }
	add(3, engine.NoParent)
	root := add(70, engine.NoParent)
	add(1, root)
	leaf := add(61, root)
	add(9, leaf)
	fill(a, b.Len())
	all, err := a.Run(t.Context(), e, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	row := a.Heads * a.Width
	for i, s := range b.Segments {
		places := sequence(b, i)
		for r := s.Start; r < s.Start+s.Len; r++ {
			seen := places[:len(places)-(s.Start+s.Len-1-r)]
			if a.Window > 0 {
				seen = seen[max(0, len(seen)-a.Window):]
			}
			for h := range a.Heads {
				keys, values := a.Seen(seen, h/(a.Heads/a.KVHeads))
				want := attended(a.Query(r, h), keys, values, float64(a.Scale), float64(a.Cap))
				for j, w := range want {
					// weights and results are rounded to bfloat16, of values up to 1
					if d := math.Abs(float64(all[r*row+h*a.Width+j]) - w); !(d < 0.008) {
						t.Fatalf("row %d of segment %d, head %d, column %d: %g, want %g", r, i, h, j, all[r*row+h*a.Width+j], w)
					}
				}
			}
		}
	}
	some := []int{1, 40, 72, 73, 74, 100, b.Len() - 1}
	few, err := a.Run(t.Context(), e, b, some)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range some {
		sameBits(t, fmt.Sprintf("row %d with few beside it", r), few[i*row:(i+1)*row], all[r*row:(r+1)*row])
	}
	alone(t, a, e, b, leaf, all)
}

// alone compares a segment's rows with the whole sequence as one segment.
func alone(t *testing.T, a *cuda.Attention, e engine.Engine, b *engine.Batch, segment int, all []float32) {
	t.Helper()
	places := sequence(b, segment)
	one := &engine.Batch{}
	one.Add(make([]int32, len(places)), engine.NoParent)
	some := *a
	some.Values = nil
	row, line := a.Heads*a.Width, (a.Heads+2*a.KVHeads)*a.Width
	for _, p := range places {
		some.Values = append(some.Values, a.Values[p*line:(p+1)*line]...)
	}
	got, err := some.Run(t.Context(), e, one, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := b.Segments[segment]
	sameBits(t, "a segment whose parents are its own", got[len(got)-s.Len*row:], all[s.Start*row:(s.Start+s.Len)*row])
}

// sequence lists the rows of a segment's sequence, its ancestors' first.
func sequence(b *engine.Batch, i int) (rows []int) {
	s := b.Segments[i]
	if s.Parent != engine.NoParent {
		rows = sequence(b, s.Parent)
	}
	for r := range s.Len {
		rows = append(rows, s.Start+r)
	}
	return rows
}

// fill makes up queries, keys and values of n rows, already bfloat16, so that what is
// compared is not their rounding.
func fill(a *cuda.Attention, n int) {
	random := rand.New(rand.NewPCG(3, uint64(a.Width)))
	a.Values = make([]float32, n*(a.Heads+2*a.KVHeads)*a.Width)
	for i := range a.Values {
		a.Values[i] = number.FromBF16(number.ToBF16(float32(2*random.Float64() - 1)))
	}
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: value %d is %g, want the same bits as %g", what, i, got[i], want[i])
		}
	}
}

// TestPlantedOnTensorCores: the fake finds what is wrong with how tiles of keys and
// values come and go.
func TestPlantedOnTensorCores(t *testing.T) {
	a := &cuda.Attention{Width: 64, Heads: 1, KVHeads: 1, Scale: 0.125}
	b := &engine.Batch{}
	b.Add(make([]int32, 150), engine.NoParent)
	fill(a, b.Len())
	want, err := a.Run(t.Context(), build(t, engine.BFloat16), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, plant := range []struct{ name, old, new, want string }{
		{"no barrier before keys are read", "barrier(); // keys", "// keys", ""},
		{"values are not waited for", "copy_wait();\n\t\tbarrier(); // values", "barrier(); // values", ""},
		{"a lane leaves its warp", "UNROLL\n\tfor (int k = 0; k < STEP", "if (lane == 3) return;\n\tfor (int k = 0; k < STEP", "not all lanes come to"},
		{"no barrier before values are read", "barrier(); // values", "// values", ""},
		{"keys are not waited for", "copy_wait();\n\t\tbarrier(); // keys", "barrier(); // keys", ""},
		{"nobody waits for values", "copy_wait();", "", "before what it copies has come"},
		{"rows behind the last", "there = low + row < end;", "there = low + row < end + STEP;", ""},
		{"a query's place is odd", "load_as<u32>(x + 16 * k)", "load_as<u32>(x + 16 * k + 1)", "no multiple of its size"},
		{"a part of a row that is not 16 bytes", "part ^ row % 8)) * 8", "part ^ row % 8)) * 4", ""},
	} {
		if i == 3 && !testkit.IsSlow() {
			break // each compiles the kernels anew
		}
		t.Run(plant.name, func(t *testing.T) {
			f := cudatest.New(t)
			e, err := cuda.Start(cuda.Options{Getenv: f.Getenv, Probes: cudatest.Probes()}, cuda.Tuning{Edit: func(files map[string]string) {
				if !strings.Contains(files["tensor.cu"], plant.old) {
					t.Errorf("tensor.cu has no %q", plant.old)
				}
				files["tensor.cu"] = strings.ReplaceAll(files["tensor.cu"], plant.old, plant.new)
			}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := a.Run(t.Context(), e, b, nil)
			_ = e.Close()
			if err == nil && slices.Equal(got, want) || err != nil && !strings.Contains(err.Error(), plant.want) {
				t.Errorf("error %v, want one that says %q, or other results", err, plant.want)
			}
		})
	}
}
