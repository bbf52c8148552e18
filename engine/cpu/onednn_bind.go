//go:build !nopurego && (linux || darwin) && (amd64 || arm64)

package cpu

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// dnnlCommon are the entry points that both major versions share.
type dnnlCommon struct {
	engine uintptr

	streamCreate, streamDestroy, streamWait uintptr
	primitiveCreate, primitiveDestroy       uintptr
	descriptorDestroy                       uintptr
	memoryCreate, memoryDestroy, memorySet  uintptr
	execute                                 uintptr
	reorderCreate, memorySize, query        uintptr
	setThreads                              uintptr    // 0 when the library runs without OpenMP
	one                                     [1]uintptr // its argument
}

// symbols resolves names into the places given, all or none.
func symbols(handle uintptr, into map[string]*uintptr) error {
	for name, place := range into {
		p, err := purego.Dlsym(handle, name)
		if err != nil {
			return fmt.Errorf("symbol %s: %w", name, err)
		}
		*place = p
	}
	return nil
}

func newDNNLCommon(handle uintptr) (*dnnlCommon, error) {
	var c dnnlCommon
	var engineCreate uintptr
	err := symbols(handle, map[string]*uintptr{
		"dnnl_engine_create":          &engineCreate,
		"dnnl_stream_create":          &c.streamCreate,
		"dnnl_stream_destroy":         &c.streamDestroy,
		"dnnl_stream_wait":            &c.streamWait,
		"dnnl_primitive_create":       &c.primitiveCreate,
		"dnnl_primitive_destroy":      &c.primitiveDestroy,
		"dnnl_primitive_desc_destroy": &c.descriptorDestroy,
		"dnnl_memory_create":          &c.memoryCreate,
		"dnnl_memory_destroy":         &c.memoryDestroy,
		"dnnl_memory_set_data_handle": &c.memorySet,
		"dnnl_primitive_execute":      &c.execute,

		"dnnl_reorder_primitive_desc_create": &c.reorderCreate,
		"dnnl_memory_desc_get_size":          &c.memorySize,
		"dnnl_primitive_desc_query_md":       &c.query,
	})
	if err != nil {
		return nil, err
	}
	if p, err := purego.Dlsym(purego.RTLD_DEFAULT, "omp_set_num_threads"); err == nil {
		c.setThreads, c.one[0] = p, 1
	}
	const cpu = 1 // dnnl_cpu
	if c.engine, err = create(engineCreate, cpu, 0); err != nil {
		return nil, fmt.Errorf("dnnl_engine_create: %w", err)
	}
	return &c, nil
}

// effectiveISA asks which instruction set the library uses, as its variable
// ONEDNN_MAX_CPU_ISA and the processor allow; "" of a library that does not say.
func effectiveISA(handle uintptr) string {
	var effective, name uintptr
	err := symbols(handle, map[string]*uintptr{"dnnl_get_effective_cpu_isa": &effective, "dnnl_cpu_isa2str": &name})
	if err != nil || runtime.GOARCH != "amd64" {
		return ""
	}
	isa, _, _ := purego.SyscallN(effective)
	text, _, _ := purego.SyscallN(name, isa)
	if text == 0 {
		return ""
	}
	var out []byte
	for p := *(*unsafe.Pointer)(unsafe.Pointer(&text)); len(out) < 64 && *(*byte)(p) != 0; p = unsafe.Add(p, 1) {
		out = append(out, *(*byte)(p))
	}
	return string(out)
}

// dnnlStatus is a dnnl_status_t that is not success.
type dnnlStatus int

func (s dnnlStatus) Error() string {
	names := []string{"success", "out of memory", "invalid arguments", "unimplemented", "last implementation reached", "runtime error", "not required"}
	if int(s) > 0 && int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("status %d", int(s))
}

func call(f uintptr, args ...uintptr) error {
	r, _, _ := purego.SyscallN(f, args...)
	if s := int32(r); s != 0 {
		return dnnlStatus(s)
	}
	return nil
}

// create calls a function that writes a handle through its first argument.
// What C code writes to is pinned: that keeps it on the heap, since stacks move.
func create(f uintptr, args ...uintptr) (uintptr, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	out := new(uintptr)
	pin.Pin(out)
	err := call(f, append([]uintptr{uintptr(unsafe.Pointer(out))}, args...)...)
	return *out, err
}

func (c *dnnlCommon) oneThread() {
	if c.setThreads != 0 {
		purego.SyscallN(c.setThreads, c.one[:]...) // a list made here would be allocated, once a job
	}
}

func (c *dnnlCommon) newStream() (uintptr, error) {
	const inOrder = 1
	return create(c.streamCreate, c.engine, inOrder)
}

func (c *dnnlCommon) destroyStream(s uintptr) { _ = call(c.streamDestroy, s) }

func (c *dnnlCommon) destroy(p *dnnlPrimitive) {
	_ = call(c.primitiveDestroy, p.handle)
	for _, a := range p.args {
		_ = call(c.memoryDestroy, a.memory)
	}
}

func (c *dnnlCommon) run(p *dnnlPrimitive, stream uintptr, a, b, dst unsafe.Pointer) error {
	for i, data := range [...]unsafe.Pointer{a, b, dst} {
		p.words[0], p.words[1] = p.args[i].memory, uintptr(data)
		if err := call(c.memorySet, p.words[:2]...); err != nil {
			return err
		}
	}
	p.words = [4]uintptr{p.handle, stream, uintptr(len(p.args)), uintptr(unsafe.Pointer(&p.args[0]))}
	if err := call(c.execute, p.words[:]...); err != nil {
		return err
	}
	p.words[0] = stream
	return call(c.streamWait, p.words[:1]...)
}

// newPrimitive finishes a product from its descriptor and memory descriptors
// (source, weights, destination).
func (c *dnnlCommon) newPrimitive(descriptor uintptr, memories [3]uintptr) (*dnnlPrimitive, error) {
	p := &dnnlPrimitive{}
	var err error
	if p.handle, err = create(c.primitiveCreate, descriptor); err != nil {
		return nil, err
	}
	for i, index := range []int32{dnnlArgSource, dnnlArgWeights, dnnlArgDestination} {
		memory, err := create(c.memoryCreate, memories[i], c.engine, 0)
		if err != nil {
			return nil, err
		}
		p.args[i] = dnnlArg{index: index, memory: memory}
	}
	return p, nil
}

// dnnlDescriptor describes a product and its memories (source, weights,
// destination). Its owner frees it, whether it could be made or not.
type dnnlDescriptor struct {
	handle   uintptr
	memories [3]uintptr
	free     func()
}

// anyTag is dnnl_format_tag_any: the library chooses the layout.
const anyTag = 1

// dnnlLayout is a two-dimensional memory: sizes, strides in elements, data type.
type dnnlLayout struct {
	dims, strides [12]int64 // DNNL_MAX_NDIMS
	dtype         uintptr
}

// layouts describes source [m, k], weights as [k, n] and destination [m, n];
// they may lie in memory the other way round.
func layouts(key shapeKey, m int) [3]*dnnlLayout {
	matrix := func(rows, columns, rowStride, columnStride int, dtype uintptr) *dnnlLayout {
		l := &dnnlLayout{dtype: dtype}
		l.dims[0], l.dims[1] = int64(rows), int64(columns)
		l.strides[0], l.strides[1] = int64(rowStride), int64(columnStride)
		return l
	}
	in := uintptr(dnnlF32)
	if key.half {
		in = dnnlBF16
	}
	weights := matrix(key.k, key.n, 1, key.k, in)
	if key.plain {
		weights = matrix(key.k, key.n, max(key.n, key.pitch), 1, in)
	}
	source := matrix(m, key.k, key.k, 1, in)
	if key.stride != 0 {
		source = matrix(m, key.k, 1, key.stride, in)
	}
	return [3]*dnnlLayout{source, weights, matrix(m, key.n, key.n, 1, dnnlF32)}
}

// dnnl2 binds major version 2, whose descriptors are plain structs of less
// than 4 (memory) and 8 KiB (operation).
type dnnl2 struct {
	*dnnlCommon
	describeMemory, describeTagged, describeMatmul, descriptorCreate uintptr
}

func newDNNL2(handle uintptr, c *dnnlCommon) (dnnlLibrary, error) {
	l := &dnnl2{dnnlCommon: c}
	return l, symbols(handle, map[string]*uintptr{
		"dnnl_memory_desc_init_by_strides": &l.describeMemory,
		"dnnl_memory_desc_init_by_tag":     &l.describeTagged,
		"dnnl_matmul_desc_init":            &l.describeMatmul,
		"dnnl_primitive_desc_create":       &l.descriptorCreate,
	})
}

func (l *dnnl2) describe(key shapeKey, m int, packed bool) (d dnnlDescriptor, err error) {
	pin := &runtime.Pinner{}
	storage := new(struct {
		memories  [3][4096]byte
		operation [8192]byte
	})
	pin.Pin(storage)
	d.free = pin.Unpin
	for i, layout := range layouts(key, m) {
		pin.Pin(layout)
		d.memories[i] = uintptr(unsafe.Pointer(&storage.memories[i]))
		dims := uintptr(unsafe.Pointer(&layout.dims))
		if packed && i == 1 {
			err = call(l.describeTagged, d.memories[i], 2, dims, layout.dtype, anyTag)
		} else {
			err = call(l.describeMemory, d.memories[i], 2, dims, layout.dtype, uintptr(unsafe.Pointer(&layout.strides)))
		}
		if err != nil {
			return d, err
		}
	}
	operation := uintptr(unsafe.Pointer(&storage.operation))
	if err := call(l.describeMatmul, operation, d.memories[0], d.memories[1], 0, d.memories[2]); err != nil {
		return d, err
	}
	if d.handle, err = create(l.descriptorCreate, operation, 0, l.engine, 0); err == nil {
		d.free = func() { _ = call(l.descriptorDestroy, d.handle); pin.Unpin() }
	}
	return d, err
}

// dnnl3 binds major version 3, whose descriptors are opaque.
type dnnl3 struct {
	*dnnlCommon
	describeMemory, describeTagged, forgetMemory, describeMatmul uintptr
}

func newDNNL3(handle uintptr, c *dnnlCommon) (dnnlLibrary, error) {
	l := &dnnl3{dnnlCommon: c}
	return l, symbols(handle, map[string]*uintptr{
		"dnnl_memory_desc_create_with_strides": &l.describeMemory,
		"dnnl_memory_desc_create_with_tag":     &l.describeTagged,
		"dnnl_memory_desc_destroy":             &l.forgetMemory,
		"dnnl_matmul_primitive_desc_create":    &l.describeMatmul,
	})
}

func (l *dnnl3) describe(key shapeKey, m int, packed bool) (d dnnlDescriptor, err error) {
	pin := &runtime.Pinner{}
	defer pin.Unpin()
	var made []uintptr
	d.free = func() {
		for _, memory := range made {
			_ = call(l.forgetMemory, memory)
		}
	}
	for i, layout := range layouts(key, m) {
		pin.Pin(layout)
		dims := uintptr(unsafe.Pointer(&layout.dims))
		if packed && i == 1 {
			d.memories[i], err = create(l.describeTagged, 2, dims, layout.dtype, anyTag)
		} else {
			d.memories[i], err = create(l.describeMemory, 2, dims, layout.dtype, uintptr(unsafe.Pointer(&layout.strides)))
		}
		if err != nil {
			return d, err
		}
		made = append(made, d.memories[i])
	}
	forget := d.free
	if d.handle, err = create(l.describeMatmul, l.engine, d.memories[0], d.memories[1], 0, d.memories[2], 0); err == nil {
		d.free = func() { _ = call(l.descriptorDestroy, d.handle); forget() }
	}
	return d, err
}
