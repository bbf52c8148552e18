//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
)

// Engine implements engine.Engine on an NVIDIA GPU.
type Engine struct {
	info     engine.Info
	half     bool // products take bfloat16
	device   device
	w        *worker
	d        *driver
	c        *compiler
	b        *blas
	law      *law
	module   uintptr
	kernels  map[string]uintptr
	pool     *pool
	stage    *stage
	pins     pins
	unwaited bool // see tuning
	check    bool // wait for every kernel, to name the one that fails

	compute, copies uintptr // streams

	launcher launcher
	kept     []buffer           // by what measures
	profile  map[string]float64 // seconds by name, while somebody wants them
	rotaries block.Rotaries
	angles   map[*block.Rotary]angles // tables on the device
	chunk    buffer                   // for stored values on their way to what products take
	sharing  sync.Mutex               // of tables
	tables   map[tableKey]*table
	calls    sync.Mutex // of layers, heads and embeddings: they come one at a time
	closed   sync.Once
}

// device is what the driver says of a GPU.
type device struct {
	ordinal, handle int
	name            string
	major, minor    int
	memory          int64
	driver          int // 13000 for CUDA 13.0
	context         uintptr
}

func (d device) architecture() int { return d.major*10 + d.minor }

// tuning is what tests change.
type tuning struct {
	patience time.Duration
	exact    bool           // see pool.exact
	probe    []int          // numbers of rows that algorithms are probed with
	repeats  int            // of timings
	edit     func(*program) // changes the kernels' source
	staged   int            // bytes of a staging buffer
	unwaited bool           // plants a fault: streams do not wait for each other
	unprobed bool           // plants another: products use what the library likes best
}

func defaults() tuning {
	return tuning{patience: 2 * time.Minute, probe: []int{8, 16, 64, 128, 512, 576, 2048}, repeats: 5, staged: 8 << 20}
}

// New starts an engine. It fails with ErrNoGPU where there is none; where there is
// one that cannot be used, the error says what is missing or in the way.
func New(o Options) (engine.Engine, error) { return start(o, defaults()) }

func start(o Options, t tuning) (engine.Engine, error) {
	dtype, err := o.dtype()
	if err != nil {
		return nil, err
	}
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	check, err := switchedOn("COPPICE_CUDA_CHECK", o.Getenv)
	if err != nil {
		return nil, err
	}
	d, err := openDriver(o.Getenv)
	if err != nil {
		return nil, err
	}
	e := &Engine{d: d, half: dtype == engine.BFloat16, w: newWorker(t.patience), unwaited: t.unwaited, kernels: map[string]uintptr{}, angles: map[*block.Rotary]angles{}, tables: map[tableKey]*table{}}
	e.check = check
	if err := e.w.do("start", func() error { return e.begin(o, t) }); err != nil {
		e.w.close()
		return nil, err
	}
	e.info = engine.Info{Device: "cuda", DType: dtype, Provider: fmt.Sprintf("cuBLASLt %s on %s", e.b.is, e.device.name), Threads: 1, DeviceMemory: e.pool.limit}
	if e.device.ordinal > 0 {
		e.info.Device = fmt.Sprintf("cuda:%d", e.device.ordinal)
	}
	return e, nil
}

// switchedOn reads a variable of the environment that switches something on.
func switchedOn(name string, getenv func(string) string) (bool, error) {
	switch value := getenv(name); strings.ToLower(value) {
	case "1", "true", "yes", "on":
		return true, nil
	case "", "0", "false", "no", "off":
		return false, nil
	default:
		return false, &engine.SettingError{Variable: name, Value: value, Want: "want 1 or 0"}
	}
}

// begin looks at the device, opens the libraries, compiles the kernels: in the order
// in which what is missing is best found out, all before memory is taken.
func (e *Engine) begin(o Options, t tuning) (err error) {
	if e.device, err = e.d.look(o.Device); err != nil {
		return err
	}
	if e.c, err = openCompiler(e.device.driver/1000, o.Getenv); err != nil {
		return err
	}
	if e.b, err = openBLAS(e.device.driver/1000, o.Getenv); err != nil {
		return err
	}
	if e.device.context, err = e.d.handle(e.d.contextRetain, uintptr(e.device.handle)); err != nil {
		return err
	}
	if err := e.d.do(e.d.contextSet, e.device.context); err != nil {
		return err
	}
	if err := e.load(o, t); err != nil {
		return err
	}
	for _, s := range []*uintptr{&e.compute, &e.copies} {
		if *s, err = e.d.handle(e.d.streamCreate, streamNonBlocking); err != nil {
			return err
		}
	}
	if err := e.b.open(); err != nil {
		return err
	}
	if e.pool, err = e.newPool(o, t); err != nil {
		return err
	}
	if e.stage, err = e.newStage(t); err != nil {
		return err
	}
	e.law, err = e.newLaw(o, t)
	return err
}

// look finds a device and refuses those that cannot be used.
func (d *driver) look(ordinal int) (found device, err error) {
	if err := d.do(d.initialise, 0); err != nil {
		var c *callError
		if errors.As(err, &c) && c.status == statusNoDevice {
			return found, fmt.Errorf("%w: %w", ErrNoGPU, err)
		}
		return found, err
	}
	count, err := d.get(d.deviceCount)
	if err != nil {
		return found, err
	}
	if int(count) == 0 {
		return found, fmt.Errorf("%w: the driver knows no device", ErrNoGPU)
	}
	if ordinal >= int(count) {
		return found, fmt.Errorf("GPU %d does not exist: there are %d, counted from 0", ordinal, count)
	}
	found.ordinal = ordinal
	version, err := d.get(d.version)
	if err != nil {
		return found, err
	}
	found.driver = int(int32(version))
	handle, err := d.get(d.deviceGet, uintptr(ordinal))
	if err != nil {
		return found, err
	}
	found.handle = int(int32(handle))
	return d.describe(found)
}

func (d *driver) describe(found device) (device, error) {
	name := onHeap[[256]byte]()
	if err := d.do(d.deviceName, uintptr(unsafe.Pointer(name)), uintptr(len(name)), uintptr(found.handle)); err != nil {
		return found, err
	}
	found.name = text(uintptr(unsafe.Pointer(name)))
	runtime.KeepAlive(name)
	for attribute, into := range map[uintptr]*int{attributeMajor: &found.major, attributeMinor: &found.minor} {
		v, err := d.get(d.attribute, attribute, uintptr(found.handle))
		if err != nil {
			return found, err
		}
		*into = int(int32(v))
	}
	memory, err := d.get(d.deviceMemory, uintptr(found.handle))
	if err != nil {
		return found, err
	}
	found.memory = int64(memory)
	if found.major < 8 {
		return found, fmt.Errorf("%s has compute capability %d.%d: 8.0 (Ampere) is the least that is supported, which multiplies bfloat16; use --device cpu", found.name, found.major, found.minor)
	}
	if found.driver < 11000 {
		return found, fmt.Errorf("the NVIDIA driver knows CUDA %d.%d: 11.0 is the least that is supported; install a newer driver", found.driver/1000, found.driver%1000/10)
	}
	return found, nil
}

// load compiles the kernels and loads them.
func (e *Engine) load(o Options, t tuning) error {
	p, err := kernelSource()
	if err != nil {
		return err
	}
	if t.edit != nil {
		t.edit(&p)
	}
	options := []string{fmt.Sprintf("--gpu-architecture=sm_%d", e.device.architecture()), "--fmad=false", "--std=c++17"}
	if e.half {
		options = append(options, "-DBFLOAT16=1")
	}
	image, err := e.c.cubinOf(p, options, o.Cache)
	if err != nil {
		return fmt.Errorf("NVRTC %s (%s) does not compile the kernels for %s, which may be newer than it: %w", e.c.is, e.c.path, e.device.name, err)
	}
	image = append(image, 0)
	e.module, err = e.d.handle(e.d.moduleLoad, addressOf(image))
	runtime.KeepAlive(image)
	return err
}

// newPool bounds the pool by what is asked for, or by what is free.
func (e *Engine) newPool(o Options, t tuning) (*pool, error) {
	free, err := e.d.get(e.d.memoryInfo, addressOf(e.d.out[1:2]))
	if err != nil {
		return nil, err
	}
	limit := int64(free) / 16 * 15 // fragments, and what libraries take
	if o.Memory > 0 {
		limit = min(limit, o.Memory)
	}
	p := &pool{d: e.d, limit: limit, exact: t.exact, idle: e.idle}
	if t.exact {
		p.poison = func(b buffer) error {
			return e.d.do(e.d.fill, uintptr(b.at), 0xff, uintptr(b.size), e.compute)
		}
	}
	return p, nil
}

// idle waits for all that is queued; on the worker.
func (e *Engine) idle() error {
	if err := e.d.do(e.d.streamSync, e.copies); err != nil {
		return err
	}
	if err := e.d.do(e.d.streamSync, e.compute); err != nil {
		return err
	}
	e.w.settled()
	return nil
}

// await waits until the compute stream has done what was queued so far.
func (e *Engine) await(ctx context.Context, name string) error {
	var event uintptr
	err := e.w.do(name, func() (err error) {
		event, err = e.record(e.compute)
		return err
	})
	if err != nil {
		return err
	}
	if err = e.w.poll(ctx, name, func() (bool, error) { return e.d.reached(event) }); err == nil {
		e.w.settled()
	}
	return errors.Join(err, e.w.do(name, func() error { return e.d.do(e.d.eventDestroy, event) }))
}

// record makes an event that a stream comes to.
func (e *Engine) record(stream uintptr) (uintptr, error) {
	event, err := e.d.handle(e.d.eventCreate, 0)
	if err != nil {
		return 0, err
	}
	return event, e.d.do(e.d.eventRecord, event, stream)
}

// reached says whether an event's stream has come to it.
func (d *driver) reached(event uintptr) (bool, error) {
	err := d.do(d.eventQuery, event)
	var c *callError
	if errors.As(err, &c) && c.status == statusNotReady {
		return false, nil
	}
	return err == nil, err
}

// Info implements engine.Engine.
func (e *Engine) Info() engine.Info { return e.info }

// DeviceMemory is how many bytes of the device are in use, and the most that were
// held.
func (e *Engine) DeviceMemory() (now, peak int64) {
	_ = e.w.do("DeviceMemory", func() error {
		now, peak = e.pool.used, e.pool.peak
		return nil
	})
	return now, peak
}

// Close implements engine.Engine.
func (e *Engine) Close() (err error) {
	e.closed.Do(func() {
		if e.w.broken() == nil {
			err = e.w.do("Close", e.end)
		}
		e.w.close()
	})
	return err
}

// end gives everything back.
func (e *Engine) end() error {
	for _, a := range e.angles {
		if err := errors.Join(e.pool.give(a.cos), e.pool.give(a.sin)); err != nil {
			return err
		}
	}
	for _, b := range e.kept {
		if err := e.pool.give(b); err != nil {
			return err
		}
	}
	if err := errors.Join(e.law.close(), e.pool.give(e.chunk), e.pool.trim(), e.stage.close()); err != nil {
		return err
	}
	for _, s := range []uintptr{e.compute, e.copies} {
		if err := e.d.do(e.d.streamDestroy, s); err != nil {
			return err
		}
	}
	e.b.close()
	return errors.Join(e.d.do(e.d.moduleUnload, e.module), e.d.do(e.d.contextRelease, uintptr(e.device.handle)))
}
