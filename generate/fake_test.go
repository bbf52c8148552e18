package generate_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/generate"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// fake is an engine whose logits are those of a function of the last token.
type fake struct {
	vocab  int
	logits func(last int32, out []float32)
}

func (*fake) Info() engine.Info { return engine.Info{Device: "fake"} }
func (*fake) NewHidden(_ *model.Model, rows int) (engine.Hidden, error) {
	return &tokens{ids: make([]int32, rows)}, nil
}
func (*fake) NewKV(_ *model.Model, slots, capacity int) (engine.KV, error) {
	return &fakeKV{used: make([]int, slots), capacity: capacity}, nil
}
func (f *fake) Embedding(*model.Model, engine.EmbeddingOptions) (engine.Embedding, error) {
	return fakePart{f}, nil
}
func (f *fake) Fetch(*model.Model, int, engine.LayerOptions) engine.Fetched { return fakeLayer{} }
func (f *fake) Head(*model.Model, engine.HeadOptions) (engine.Head, error)  { return fakePart{f}, nil }
func (*fake) Memory(*model.Model, engine.LayerOptions) engine.Memory        { return engine.Memory{} }
func (*fake) Close() error                                                  { return nil }

// tokens stand in for hidden states.
type tokens struct{ ids []int32 }

func (h *tokens) Rows() int                               { return len(h.ids) }
func (h *tokens) Host(context.Context) ([]float32, error) { return nil, nil }
func (h *tokens) Read(engine.Values) error                { panic("not used") }
func (h *tokens) Write(engine.Values) error               { panic("not used") }
func (h *tokens) Sync(context.Context) error              { return nil }
func (h *tokens) Slice(lo, hi int) engine.Hidden          { return &tokens{h.ids[lo:hi]} }
func (h *tokens) Release()                                {}

type fakeKV struct {
	used     []int
	capacity int
}

func (k *fakeKV) Truncate(slot, n int) { k.used[slot] = n }
func (k *fakeKV) Release()             {}

type fakeLayer struct{}

func (l fakeLayer) Wait(context.Context) (engine.Layer, error) { return l, nil }
func (fakeLayer) Drop()                                        {}
func (fakeLayer) Release()                                     {}
func (fakeLayer) Forward(_ context.Context, c *engine.Call, x, y engine.Hidden) error {
	k, b := c.KV.(*fakeKV), c.Batch
	for _, s := range b.Segments {
		if k.used[s.Slot] != s.Past || s.Past+s.Len > k.capacity || int(b.Positions[s.Start]) != s.Past {
			return fmt.Errorf("slot %d holds %d of %d tokens, and gets %d after %d", s.Slot, k.used[s.Slot], k.capacity, s.Len, s.Past)
		}
		k.used[s.Slot] += s.Len
	}
	return nil
}

// fakePart is embedding and head.
type fakePart struct{ *fake }

func (fakePart) Release() {}
func (fakePart) Forward(_ context.Context, b *engine.Batch, y engine.Hidden) error {
	copy(y.(*tokens).ids, b.Tokens)
	return nil
}
func (p fakePart) Logits(_ context.Context, x engine.Hidden, rows []int, out []float32) error {
	for i, row := range rows {
		p.logits(x.(*tokens).ids[row], out[i*p.vocab:][:p.vocab])
	}
	return nil
}
func (fakePart) LogProbs(context.Context, engine.Hidden, []engine.Target, []engine.TokenScore) error {
	panic("not used")
}
func (fakePart) KL(context.Context, engine.Hidden, []engine.Hidden, []int, [][]float64) error {
	panic("not used")
}
func (fakePart) Norm(context.Context, engine.Hidden, engine.Hidden) error { panic("not used") }

// counting is a runner of a fake that continues n with n+1.
func counting(t *testing.T) *forest.Runner {
	m := open(t, testkit.Llama(t, testkit.Options{Layers: 2, MaxPositions: 10000}))
	run := forest.New(m, &fake{vocab: m.Spec.Vocab, logits: func(last int32, out []float32) {
		clear(out)
		out[(int(last)+1)%len(out)] = 1
	}}, forest.Options{})
	t.Cleanup(run.Close)
	return run
}

// The loop's own work costs no memory a token: twenty times the tokens take
// no more allocations.
func TestStepsAllocateNothing(t *testing.T) {
	run := counting(t)
	mallocs := func(n int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := generate.Run(context.Background(), run.Resident(), nil, [][]int32{{1, 2}, {3}, {4, 5, 6}}, generate.Options{MaxTokens: n},
			func(int, int32) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs
	}
	mallocs(5)
	few, many := mallocs(5), mallocs(100)
	for range 9 { // the least: the runtime's own work in the background is counted, too
		many = min(many, mallocs(100))
	}
	if many > few+10 {
		t.Errorf("%d allocations for 5 tokens, %d for 100", few, many)
	}
}
