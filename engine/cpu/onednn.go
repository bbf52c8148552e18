//go:build !nopurego && (linux || darwin) && (amd64 || arm64)

package cpu

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// oneDNN multiplies matrices with Intel's library of that name (Debian:
// libdnnl2, libdnnl3), opened at run time. Every worker has its own stream,
// primitives and memory objects and runs one OpenMP thread; Go splits the rows.
//
// On processors with brgemm kernels a row's bits do not depend on the number
// of rows; with older ones they do, in ways the probes below find out: rows are
// padded to a quantum, and products cut into runs of rows short enough that
// the library's blocking does not change.
type oneDNN struct {
	lib     dnnlLibrary
	version string
	notes   []string
	bf16    bool
	rows    int // quantum

	workers []*dnnlWorker
	kernels *kernels
	mu      sync.Mutex
	exact   map[productKey]bool // what probing said of a number of rows
	runs    map[shapeKey]int    // what probing said of the order of sums, 0 of one unknown
}

type shapeKey struct {
	shape
	half bool
}

// dnnlWorker is what one worker's thread owns.
type dnnlWorker struct {
	stream     uintptr
	primitives map[productKey]*dnnlPrimitive
	runs       map[shapeKey]int // what this worker has seen of oneDNN.runs
}

type productKey struct {
	shapeKey
	m int
}

// dnnlPrimitive is a product ready to run: only the pointers change.
type dnnlPrimitive struct {
	handle uintptr
	args   [3]dnnlArg
	words  [4]uintptr // arguments of a call: passed as a slice, they would be allocated
}

// dnnlArg is dnnl_exec_arg_t.
type dnnlArg struct {
	index  int32
	_      int32
	memory uintptr
}

// Argument indices and data types of oneDNN, the same in major versions 2 and 3.
const (
	dnnlArgSource      = 1
	dnnlArgDestination = 17
	dnnlArgWeights     = 33

	dnnlBF16 = 2
	dnnlF32  = 3
)

// candidates are the row counts tried as the unit of padding, smallest first.
func candidates() []int { return []int{2, 4, 6, 8, 12, 16, 24} }

// loadOneDNN opens the library and finds out how to use it. Path is "" to look
// for the known names.
func loadOneDNN(path string, workers int, k *kernels) (*oneDNN, error) {
	lib, version, err := openDNNL(path)
	if err != nil {
		return nil, err
	}
	d := &oneDNN{lib: lib, version: version, kernels: k, exact: map[productKey]bool{}, runs: map[shapeKey]int{}}
	for range workers {
		d.workers = append(d.workers, &dnnlWorker{primitives: map[productKey]*dnnlPrimitive{}, runs: map[shapeKey]int{}})
	}
	err = d.onThread(func() error { return d.probe() })
	if err != nil {
		return nil, err
	}
	return d, nil
}

// onThread runs f as worker 0 on a thread of its own, before there are workers.
func (d *oneDNN) onThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		d.startWorker(0)
		err := f()
		d.stopWorker(0)
		result <- err
	}()
	return <-result
}

func (d *oneDNN) name() string { return "oneDNN " + d.version }
func (d *oneDNN) half() bool   { return d.bf16 }
func (d *oneDNN) quantum() int { return d.rows }

func (d *oneDNN) startWorker(id int) { d.lib.oneThread() }

func (d *oneDNN) stopWorker(id int) {
	w := d.workers[id]
	d.forget(w)
	if w.stream != 0 {
		d.lib.destroyStream(w.stream)
		w.stream = 0
	}
}

// maxPrimitives bounds what a worker keeps; each takes about 100 KB.
const maxPrimitives = 512

func (d *oneDNN) forget(w *dnnlWorker) {
	for key, p := range w.primitives {
		d.lib.destroy(p)
		delete(w.primitives, key)
	}
}

// product implements multiplier.
func (d *oneDNN) product(w *worker, s shape, m int, a, b operand, dst []float32) {
	key := shapeKey{s, a.bf16 != nil}
	padded := roundUp(m, d.rows)
	for lo := 0; lo < padded; {
		n := d.rowsAtOnce(w.id, key, padded-lo, b)
		if err := d.multiply(w.id, key, n, a.from(lo*s.k), b, dst[lo*s.n:]); err != nil {
			// the same primitive ran when it was probed: only memory can be short
			panic(&productError{fmt.Errorf("oneDNN product %dx%dx%d: %w", n, s.n, s.k, err)})
		}
		lo += n
	}
}

// untiled implements the limit's products: one call whatever the rows.
func (d *oneDNN) untiled(w *worker, s shape, m int, a, b operand, dst []float32) {
	if err := d.multiply(w.id, shapeKey{s, a.bf16 != nil}, roundUp(m, d.rows), a, b, dst); err != nil {
		panic(&productError{fmt.Errorf("oneDNN product %dx%dx%d: %w", m, s.n, s.k, err)})
	}
}

// multiply runs one primitive on exactly m rows.
func (d *oneDNN) multiply(worker int, key shapeKey, m int, a, b operand, dst []float32) error {
	w := d.workers[worker]
	if err := fits(key, m, a, b, dst); err != nil {
		return err
	}
	p, ok := w.primitives[productKey{key, m}]
	if !ok {
		if len(w.primitives) >= maxPrimitives {
			d.forget(w)
		}
		var err error
		if p, err = d.lib.newProduct(key, m); err != nil {
			return err
		}
		w.primitives[productKey{key, m}] = p
	}
	if w.stream == 0 {
		var err error
		if w.stream, err = d.lib.newStream(); err != nil {
			return err
		}
	}
	err := d.lib.run(p, w.stream, pointer(a), pointer(b), unsafe.Pointer(&dst[0]))
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
	runtime.KeepAlive(dst)
	return err
}

// fits makes sure that C code stays inside the slices: a bad pointer there
// kills the process.
func fits(key shapeKey, m int, a, b operand, dst []float32) error {
	la, lb := len(a.f32), len(b.f32)
	if key.half {
		la, lb = len(a.bf16), len(b.bf16)
	}
	if m < 1 || la < m*key.k || lb < key.n*key.k || len(dst) < m*key.n {
		return fmt.Errorf("operands of %d, %d and %d values are too short for %d rows of %d x %d", la, lb, len(dst), m, key.n, key.k)
	}
	return nil
}

func pointer(o operand) unsafe.Pointer {
	if o.bf16 != nil {
		return unsafe.Pointer(&o.bf16[0])
	}
	return unsafe.Pointer(&o.f32[0])
}

// dnnlLibrary is one major version's binding.
type dnnlLibrary interface {
	newStream() (uintptr, error)
	destroyStream(uintptr)
	newProduct(key shapeKey, m int) (*dnnlPrimitive, error)
	run(p *dnnlPrimitive, stream uintptr, a, b, dst unsafe.Pointer) error
	destroy(*dnnlPrimitive)
	oneThread() // makes the calling thread use no OpenMP helpers
}

// libraryNames are tried in order.
func libraryNames() []string {
	if runtime.GOOS == "darwin" {
		return []string{"libdnnl.3.dylib", "libdnnl.2.dylib", "libdnnl.dylib"}
	}
	return []string{"libdnnl.so.3", "libdnnl.so.3.6", "libdnnl.so.2"} // 3.6: Debian 13
}

// dnnlVersion is dnnl_version_t up to the fields used.
type dnnlVersion struct{ major, minor, patch int32 }

func openDNNL(path string) (dnnlLibrary, string, error) {
	names := libraryNames()
	if path != "" {
		names = []string{path}
	}
	var problems []error
	for _, name := range names {
		handle, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		lib, version, err := bindDNNL(handle)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
			continue
		}
		return lib, version, nil
	}
	return nil, "", errors.Join(problems...)
}

func bindDNNL(handle uintptr) (dnnlLibrary, string, error) {
	version, err := purego.Dlsym(handle, "dnnl_version")
	if err != nil {
		return nil, "", errors.New("not a oneDNN library: it has no dnnl_version")
	}
	r, _, _ := purego.SyscallN(version)
	v := *(*dnnlVersion)(*(*unsafe.Pointer)(unsafe.Pointer(&r)))
	text := fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch)
	c, err := newDNNLCommon(handle)
	if err != nil {
		return nil, "", err
	}
	switch v.major {
	case 2:
		lib, err := newDNNL2(handle, c)
		return lib, text, err
	case 3:
		lib, err := newDNNL3(handle, c)
		return lib, text, err
	}
	return nil, "", fmt.Errorf("oneDNN %s: major versions 2 and 3 are known", text)
}
