package forest_test

import (
	"sync/atomic"
	"testing"

	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// countingSource counts what touches a model's pages.
type countingSource struct {
	model.Source
	data, ahead, released atomic.Int64
}

func (s *countingSource) Data(name string) ([]byte, error) {
	s.data.Add(1)
	return s.Source.Data(name)
}

func (s *countingSource) Prefetch(names ...string) {
	s.ahead.Add(int64(len(names)))
	s.Source.Prefetch(names...)
}

func (s *countingSource) Populate(names ...string) {
	s.ahead.Add(int64(len(names)))
	s.Source.Populate(names...)
}

func (s *countingSource) Release(names ...string) {
	s.released.Add(int64(len(names)))
	s.Source.Release(names...)
}

// take returns the counts since the last time.
func (s *countingSource) take() [3]int64 {
	return [3]int64{s.data.Swap(0), s.ahead.Swap(0), s.released.Swap(0)}
}

// TestSecondPassReadsNothing: with memory enough, what one pass brought in
// stays, and the next neither reads, prefetches nor drops a page. With little
// memory the same counters see layers stream.
func TestSecondPassReadsNothing(t *testing.T) {
	for _, dtype := range []string{"BF16", "F32"} { // copied by the engine; used where it is mapped
		for _, test := range []struct {
			name    string
			memory  int64
			streams bool
		}{{"no bound", 0, false}, {"enough", 1 << 40, false}, {"one layer", 1, true}} {
			t.Run(dtype+" "+test.name, func(t *testing.T) {
				opened := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 4, DType: safetensors.DType(dtype)}))
				source := &countingSource{Source: opened.Source}
				m := &model.Model{Spec: opened.Spec, Source: source}
				r := newRunner(t, m, newEngine(t), forest.Options{Memory: test.memory})
				scores(t, r, nil)
				if first := source.take(); first[0] == 0 {
					t.Fatal("the first pass read nothing: the counters do not count")
				}
				scores(t, r, nil)
				second := source.take()
				if got := second != [3]int64{}; got != test.streams {
					t.Errorf("the second pass read %d tensors, prefetched %d and released %d", second[0], second[1], second[2])
				}
				if test.streams && (second[1] == 0 || second[2] == 0) {
					t.Errorf("layers that stream: %d tensors prefetched and %d released", second[1], second[2])
				}
			})
		}
	}
}
