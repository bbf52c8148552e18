package resident_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/resident"
)

// fake is an engine of parts without weights that counts what is there and on its way.
type fake struct {
	engine.Engine
	memory        engine.Memory
	many          int64 // what layers for many rows take instead
	there, coming map[int]engine.LayerOptions
	tops          map[string]bool // embedding and head: whether they stream
	most          int             // layers there and on their way at once
	fail          error           // of every layer
}

func newFake(memory engine.Memory) *fake {
	return &fake{memory: memory, there: map[int]engine.LayerOptions{}, coming: map[int]engine.LayerOptions{}, tops: map[string]bool{}}
}

func (f *fake) Memory(_ *model.Model, o engine.LayerOptions) engine.Memory {
	memory := f.memory
	if o.Many {
		memory.Host.Layer += f.many
	}
	return memory
}

func (f *fake) Fetch(_ *model.Model, i int, o engine.LayerOptions) engine.Fetched {
	if _, ok := f.coming[i]; ok {
		panic(fmt.Sprintf("layer %d is fetched twice", i))
	}
	f.coming[i] = o
	f.most = max(f.most, len(f.there)+len(f.coming))
	return &part{f: f, i: i}
}

func (f *fake) Embedding(_ *model.Model, o engine.EmbeddingOptions) (engine.Embedding, error) {
	f.tops["embedding"] = o.Streams
	return &top{f: f, name: "embedding"}, nil
}

func (f *fake) Head(_ *model.Model, o engine.HeadOptions) (engine.Head, error) {
	f.tops["head"] = o.Streams
	return &top{f: f, name: "head"}, nil
}

// part is a layer, on its way and there.
type part struct {
	engine.Layer
	f *fake
	i int
}

func (p *part) Wait(ctx context.Context) (engine.Layer, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	o := p.f.coming[p.i]
	delete(p.f.coming, p.i)
	if p.f.fail != nil {
		return nil, p.f.fail
	}
	p.f.there[p.i] = o
	return p, nil
}
func (p *part) Drop()    { delete(p.f.coming, p.i) }
func (p *part) Release() { delete(p.f.there, p.i) }

type top struct {
	engine.Head
	f    *fake
	name string
}

func (t *top) Forward(context.Context, *engine.Batch, engine.Hidden) error { return nil }
func (t *top) Release()                                                    { delete(t.f.tops, t.name) }

func layers(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

const mib = 1 << 20

// TestPlan: what is kept and how much is in flight, by hand. The spare that every
// plan leaves is 16 MiB.
func TestPlan(t *testing.T) {
	mapped := engine.Memory{Host: engine.Need{Mapped: 10 * mib, Hidden: mib, Row: mib, Fixed: 4 * mib, Embedding: 6 * mib, Head: 2 * mib, Lookup: mib, KVToken: 1024}}
	copied := mapped
	copied.Host.Layer = 20 * mib
	device := engine.Memory{
		Host:   engine.Need{Mapped: 10 * mib, Fixed: mib, Row: 1024},
		Device: engine.Need{Layer: 20 * mib, Hidden: mib, Row: mib, Fixed: 4 * mib, Embedding: 6 * mib, Head: 2 * mib},
	}
	need := resident.Need{Layers: layers(8), Tokens: 100, Longest: 5, Batch: 8, States: 2}
	with := func(change func(*resident.Need)) resident.Need {
		n := need
		change(&n)
		return n
	}
	fit := func(keep, ahead bool, rows, tokens int, host, device int64, over bool) resident.Fit {
		return resident.Fit{Keep: keep, Ahead: ahead, Rows: rows, Tokens: tokens, Peak: resident.Budget{Host: host * mib, Device: device * mib}, Over: over}
	}
	for _, tt := range []struct {
		name   string
		memory engine.Memory
		budget resident.Budget
		need   resident.Need
		want   resident.Fit
	}{
		// 16 spare + 4 fixed + 8 rows + 8*10 layers + 6 embedding = 114, 2 for each of 8 tokens
		{"no bound", mapped, resident.Budget{}, need, fit(true, false, 8, 8, 130, 0, false)},
		{"enough", mapped, resident.Budget{Host: 130 * mib}, need, fit(true, false, 8, 8, 130, 0, false)},
		{"enough for fewer tokens", mapped, resident.Budget{Host: 124 * mib}, need, fit(true, false, 8, 5, 124, 0, false)},
		// 16 + 4 + 8 + 10 layer + 10 ahead = 48; the layers, 80 with 6 for the embedding, do not fit
		{"next ahead", mapped, resident.Budget{Host: 123 * mib}, need, fit(false, true, 8, 37, 122, 0, false)},
		// what is left keeps five of the layers, and 21
		{"all in one walk", mapped, resident.Budget{Host: 300 * mib}, with(func(n *resident.Need) { n.Layers = layers(30) }), fit(false, true, 8, 100, 298, 0, false)},
		{"all together, layers stay", mapped, resident.Budget{}, with(func(n *resident.Need) { n.Together = true }), fit(true, false, 8, 100, 314, 0, false)},
		{"all together, layers stream", mapped, resident.Budget{Host: 300 * mib}, with(func(n *resident.Need) { n.Together = true }), fit(false, true, 8, 100, 298, 0, false)},
		{"small groups", mapped, resident.Budget{Host: 300 * mib}, with(func(n *resident.Need) { n.Layers, n.Group = layers(30), 20 }), fit(false, true, 8, 20, 298, 0, false)},
		// a walk less without the next one ahead: 38 + 2*50
		{"fewer walks first", mapped, resident.Budget{Host: 138 * mib}, with(func(n *resident.Need) { n.Layers = layers(30) }), fit(false, false, 8, 50, 138, 0, false)},
		{"one layer only", mapped, resident.Budget{Host: 52 * mib}, need, fit(false, false, 6, 8, 52, 0, false)},
		{"not even that", mapped, resident.Budget{Host: 30 * mib}, need, fit(false, false, 5, 5, 45, 0, true)},
		// copies: 16 + 4 + 8 + 8*20 + 6 + 10 while one comes in
		{"copies", copied, resident.Budget{Host: 220 * mib}, need, fit(true, false, 8, 8, 220, 0, false)},
		{"copies, next ahead", copied, resident.Budget{Host: 213 * mib}, need, fit(false, true, 8, 72, 212, 0, false)},
		{"head", mapped, resident.Budget{}, with(func(n *resident.Need) { n.Head = true }), fit(true, false, 8, 8, 132, 0, false)},
		{"caches", mapped, resident.Budget{}, with(func(n *resident.Need) { n.Cached = 1024 }), fit(true, false, 8, 8, 138, 0, false)},
		{"held in several groups", mapped, resident.Budget{}, with(func(n *resident.Need) { n.Holds = resident.Holds{One: mib, Several: 9 * mib} }), fit(true, false, 8, 8, 139, 0, false)},
		{"held in one group", mapped, resident.Budget{}, with(func(n *resident.Need) { n.Tokens, n.Holds = 8, resident.Holds{One: mib, Several: 9 * mib} }), fit(true, false, 8, 8, 131, 0, false)},
		// device: 4 + 8 + 160 + 6 = 178; host: 16 + 1 + 10 while one comes in, and 8 KiB
		{"two memories", device, resident.Budget{Host: 64 * mib, Device: 194 * mib}, need, resident.Fit{Keep: true, Rows: 8, Tokens: 8, Peak: resident.Budget{Host: 27*mib + 8192, Device: 194 * mib}}},
		{"a small device", device, resident.Budget{Host: 64 * mib, Device: 180 * mib}, need, resident.Fit{Ahead: true, Rows: 8, Tokens: 61, Peak: resident.Budget{Host: 37*mib + 8192, Device: 180 * mib}}},
		{"a small host", device, resident.Budget{Host: 30 * mib, Device: 100 * mib}, need, resident.Fit{Rows: 8, Tokens: 31, Peak: resident.Budget{Host: 27*mib + 8192, Device: 100 * mib}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := resident.New(&model.Model{}, newFake(tt.memory), resident.Options{Budget: tt.budget})
			got := s.Plan(tt.need)
			if diff := cmp.Diff(tt.want, got, cmp.FilterPath(func(p cmp.Path) bool {
				return p.Last().String() == ".counted" || p.Last().String() == ".staying" || p.Last().String() == ".pinned" || p.Last().String() == ".outside"
			}, cmp.Ignore())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestWalks: while layers stream, no more than one and the next, beside those that stay, are there or on
// their way; while they stay, nothing is brought in twice; nothing is left behind.
func TestWalks(t *testing.T) {
	memory := engine.Memory{Host: engine.Need{Mapped: 10 * mib, Embedding: mib, Lookup: 1}}
	need := resident.Need{Layers: layers(5), Tokens: 10, Longest: 1, Batch: 10, States: 1}
	for _, tt := range []struct {
		name   string
		budget int64
		most   int
		stay   int
		o      engine.LayerOptions
	}{
		{"stay", 0, 5, 5, engine.LayerOptions{}},
		{"stream, the next ahead", 40 * mib, 2, 0, engine.LayerOptions{Streams: true}},
		{"two stay, the next ahead", 60 * mib, 4, 2, engine.LayerOptions{Streams: true}},
		{"stream", 30 * mib, 2, 0, engine.LayerOptions{Streams: true, CacheOnly: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newFake(memory)
			s := resident.New(&model.Model{}, e, resident.Options{Budget: resident.Budget{Host: tt.budget}})
			s.Use(s.Plan(need))
			for range 2 {
				for i := range 5 {
					if _, err := s.Layer(t.Context(), i); err != nil {
						t.Fatal(err)
					}
					s.Ahead((i + 1) % 5)
					if e.there[i] != tt.o {
						t.Errorf("layer %d with %+v, want %+v", i, e.there[i], tt.o)
					}
					s.Done(i)
				}
			}
			if got := s.Layers(); len(got) != tt.stay || e.most != tt.most {
				t.Errorf("%v stay, %d at once; want %d and %d", got, e.most, tt.stay, tt.most)
			}
			if _, err := s.Head(); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if len(e.there)+len(e.coming)+len(e.tops) != 0 {
				t.Errorf("left behind: %v, %v, %v", e.there, e.coming, e.tops)
			}
		})
	}
}

// TestOneOnItsWay: a layer that was announced and is not wanted after all is given up.
func TestOneOnItsWay(t *testing.T) {
	e := newFake(engine.Memory{Host: engine.Need{Mapped: 10 * mib}})
	s := resident.New(&model.Model{}, e, resident.Options{Budget: resident.Budget{Host: 40 * mib}})
	defer s.Close()
	s.Use(s.Plan(resident.Need{Layers: layers(5), Tokens: 1, Longest: 1, Batch: 1, States: 1}))
	s.Ahead(3)
	s.Ahead(1)
	if _, ok := e.coming[1]; !ok || len(e.coming) != 1 {
		t.Errorf("on their way: %v, want layer 1 alone", e.coming)
	}
	if _, err := s.Layer(t.Context(), 4); err != nil || len(e.coming) != 0 || e.most > 1 {
		t.Errorf("%v; on their way: %v, %d at once", err, e.coming, e.most)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Layer(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := s.Layer(t.Context(), 2); err != nil { // the same fetch, waited for again
		t.Error(err)
	}
	e.fail = errors.New("torn")
	if _, err := s.Layer(t.Context(), 0); !errors.Is(err, e.fail) || err.Error() != "layer 0: torn" {
		t.Errorf("a layer that cannot be read: %v", err)
	}
	e.fail = nil
	if _, err := s.Layer(t.Context(), 0); err != nil {
		t.Error(err)
	}
}

// TestMany: layers are laid out for many rows where all of them then fit, and made
// anew where the next walk wants them otherwise.
func TestMany(t *testing.T) {
	for budget, want := range map[int64]bool{0: true, 100 * mib: true, 60 * mib: false} {
		e := newFake(engine.Memory{Host: engine.Need{Mapped: 4 * mib}})
		e.many = 12 * mib
		s := resident.New(&model.Model{}, e, resident.Options{Budget: resident.Budget{Host: budget}})
		need := resident.Need{Layers: layers(5), Tokens: 1, Longest: 1, Batch: 1, States: 1, Many: true}
		for _, many := range []bool{want, false} {
			s.Use(s.Plan(need))
			if _, err := s.Layer(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
			if o := e.there[3]; o.Many != many || o.Streams {
				t.Errorf("budget %d: layer %+v, want many rows %v", budget, o, many)
			}
			need.Many = false
		}
		s.Close()
	}
}

// TestUse: a plan that is taken up lets go of what has come since it was made, and
// of parts that are held the other way.
func TestUse(t *testing.T) {
	e := newFake(engine.Memory{Host: engine.Need{Mapped: 10 * mib, Embedding: 5 * mib}})
	var heap int64
	s := resident.New(&model.Model{}, e, resident.Options{Budget: resident.Budget{Host: 60 * mib}, Heap: func(n int64) { heap = n }})
	need := func(list ...int) resident.Need {
		return resident.Need{Layers: list, Tokens: 1, Longest: 1, Batch: 1, States: 1}
	}
	small := s.Plan(need(0, 1))
	if !small.Keep {
		t.Fatalf("%+v does not keep two layers", small)
	}
	for _, i := range []int{0, 3} { // 3 came while the plan waited
		if _, err := s.Layer(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	s.Use(small)
	if got := s.Layers(); !slices.Equal(got, []int{0}) || heap != (60-5-20)*mib {
		t.Errorf("%v are there, %d MiB are left for the heap", got, heap/mib)
	}
	if _, err := s.Embedding(); err != nil || e.tops["embedding"] {
		t.Errorf("the embedding streams: %v, %v", e.tops, err)
	}
	if again := s.Plan(need(2, 3, 4)); !again.Keep && again.Over {
		t.Errorf("%+v", again)
	}
	s.Use(s.Plan(need(layers(9)...)))
	if len(e.there) != 0 || len(e.tops) != 0 {
		t.Errorf("before layers stream, %v and %v stay", e.there, e.tops)
	}
	if _, err := s.Embedding(); err != nil || !e.tops["embedding"] {
		t.Errorf("the embedding does not stream: %v, %v", e.tops, err)
	}
	s.Close()
}

func TestList(t *testing.T) {
	spec, err := model.ParseConfig([]byte(`{"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 3, "hidden_size": 2, "num_attention_heads": 1, "intermediate_size": 3, "vocab_size": 4}`))
	if err != nil {
		t.Fatal(err)
	}
	s := resident.New(&model.Model{Spec: spec}, newFake(engine.Memory{}), resident.Options{})
	for _, tt := range []struct {
		list, want []int
		err        string
	}{
		{nil, []int{0, 1, 2}, ""},
		{[]int{2, 0, 2}, []int{2, 0, 2}, ""},
		{[]int{}, nil, "no layer is left; keep at least one of the 3"},
		{[]int{0, 3}, nil, "layer 3 does not exist: the model has layers 0 to 2"},
		{[]int{-1}, nil, "layer -1 does not exist: the model has layers 0 to 2"},
	} {
		got, err := s.List(tt.list)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%v: %v, %v; want %v, %q", tt.list, got, err, tt.want, tt.err)
		}
	}
}

// pinner is a fake that keeps pages.
type pinner struct {
	*fake
	pinned map[int]bool
}

func (p *pinner) Pin(_ *model.Model, i int) func() {
	p.pinned[i] = true
	return func() { delete(p.pinned, i) }
}

// TestPins: what memory of the host is left over keeps pages of layers that stream,
// and counts; they go with the plan and with the Set.
func TestPins(t *testing.T) {
	memory := engine.Memory{
		Host:   engine.Need{Mapped: 10 * mib, Fixed: mib},
		Device: engine.Need{Layer: 20 * mib, Hidden: mib},
	}
	need := resident.Need{Layers: layers(5), Tokens: 10, Longest: 1, Batch: 10, States: 1}
	for _, tt := range []struct{ host, peak, pins int64 }{
		{0, 37 + 50, 5},
		{37 + 29, 37 + 20, 2},
		{37, 37, 0},
	} {
		e := &pinner{newFake(memory), map[int]bool{}}
		s := resident.New(&model.Model{}, e, resident.Options{Budget: resident.Budget{Host: tt.host * mib, Device: 60 * mib}})
		fit := s.Plan(need)
		if fit.Keep || fit.Peak.Host != tt.peak*mib {
			t.Errorf("%d MiB: %+v, want a peak of %d MiB", tt.host, fit, tt.peak)
		}
		s.Use(fit)
		for range 2 {
			for i := range 5 {
				if _, err := s.Layer(t.Context(), i); err != nil {
					t.Fatal(err)
				}
				s.Ahead((i + 1) % 5)
				s.Done(i)
			}
		}
		if len(e.pinned) != int(tt.pins) {
			t.Errorf("%d MiB: %d layers' pages stay, want %d", tt.host, len(e.pinned), tt.pins)
		}
		if s.Close(); len(e.pinned) > 0 {
			t.Errorf("%d MiB: %d layers' pages are left", tt.host, len(e.pinned))
		}
	}
}

// TestRemedy: what does not fit says what would.
func TestRemedy(t *testing.T) {
	memory := engine.Memory{Host: engine.Need{Mapped: mib}, Device: engine.Need{Layer: 20 * mib, Hidden: mib, Row: mib}}
	s := resident.New(&model.Model{}, newFake(memory), resident.Options{Budget: resident.Budget{Device: 40 * mib}})
	need := resident.Need{Layers: layers(2), Tokens: 50, Longest: 50, Batch: 10, States: 1}
	const want = "--device-memory 120MiB is enough for 50 tokens together, and the 40 MiB allowed for 10"
	if fit := s.Plan(need); !fit.Over || s.Remedy(need, fit) != want {
		t.Errorf("%+v: %q, want %q", fit, s.Remedy(need, fit), want)
	}
	// 16 spare + 1 layer + 50 tokens and 10 rows: what the process holds is in the bound, too
	memory = engine.Memory{Host: engine.Need{Mapped: mib, Hidden: mib, Row: mib}}
	s = resident.New(&model.Model{}, newFake(memory), resident.Options{Budget: resident.Budget{Host: 10 * mib}, Held: 80 * mib})
	const host = "--memory 207MiB is enough for 50 tokens together"
	if fit := s.Plan(need); !fit.Over || s.Remedy(need, fit) != host {
		t.Errorf("%+v: %q, want %q", fit, s.Remedy(need, fit), host)
	}
}
