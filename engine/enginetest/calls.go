package enginetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// testCalls exercises what a call of a layer may ask for, on models whose
// attention differs.
func testCalls(t *testing.T, build New, picos []string) {
	eachVariant(t, build, picos, func(t *testing.T, r *resident) {
		t.Run("Apart", func(t *testing.T) { testApart(t, r) })
		t.Run("Rows", func(t *testing.T) { testRows(t, r) })
		t.Run("RowsCached", func(t *testing.T) { testRowsCached(t, r) })
		t.Run("MLP", func(t *testing.T) { testMLP(t, r) })
	})
}

// few and many tokens take different ways through an engine.
func sizes() []int { return []int{1, 3, 90} }

// input is a batch, and states of it made up.
func input(r *resident, n int) (*engine.Batch, []float32) {
	b := &engine.Batch{}
	root := b.Add(tokens((n+1)/2, r.m.Spec.Vocab, 1), engine.NoParent)
	if rest := n / 2; rest > 0 {
		b.Add(tokens(rest, r.m.Spec.Vocab, 2), root)
	}
	return b, gaussian(n*r.m.Spec.Hidden, fmt.Sprint("input ", n), 1)
}

// hidden makes hidden states of given values.
func hidden(t testing.TB, r *resident, values []float32) engine.Hidden {
	t.Helper()
	h := upload(t, r, values)
	t.Cleanup(h.Release)
	return h
}

// output is what the first layer makes of an input in place, all rows of it.
func output(t testing.TB, r *resident, b *engine.Batch, x []float32) []float32 {
	t.Helper()
	h := hidden(t, r, x)
	if err := r.layers[0].Forward(context.Background(), &engine.Call{Batch: b}, h, h); err != nil {
		t.Fatal(err)
	}
	return values(t, h)
}

// testApart: output apart from the input, and both as slices of a larger block.
func testApart(t *testing.T, r *resident) {
	d := r.m.Spec.Hidden
	for _, n := range sizes() {
		b, x := input(r, n)
		want := output(t, r, b, x)
		from, to := hidden(t, r, x), hidden(t, r, make([]float32, n*d))
		if err := r.layers[0].Forward(context.Background(), &engine.Call{Batch: b}, from, to); err != nil {
			t.Fatal(err)
		}
		sameBits(t, "output", values(t, to), want)
		sameBits(t, "input", values(t, from), x)

		around := gaussian(5*d, "around", 1)
		block := hidden(t, r, slices.Concat(around[:2*d], x, around[2*d:3*d], make([]float32, n*d), around[3*d:]))
		if err := r.layers[0].Forward(context.Background(), &engine.Call{Batch: b}, block.Slice(2, 2+n), block.Slice(3+n, 3+2*n)); err != nil {
			t.Fatal(err)
		}
		sameBits(t, "a block's slices", values(t, block), slices.Concat(around[:2*d], x, around[2*d:3*d], want, around[3*d:]))
		sameBits(t, "a slice of a slice", values(t, block.Slice(3, 3+2*n).Slice(n, 2*n)), want)
	}
}

// someRows are rows to ask for among n.
func someRows(n int) [][]int {
	all := [][]int{{}, {n - 1}, {0}}
	if n > 60 {
		all = append(all, []int{1, 5, 44, 45, 46, 63, 64, n - 2}, slices.DeleteFunc(count(n), func(i int) bool { return i%3 == 1 }))
	}
	return append(all, count(n))
}

func count(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// testRows: wanted rows have the bits they have among all, the others of the
// output are left as they are, also where it is the input.
func testRows(t *testing.T, r *resident) {
	d := r.m.Spec.Hidden
	for _, n := range sizes() {
		b, x := input(r, n)
		full := output(t, r, b, x)
		for _, rows := range someRows(n) {
			before := gaussian(n*d, "before", 1)
			want, inPlace := slices.Clone(before), slices.Clone(x)
			for _, i := range rows {
				copy(want[i*d:][:d], full[i*d:])
				copy(inPlace[i*d:][:d], full[i*d:])
			}
			c := &engine.Call{Batch: b, Rows: rows}
			from, to := hidden(t, r, x), hidden(t, r, before)
			if err := r.layers[0].Forward(context.Background(), c, from, to); err != nil {
				t.Fatal(err)
			}
			sameBits(t, fmt.Sprintf("rows %v of %d", rows, n), values(t, to), want)
			if err := r.layers[0].Forward(context.Background(), c, from, from); err != nil {
				t.Fatal(err)
			}
			sameBits(t, fmt.Sprintf("rows %v of %d in place", rows, n), values(t, from), inPlace)
		}
	}
}

// testRowsCached: rows that are not wanted still leave keys and values.
func testRowsCached(t *testing.T, r *resident) {
	d := r.m.Spec.Hidden
	for _, n := range sizes() {
		x := gaussian((n+2)*d, fmt.Sprint("cached ", n), 1)
		whole, first, next := pack(tokens(n+2, 50, 1)), &engine.Batch{}, &engine.Batch{}
		first.Continue(whole.Tokens[:n], 0, 0)
		next.Continue(whole.Tokens[n:], 0, n)
		want := output(t, r, whole, x)
		kv, err := r.e.NewKV(r.m, 1, n+2)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(kv.Release)
		h := hidden(t, r, x)
		for i, c := range []*engine.Call{{Batch: first, KV: kv, Rows: []int{n - 1}}, {Batch: next, KV: kv, Rows: []int{1}}} {
			part := h.Slice(i*n, i*n+c.Batch.Len())
			if err := r.layers[0].Forward(context.Background(), c, part, part); err != nil {
				t.Fatal(err)
			}
		}
		sameBits(t, fmt.Sprintf("last of %d rows", n), values(t, h)[(n-1)*d:n*d], want[(n-1)*d:n*d])
		sameBits(t, fmt.Sprintf("after %d rows", n), values(t, h)[(n+1)*d:], want[(n+1)*d:])
	}
}

// testMLP: the feed-forward's output is what the readable one makes of the
// output less it, and asking for it changes nothing.
func testMLP(t *testing.T, r *resident) {
	if r.e.Info().DType != engine.Float32 {
		return // what is subtracted would have to be rounded alike
	}
	s, d := r.m.Spec, r.m.Spec.Hidden
	weights := tensors(t, r.m, s.LayerWeights(0))
	for _, n := range sizes() {
		b, x := input(r, n)
		y, mlp := hidden(t, r, make([]float32, n*d)), hidden(t, r, make([]float32, n*d))
		c := &engine.Call{Batch: b, MLP: mlp}
		if n > 4 {
			c.Rows = []int{0, n / 3, n - 1}
		}
		if err := r.layers[0].Forward(context.Background(), c, hidden(t, r, x), y); err != nil {
			t.Fatal(err)
		}
		full := output(t, r, b, x)
		rows := c.Rows
		if rows == nil {
			rows = count(n)
		}
		for _, i := range rows {
			out, added := values(t, y)[i*d:][:d], values(t, mlp)[i*d:][:d]
			sameBits(t, "output", out, full[i*d:][:d])
			h := make([]float64, d)
			for j := range h {
				h[j] = float64(out[j]) - float64(added[j])
			}
			want := postNorm(s, feedForward(s, weights, norm(s, h, weights[model.MLPNorm])), weights[model.MLPPostNorm])
			within(t, fmt.Sprintf("what row %d of %d gets added", i, n), added, appendFloat32(nil, want), logitTolerance)
		}
	}
}

// testOptions: parts that stream give the bits of those that stay, a layer that
// is dropped or asked for too early does no harm, and what an engine does not
// have it says.
func testOptions(t *testing.T, build New) {
	m := pico(t)
	e := build(t, engine.Float32)
	r := load(t, e, m)
	b := pack(tokens(70, m.Spec.Vocab, 8))
	hiddenStates, logits := r.forward(t, b, nil)
	scores := logProbs(t, r, b, hiddenStates[len(hiddenStates)-1])

	s := &resident{e: e, m: m}
	var err error
	if s.embed, err = e.Embedding(m, engine.EmbeddingOptions{Streams: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.embed.Release)
	if s.head, err = e.Head(m, engine.HeadOptions{Streams: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.head.Release)
	e.Fetch(m, 0, engine.LayerOptions{Streams: true}).Drop()
	for i := range m.Spec.Layers {
		s.layers = append(s.layers, fetch(t, e.Fetch(m, i, engine.LayerOptions{Streams: true, CacheOnly: i%2 == 1})))
	}
	again, streamed := s.forward(t, b, nil)
	sameBits(t, "hidden states of layers that stream", again[len(again)-1], hiddenStates[len(hiddenStates)-1])
	sameBits(t, "logits of a head that streams", streamed, logits)
	if !slices.Equal(logProbs(t, s, b, again[len(again)-1]), scores) {
		t.Error("log-probabilities of a head that streams differ")
	}
	s.layers = nil
	for i := range m.Spec.Layers {
		s.layers = append(s.layers, fetch(t, e.Fetch(m, i, engine.LayerOptions{Many: true})))
	}
	again, _ = s.forward(t, b, nil)
	sameBits(t, "hidden states of layers for many rows", again[len(again)-1], hiddenStates[len(hiddenStates)-1])
	l, err := e.Fetch(m, 0, engine.LayerOptions{Store: "zip"}).Wait(context.Background())
	if !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("weights kept as nobody can: layer %v, error %v", l, err)
	}
}

// fetch waits with a context that has ended first.
func fetch(t testing.TB, f engine.Fetched) engine.Layer {
	t.Helper()
	why := errors.New("too early")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	l, err := f.Wait(ctx)
	if err != nil {
		if !errors.Is(err, why) {
			t.Fatal(err)
		}
		if l, err = f.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(l.Release)
	return l
}

// testHidden: values go in and out in either dtype, rounded to nearest even.
func testHidden(t *testing.T, build New) {
	m := pico(t)
	e := build(t, engine.Float32)
	d := m.Spec.Hidden
	h, err := e.NewHidden(m, 7)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	x := gaussian(7*d, "hidden", 3)
	copy(x, []float32{1 + 1.0/256, 1 + 3.0/256, -1 - 1.0/256, 0, float32(math.Inf(1)), 1e-30})
	sync := func(err error) {
		t.Helper()
		if err == nil {
			err = h.Sync(context.Background())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	sync(h.Write(engine.Values{F32: x}))
	sameBits(t, "written", values(t, h), x)
	out, half := make([]float32, 7*d), make([]uint16, 7*d)
	sync(h.Read(engine.Values{F32: out}))
	sameBits(t, "read", out, x)
	sync(h.Read(engine.Values{BF16: half}))
	if want := []uint16{0x3f80, 0x3f82, 0xbf80, 0, 0x7f80}; !slices.Equal(half[:5], want) {
		t.Errorf("bfloat16 of %v: %04x, want %04x", x[:5], half[:5], want)
	}
	sync(h.Write(engine.Values{BF16: half}))
	rounded := values(t, h)
	for i, v := range half {
		out[i] = math.Float32frombits(uint32(v) << 16)
	}
	sameBits(t, "rounded", rounded, out)
	sync(h.Slice(2, 4).Write(engine.Values{F32: x[:2*d]}))
	copy(out[2*d:], x[:2*d])
	sameBits(t, "with a slice written", values(t, h), out)
	if h.Rows() != 7 || h.Slice(2, 4).Rows() != 2 {
		t.Errorf("%d rows, and %d of a slice", h.Rows(), h.Slice(2, 4).Rows())
	}
	defer func() {
		if recover() == nil {
			t.Error("too few values were taken")
		}
	}()
	_ = h.Write(engine.Values{F32: x[1:]})
}

// testGram compares an engine's Gram matrices, of single rows and of runs of them.
func testGram(t *testing.T, build New) {
	for _, dtype := range dtypes() {
		e := build(t, dtype)
		gram, ok := e.(engine.Gram)
		if !ok {
			return
		}
		r := &resident{e: e, m: pico(t)}
		for _, size := range [][2]int{{1, 1}, {7, 7}, {6, 3}, {140, 140}, {260, 130}} {
			rows, n := size[0], size[1]
			x := gaussian(rows*r.m.Spec.Hidden, fmt.Sprint("gram ", rows), 1)
			h, out := hidden(t, r, x), make([]float32, n*(n+1)/2)
			if err := gram.Gram(context.Background(), h, n, out); err != nil {
				t.Fatal(err)
			}
			sameBits(t, "what was multiplied", values(t, h), x)
			part, again := hidden(t, r, slices.Concat(make([]float32, 2*r.m.Spec.Hidden), x)), make([]float32, len(out))
			if err := gram.Gram(context.Background(), part.Slice(2, 2+rows), n, again); err != nil {
				t.Fatal(err)
			}
			sameBits(t, "the matrix of a slice", again, out)
			width, tolerance := len(x)/n, 1e-4
			if dtype == engine.BFloat16 {
				tolerance = 0.02 // inputs may be rounded
			}
			for i := range n {
				for j := range i + 1 {
					var want, scale float64
					for k := range width {
						a, b := float64(x[i*width+k]), float64(x[j*width+k])
						want, scale = want+a*b, scale+math.Abs(a*b)
					}
					if got := float64(out[i*(i+1)/2+j]); !(math.Abs(got-want) <= tolerance*scale) {
						t.Fatalf("%s, %d rows as %d: (%d, %d) = %g, want %g", dtype, rows, n, i, j, got, want)
					}
				}
			}
		}
	}
}
