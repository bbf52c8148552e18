package cpu_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// steady is a model with a cache, run the way decoding runs it.
type steady struct {
	tb     testing.TB
	embed  engine.Embedding
	layers []engine.Layer
	caches []engine.KV
	head   engine.Head
	hidden engine.Hidden
	batch  engine.Batch
	call   engine.Call
	rows   []int
	logits []float32
}

func newSteady(tb testing.TB, e engine.Engine, m *model.Model, rows int) *steady {
	tb.Helper()
	s := &steady{tb: tb, rows: []int{rows - 1}, logits: make([]float32, m.Spec.Vocab)}
	must := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	var err error
	s.embed, err = e.Embedding(m, engine.EmbeddingOptions{})
	must(err)
	s.head, err = e.Head(m, engine.HeadOptions{})
	must(err)
	s.hidden, err = e.NewHidden(m, rows)
	must(err)
	for i := range m.Spec.Layers {
		l, err := e.Fetch(m, i, engine.LayerOptions{}).Wait(context.Background())
		must(err)
		kv, err := e.NewKV(m, 1, 300)
		must(err)
		s.layers, s.caches = append(s.layers, l), append(s.caches, kv)
	}
	tb.Cleanup(func() {
		for i, l := range s.layers {
			l.Release()
			s.caches[i].Release()
		}
		s.embed.Release()
		s.head.Release()
		s.hidden.Release()
	})
	return s
}

// step runs as many tokens as there are rows after past others, then the head.
func (s *steady) step(past int) {
	n := s.hidden.Rows()
	s.batch.Reset()
	for i := range n {
		s.batch.Tokens = append(s.batch.Tokens, int32(i*7%50))
		s.batch.Positions = append(s.batch.Positions, int32(past+i))
	}
	s.batch.Segments = append(s.batch.Segments, engine.Segment{Len: n, Parent: engine.NoParent, Past: past})
	ctx := context.Background()
	err := s.embed.Forward(ctx, &s.batch, s.hidden)
	for i, l := range s.layers {
		if err == nil {
			s.call = engine.Call{Batch: &s.batch, KV: s.caches[i]}
			err = l.Forward(ctx, &s.call, s.hidden, s.hidden)
		}
	}
	if err == nil {
		err = s.head.Logits(ctx, s.hidden, s.rows, s.logits)
	}
	if err != nil {
		s.tb.Fatal(err)
	}
}

// steadyAllocations is how many a run makes once all workers have taken part, which on a
// busy machine some do late.
func steadyAllocations(run func()) (n float64) {
	for range 20 {
		if n = testing.AllocsPerRun(20, run); n < 1 {
			break
		}
	}
	return n
}

// TestSteadyState: once buffers have their sizes, neither decoding a token nor
// running many allocates.
func TestSteadyState(t *testing.T) {
	if testkit.Race {
		t.Skip("allocations are not counted under the race detector")
	}
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 3, Hidden: 64, Heads: 4, KVHeads: 2, FF: 160, Vocab: 600}))
	for _, oneDNN := range []string{"", "off"} {
		for _, rows := range []int{1, 100} {
			e, err := cpu.Start(cpu.Options{OneDNN: oneDNN})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = e.Close() })
			t.Run(fmt.Sprintf("%s/%d", e.Info().Provider, rows), func(t *testing.T) {
				s := newSteady(t, e, m, rows)
				run := func() {
					s.step(0)
					for _, kv := range s.caches {
						kv.Truncate(0, 0)
					}
				}
				if n := steadyAllocations(run); n >= 1 {
					t.Errorf("%v allocations for %d tokens", n, rows)
				}
				targets := []engine.Target{{Row: 0, Token: 3}, {Row: rows - 1, Token: 7}}
				scores := make([]engine.TokenScore, len(targets))
				score := func() {
					if err := s.head.LogProbs(context.Background(), s.hidden, targets, scores); err != nil {
						t.Fatal(err)
					}
				}
				if n := steadyAllocations(score); n >= 1 {
					t.Errorf("%v allocations for log-probabilities", n)
				}
			})
		}
	}
}

// TestWorkers: one, two and three workers give the same bits, for many rows
// and for few.
func TestWorkers(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 2, Hidden: 96, Heads: 6, KVHeads: 2, FF: 700, Vocab: 1100, DType: "BF16"}))
	for _, opt := range []cpu.Options{{DType: "float32"}, {DType: "bfloat16"}, {DType: "float32", OneDNN: "off"}, {DType: "float32", OneDNN: "off", Kernels: "scalar"}} {
		for _, rows := range []int{1, 3, 100, 250} {
			var want []float32
			for _, threads := range []int{1, 2, 3, 16} {
				opt.Threads = threads
				e, err := cpu.Start(opt)
				if err != nil {
					t.Fatal(err)
				}
				s := newSteady(t, e, m, rows)
				t.Cleanup(func() { _ = e.Close() })
				s.step(0)
				if want == nil {
					want = slices.Clone(s.logits)
				} else if !slices.Equal(s.logits, want) {
					t.Errorf("%+v, %d rows: logits differ from those of one worker", opt, rows)
				}
			}
		}
	}
}

// TestCrews: whichever workers make a call, its bits are the same.
func TestCrews(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 2, Hidden: 256, Heads: 8, KVHeads: 4, FF: 700, Vocab: 600, DType: "BF16"}))
	for _, dtype := range []string{"float32", "bfloat16"} {
		for _, rows := range []int{1, 3, 20} {
			t.Run(fmt.Sprintf("%s/%d", dtype, rows), func(t *testing.T) {
				one := newSteady(t, newEngine(t, cpu.Options{DType: dtype, Threads: 1}), m, rows)
				e := newEngine(t, cpu.Options{DType: dtype, Threads: 5})
				some := newSteady(t, e, m, rows)
				for step, workers := range []int{5, 2, 1, 4, 5, 1} {
					cpu.SetCrew(e, workers)
					one.step(step * rows)
					some.step(step * rows)
					if !slices.Equal(one.logits, some.logits) {
						t.Errorf("%d of 5 workers, after %d tokens: not what one gives", workers, step*rows)
					}
				}
			})
		}
	}
}
