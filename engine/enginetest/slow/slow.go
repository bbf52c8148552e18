// Package slow is a second engine, for tests: float64, as plain as can be, and
// built like a device. Its calls are queued and run by one goroutine, hidden
// states are copied to the host and back, what fails fails late, and its memory
// is metered. It computes gradients too, and is what faster engines' are held to.
//
// It is itself held to PyTorch's values, to finite differences and to the
// conformance suite. Only tests import it.
package slow

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
)

// Options choose how an Engine computes.
type Options struct {
	DType engine.DType // BFloat16 rounds the inputs of matrix products; else nothing is rounded
	// Fail, if set, is asked as each queued call begins, by its name, such as
	// "Layer.Forward": what it returns is how the call fails.
	Fail func(call string) error
}

// Engine implements engine.Engine, engine.Trainer and engine.Gram.
type Engine struct {
	opt      Options
	rotaries block.Rotaries
	queue    chan task
	stopped  chan struct{}
	meter    meter
}

var (
	_ engine.Engine         = (*Engine)(nil)
	_ engine.Gram           = (*Engine)(nil)
	_ engine.Trainer        = (*Engine)(nil)
	_ engine.TrainLayer     = (*layer)(nil)
	_ engine.TrainHead      = (*head)(nil)
	_ engine.TrainEmbedding = (*embedding)(nil)
)

// New starts an engine.
func New(opt Options) *Engine {
	if opt.Fail == nil {
		opt.Fail = func(string) error { return nil }
	}
	e := &Engine{opt: opt, queue: make(chan task, 1024), stopped: make(chan struct{})}
	go func() {
		defer close(e.stopped)
		for t := range e.queue {
			t.run(opt.Fail)
		}
	}()
	return e
}

// Info implements engine.Engine.
func (e *Engine) Info() engine.Info {
	info := engine.Info{Device: "slow", DType: engine.Float32, Provider: "float64", Threads: runtime.GOMAXPROCS(0)}
	if e.opt.DType != "" {
		info.DType = e.opt.DType
	}
	return info
}

// Close implements engine.Engine.
func (e *Engine) Close() error {
	close(e.queue)
	<-e.stopped
	return nil
}

// task is a queued call.
type task struct {
	name string
	do   func() error
	in   []faults // of what the call reads
	out  []faults // of what it changes
	done chan error
}

// faults say of rows of memory why what they hold is of no use: the error of the
// first call that failed on the way there, or nil. Only the queue's goroutine
// touches them.
type faults []error

func (t task) run(fail func(string) error) {
	var err error
	for _, rows := range t.in {
		for _, f := range rows {
			if err == nil {
				err = f
			}
		}
	}
	if err == nil {
		if err = fail(t.name); err == nil {
			err = t.do()
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", t.name, err)
		}
	}
	for _, rows := range t.out {
		for i := range rows {
			rows[i] = err
		}
	}
	if t.done != nil {
		t.done <- err
	}
}

// enqueue queues a call; it fails only for a context that has ended.
func (e *Engine) enqueue(ctx context.Context, t task) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e.queue <- t
	return nil
}

// await queues a call and waits for it. What the call gives must be memory of its
// own: it may run after the context has ended.
func (e *Engine) await(ctx context.Context, t task) error {
	t.done = make(chan error, 1)
	if err := e.enqueue(ctx, t); err != nil {
		return err
	}
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// drain waits for all that is queued.
func (e *Engine) drain() {
	done := make(chan error, 1)
	e.queue <- task{do: func() error { return nil }, done: done}
	<-done
}

// meter counts bytes of the device.
type meter struct {
	mu        sync.Mutex
	now, peak int64
}

func (m *meter) take(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now += bytes
	m.peak = max(m.peak, m.now)
}

// DeviceMemory is how many bytes of the device are in use, and the most that were.
func (e *Engine) DeviceMemory() (now, peak int64) {
	e.meter.mu.Lock()
	defer e.meter.mu.Unlock()
	return e.meter.now, e.meter.peak
}

// value is the size of a number on the device.
const value = 8

// Memory implements engine.Engine.
func (e *Engine) Memory(m *model.Model, _ engine.LayerOptions) engine.Memory {
	s := m.Spec
	kv, d, v := int64(s.KVHeads*s.HeadDim), int64(s.Hidden), int64(s.Vocab)
	return engine.Memory{Device: engine.Need{
		Layer:     value * s.LayerParameters(),
		Embedding: value * v * d,
		Head:      value * (v*d + d),
		Row:       value * int64(perRow(s)),
		Back:      2 * value * int64(perRow(s)),
		Fixed:     2 * value * v,
		Hidden:    value * d,
		Tape:      value * int64(perRow(s)),
		KVToken:   2 * value * kv,
		Trained:   4 * value,
	}}
}

// NewHidden implements engine.Engine.
func (e *Engine) NewHidden(m *model.Model, rows int) (engine.Hidden, error) {
	h := &hidden{e: e, width: m.Spec.Hidden, v: make([]float64, rows*m.Spec.Hidden), faults: make(faults, rows), owner: true}
	for i := range h.v {
		h.v[i] = math.NaN() // not initialised
	}
	e.meter.take(int64(len(h.v)) * value)
	return h, nil
}

// hidden are hidden states on the device.
type hidden struct {
	e      *Engine
	width  int
	v      []float64
	faults faults // [rows]
	owner  bool
}

func (h *hidden) Rows() int { return len(h.v) / h.width }

func (h *hidden) Slice(lo, hi int) engine.Hidden {
	return &hidden{e: h.e, width: h.width, v: h.v[lo*h.width : hi*h.width], faults: h.faults[lo:hi]}
}

func (h *hidden) Host(ctx context.Context) ([]float32, error) {
	out := make([]float32, len(h.v))
	err := h.e.await(ctx, task{name: "Hidden.Host", in: []faults{h.faults}, do: func() error { return h.read(engine.Values{F32: out}) }})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (h *hidden) read(dst engine.Values) error {
	for i, v := range h.v {
		if dst.F32 != nil {
			dst.F32[i] = float32(v)
		} else {
			dst.BF16[i] = number.ToBF16(float32(v))
		}
	}
	return nil
}

func (h *hidden) Read(dst engine.Values) error {
	h.fits(dst)
	return h.e.enqueue(context.Background(), task{name: "Hidden.Read", in: []faults{h.faults}, do: func() error { return h.read(dst) }})
}

func (h *hidden) Write(src engine.Values) error {
	h.fits(src)
	return h.e.enqueue(context.Background(), task{name: "Hidden.Write", out: []faults{h.faults}, do: func() error {
		for i := range h.v {
			if src.F32 != nil {
				h.v[i] = float64(src.F32[i])
			} else {
				h.v[i] = float64(math.Float32frombits(uint32(src.BF16[i]) << 16))
			}
		}
		return nil
	}})
}

func (h *hidden) fits(v engine.Values) {
	if v.Len() != len(h.v) {
		panic(fmt.Sprintf("slow: %d values for hidden states [%d, %d]", v.Len(), h.Rows(), h.width))
	}
}

func (h *hidden) Sync(ctx context.Context) error {
	return h.e.await(ctx, task{name: "Hidden.Sync", in: []faults{h.faults}, do: func() error { return nil }})
}

func (h *hidden) Release() {
	h.e.drain()
	if h.owner && h.v != nil {
		h.e.meter.take(-int64(len(h.v)) * value)
		h.v = nil
	}
}

// states returns hidden states of at least so many rows, or panics.
func (e *Engine) states(x engine.Hidden, rows, width int) *hidden {
	h, ok := x.(*hidden)
	if !ok || h.e != e || h.width != width || len(h.v) < rows*width {
		panic(fmt.Sprintf("slow: hidden states do not fit: want [%d, %d]", rows, width))
	}
	return &hidden{e: e, width: width, v: h.v[:rows*width], faults: h.faults[:rows]}
}

// Gram implements engine.Gram.
func (e *Engine) Gram(ctx context.Context, x engine.Hidden, n int, out []float32) error {
	h := x.(*hidden)
	w, sums := len(h.v)/n, make([]float32, n*(n+1)/2)
	err := e.await(ctx, task{name: "Gram", in: []faults{h.faults}, do: func() error {
		v := e.inputs(h.v)
		parallel(n, func(i int) {
			for j := range i + 1 {
				sums[i*(i+1)/2+j] = float32(dot(v[i*w:][:w], v[j*w:][:w]))
			}
		})
		return nil
	}})
	copy(out, sums)
	return err
}

// inputs are values as matrix products take them.
func (e *Engine) inputs(xs []float64) []float64 {
	if e.opt.DType != engine.BFloat16 {
		return xs
	}
	out := make([]float64, len(xs))
	for i, v := range xs {
		out[i] = rounded(v)
	}
	return out
}

func dot(a, b []float64) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + (s2 + s3)
}

// rounded is a value after it was stored as a bfloat16.
func rounded(v float64) float64 { return float64(number.FromBF16(number.ToBF16(float32(v)))) }

// parallel runs f for every i below n.
func parallel(n int, f func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w; i < n; i += workers {
				f(i)
			}
		})
	}
	wait.Wait()
}
