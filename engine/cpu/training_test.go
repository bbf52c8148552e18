package cpu_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// lesson is one layer and a head that train, and adapters, with a batch.
type lesson struct {
	t        testing.TB
	e        *cpu.Engine
	m        *model.Model
	trained  engine.Trained
	batch    engine.Batch
	dropout  engine.Dropout
	rows     []int
	layer    engine.TrainLayer
	head     engine.TrainHead
	x, y, dx engine.Hidden
}

// newLesson makes a batch of so many rows: a tree of three segments, and one alone.
func newLesson(t testing.TB, e *cpu.Engine, m *model.Model, rows int, adapt bool) *lesson {
	t.Helper()
	l := &lesson{t: t, e: e, m: m, trained: engine.Trained{Tensors: map[string]engine.Trainable{}, Adapters: map[string]engine.Adapter{}}}
	ws := m.Spec.LayerWeights(0)
	for _, w := range append(ws, m.Spec.TopWeights()...) {
		if w.Layer < 0 || !adapt {
			l.trained.Tensors[w.Name] = l.trainable(w.Name, w.Shape)
		}
		if w.Layer == 0 && adapt && len(w.Shape) == 2 {
			l.trained.Adapters[w.Name] = engine.Adapter{A: l.trainable(w.Name+".A", []int{3, w.Shape[1]}), B: l.trainable(w.Name+".B", []int{w.Shape[0], 3}), Scale: 0.5, Dropout: 0.2}
		}
	}
	ids := make([]int32, rows)
	for i := range ids {
		ids[i] = int32(i * 7 % m.Spec.Vocab)
	}
	root := l.batch.Add(ids[:rows/3], engine.NoParent)
	l.batch.Add(ids[rows/3:rows/2], root)
	l.batch.Add(ids[rows/2:rows-3], root)
	l.batch.Add(ids[rows-3:], engine.NoParent)
	l.dropout = engine.Dropout{Seed: 3, Samples: []int64{0, 1, 2, 3}}
	for i := range l.batch.Len() {
		if i%3 != 1 {
			l.rows = append(l.rows, i)
		}
	}
	o := engine.Options{Trained: &l.trained}
	layer, err := e.Fetch(m, 0, engine.LayerOptions{Options: o}).Wait(context.Background())
	l.must(err)
	head, err := e.Head(m, engine.HeadOptions{Options: o})
	l.must(err)
	l.layer, l.head = layer.(engine.TrainLayer), head.(engine.TrainHead)
	for _, h := range []*engine.Hidden{&l.x, &l.y, &l.dx} {
		*h, err = e.NewHidden(m, rows)
		l.must(err)
	}
	l.must(l.x.Write(engine.Values{F32: values(rows*m.Spec.Hidden, 1)}))
	return l
}

func (l *lesson) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lesson) trainable(name string, shape []int) engine.Trainable {
	l.t.Helper()
	x, err := l.e.NewTrainable(name, shape, engine.TrainableOptions{})
	l.must(err)
	n := shape[0]
	if len(shape) > 1 {
		n *= shape[1]
	}
	l.must(x.Write(context.Background(), engine.Master, 0, values(n, uint64(len(name)))))
	return x
}

// values are n seeded values about zero.
func values(n int, seed uint64) []float32 {
	out := make([]float32, n)
	for i := range out {
		seed = seed*6364136223846793005 + 1442695040888963407
		out[i] = float32(int64(seed)>>40) / (1 << 26)
	}
	return out
}

// learn goes forwards and backwards once.
func (l *lesson) learn(tape engine.Tape) {
	l.t.Helper()
	ctx := context.Background()
	c := &engine.Call{Batch: &l.batch, Rows: l.rows, Tape: tape, Dropout: &l.dropout}
	l.must(l.layer.Forward(ctx, c, l.x, l.y))
	targets, weights := make([]engine.Target, len(l.rows)), make([]float32, len(l.rows))
	for i, row := range l.rows {
		targets[i], weights[i] = engine.Target{Row: row, Token: l.batch.Tokens[row]}, 1
	}
	_, err := l.head.Loss(ctx, l.y, targets, weights, l.dx)
	l.must(err)
	l.must(l.layer.Backward(ctx, c, l.x, l.dx, l.dx))
}

// results are all gradients, and that of the layer's input.
func (l *lesson) results() map[string][]float32 {
	l.t.Helper()
	dx, err := l.dx.Host(context.Background())
	l.must(err)
	out := map[string][]float32{"dx": slices.Clone(dx)}
	all := maps.Clone(l.trained.Tensors)
	for name, a := range l.trained.Adapters {
		all[name+".A"], all[name+".B"] = a.A, a.B
	}
	for name, x := range all {
		n := x.Shape()[0]
		if len(x.Shape()) > 1 {
			n *= x.Shape()[1]
		}
		out[name] = make([]float32, n)
		l.must(x.Read(context.Background(), engine.Gradient, 0, out[name]))
	}
	return out
}

// TestTrainingBits: one, two and three workers give the same gradients, bit for
// bit, kept on a tape or computed anew.
func TestTrainingBits(t *testing.T) {
	for _, name := range []string{"gemma2", "qwen3", "chatglm"} {
		m := enginetest.Pico(t, name)
		for _, opt := range []cpu.Options{{DType: "float32"}, {DType: "bfloat16"}, {DType: "float32", OneDNN: "off"}, {Provider: cpu.OddRows(6, 8), DType: "bfloat16"}} {
			for _, adapt := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%v/%v", name, opt, adapt), func(t *testing.T) {
					var want map[string][]float32
					for threads := 1; threads <= 3; threads++ {
						opt.Threads = threads
						l := newLesson(t, newEngine(t, opt), m, 640, adapt)
						var tape engine.Tape
						if threads > 1 {
							tape, _ = l.e.NewTape(m, 640, engine.LayerOptions{})
						}
						l.learn(tape)
						got := l.results()
						if want == nil {
							want = got
						}
						for tensor, values := range want {
							if !slices.Equal(got[tensor], values) {
								t.Errorf("%d workers: %s differs", threads, tensor)
							}
						}
					}
				})
			}
		}
	}
}

// TestTrainingMemory: a step allocates no more than Memory says, and nothing but
// its caller's lists once buffers have their sizes.
func TestTrainingMemory(t *testing.T) {
	if testkit.Race {
		t.Skip("allocations are not counted under the race detector")
	}
	for _, name := range []string{"gemma2", "mistral"} {
		m := enginetest.Pico(t, name)
		l := newLesson(t, newEngine(t, cpu.Options{Threads: 2}), m, 640, false)
		says := l.e.Memory(m, engine.LayerOptions{}).Host
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		l.learn(nil)
		runtime.ReadMemStats(&after)
		took := int64(after.TotalAlloc - before.TotalAlloc)
		if most := (says.Row+says.Back)*640 + says.Fixed + says.FixedBack; took > most {
			t.Errorf("%s: a step of 640 rows allocated %d bytes, more than the %d of %+v", name, took, most, says)
		}
		least := math.Inf(1) // each worker makes a library's product when it first meets it, which may be late
		for tries := 0; tries < 20 && least > 4; tries++ {
			least = min(least, testing.AllocsPerRun(3, func() { l.learn(nil) }))
		}
		if least > 4 {
			t.Errorf("%s: %v allocations for a step", name, least)
		}
	}
}

// TestEmptyGradients: a gradient that was emptied is zero, whatever its memory has, and
// the same batch gives it the same bits again; the batch once more doubles it.
func TestEmptyGradients(t *testing.T) {
	for _, name := range []string{"gemma2", "chatglm"} {
		m := enginetest.Pico(t, name)
		for _, adapt := range []bool{false, true} {
			l := newLesson(t, newEngine(t, cpu.Options{DType: "bfloat16", Threads: 2}), m, 1300, adapt)
			l.learn(nil)
			want := l.results()
			l.each(engine.Trainable.ZeroGrad)
			for tensor, values := range l.results() {
				if tensor != "dx" && slices.ContainsFunc(values, func(x float32) bool { return x != 0 }) {
					t.Errorf("%s: the gradient of %s is not zero when it has been emptied", name, tensor)
				}
			}
			l.each(engine.Trainable.ZeroGrad)
			l.learn(nil)
			for tensor, values := range l.results() {
				if !slices.Equal(values, want[tensor]) {
					t.Errorf("%s: %s is not what it was before it was emptied", name, tensor)
				}
			}
			l.learn(nil)
			for tensor, values := range l.results() {
				rounding := 1e-6*float64(max(slices.Max(values), -slices.Min(values))) + 1e-9 // of sums that cancel
				for i, x := range values {
					if tensor != "dx" && math.Abs(float64(x-2*want[tensor][i])) > 1e-5*math.Abs(float64(x))+rounding {
						t.Fatalf("%s: %s is %g after the batch came twice, %g after once", name, tensor, x, want[tensor][i])
					}
				}
			}
		}
	}
}

// each calls f with all that trains.
func (l *lesson) each(f func(engine.Trainable)) {
	for _, x := range l.trained.Tensors {
		f(x)
	}
	for _, a := range l.trained.Adapters {
		f(a.A)
		f(a.B)
	}
}
