//go:build !nopurego && (linux || darwin) && (amd64 || arm64)

package cpu

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// oneDNN multiplies matrices with Intel's library of that name (Debian:
// libdnnl2, libdnnl3), opened at run time. Every worker has its own stream,
// primitives and memory objects and runs one OpenMP thread; Go splits the work,
// and rowLaw says how many rows a call may have.
type oneDNN struct {
	lib     dnnlLibrary
	version string
	level   string // instruction set that the library was told to use, "" of one that does not say
	workers []*dnnlWorker
}

// dnnlWorker is what one worker's thread owns.
type dnnlWorker struct {
	stream     uintptr
	primitives map[productKey]*dnnlPrimitive
	// older are those that have not been used since primitives were last full: they
	// go when it is full again.
	older map[productKey]*dnnlPrimitive
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

// loadOneDNN opens the library and finds out how to use it. Path is "" to look
// for the known names. What a probe panics with is an error too.
func loadOneDNN(path string, workers int, k *kernels) (law *rowLaw, err error) {
	lib, version, level, err := openDNNL(path)
	if err != nil {
		return nil, err
	}
	d := &oneDNN{lib: lib, version: version, level: level}
	for range workers {
		d.workers = append(d.workers, &dnnlWorker{primitives: map[productKey]*dnnlPrimitive{}})
	}
	done := make(chan struct{})
	go func() { // as worker 0 on a thread of its own, before there are workers
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("oneDNN %s: probing failed: %v", version, r)
			}
		}()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		d.startWorker(0)
		defer d.stopWorker(0)
		law, err = newRowLaw(d, workers, k, 0)
	}()
	<-done
	return law, err
}

func (d *oneDNN) name() string {
	if d.level == "" {
		return "oneDNN " + d.version
	}
	return fmt.Sprintf("oneDNN %s (%s)", d.version, d.level)
}

func (d *oneDNN) half() bool {
	if d.level == "" {
		return hasBF16()
	}
	return d.level == levelBF16 || d.level == levelAMX
}

func (d *oneDNN) startWorker(id int) { d.lib.oneThread() }

func (d *oneDNN) stopWorker(id int) {
	w := d.workers[id]
	d.forget(w)
	if w.stream != 0 {
		d.lib.destroyStream(w.stream)
		w.stream = 0
	}
}

// maxPrimitives bounds what a worker keeps, half of them in use lately; each
// takes about 100 KB.
const maxPrimitives = 512

func (d *oneDNN) forget(w *dnnlWorker) {
	d.age(w)
	d.age(w)
}

// age destroys the older primitives; the others are now those.
func (d *oneDNN) age(w *dnnlWorker) {
	for _, p := range w.older {
		d.lib.destroy(p)
	}
	w.older, w.primitives = w.primitives, map[productKey]*dnnlPrimitive{}
}

// primitive finds or makes the one for exactly m rows.
func (d *oneDNN) primitive(w *dnnlWorker, key productKey) (*dnnlPrimitive, error) {
	p, ok := w.primitives[key]
	if ok {
		return p, nil
	}
	if p, ok = w.older[key]; ok {
		delete(w.older, key)
	} else {
		var err error
		if p, err = d.newProduct(key.shapeKey, key.m); err != nil {
			return nil, err
		}
	}
	if len(w.primitives) >= maxPrimitives/2 {
		d.age(w)
	}
	w.primitives[key] = p
	return p, nil
}

// multiply implements provider by one primitive.
func (d *oneDNN) multiply(worker int, key shapeKey, m int, a, b operand, dst []float32) error {
	w := d.workers[worker]
	p, err := d.primitive(w, productKey{key, m})
	if err != nil {
		return err
	}
	if w.stream == 0 {
		if w.stream, err = d.lib.newStream(); err != nil {
			return err
		}
	}
	err = d.lib.run(p, w.stream, pointer(a), pointer(b), unsafe.Pointer(&dst[0]))
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
	runtime.KeepAlive(dst)
	return err
}

func (d *oneDNN) newProduct(key shapeKey, m int) (*dnnlPrimitive, error) {
	descriptor, err := d.lib.describe(key, m, false)
	defer descriptor.free()
	if err != nil {
		return nil, err
	}
	return d.lib.newPrimitive(descriptor.handle, descriptor.memories)
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
	// describe describes a product, the weights as they are stored or as the
	// library likes them best.
	describe(key shapeKey, m int, packed bool) (dnnlDescriptor, error)
	newPrimitive(descriptor uintptr, memories [3]uintptr) (*dnnlPrimitive, error)
	newPacked(plain, packed dnnlDescriptor) (*dnnlPacked, error)
	lay(p *dnnlPacked, stream uintptr, b unsafe.Pointer, into []byte) error
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

func openDNNL(path string) (lib dnnlLibrary, version, level string, err error) {
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
		return lib, version, levelOf(effectiveISA(handle)), nil
	}
	return nil, "", "", errors.Join(problems...)
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
