//go:build !nopurego && (linux || darwin) && (amd64 || arm64)

package cpu

import (
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// dnnlPacked is a product whose weights are laid out as the library likes best,
// and what lays them out.
type dnnlPacked struct {
	product *dnnlPrimitive
	reorder uintptr
	from    uintptr // memory of the weights as they are stored
	bytes   int
}

// newPacked makes both of a product described plainly and with packed weights.
func (c *dnnlCommon) newPacked(plain, packed dnnlDescriptor) (*dnnlPacked, error) {
	const queryWeights = 131 // dnnl_query_weights_md
	weights, _, _ := purego.SyscallN(c.query, packed.handle, queryWeights, 0)
	if weights == 0 {
		return nil, dnnlStatus(3) // unimplemented
	}
	size, _, _ := purego.SyscallN(c.memorySize, weights)
	p := &dnnlPacked{bytes: int(size)}
	descriptor, err := create(c.reorderCreate, plain.memories[1], c.engine, weights, c.engine, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = call(c.descriptorDestroy, descriptor) }()
	if p.reorder, err = create(c.primitiveCreate, descriptor); err != nil {
		return nil, err
	}
	if p.from, err = create(c.memoryCreate, plain.memories[1], c.engine, 0); err != nil {
		return nil, err
	}
	p.product, err = c.newPrimitive(packed.handle, [3]uintptr{packed.memories[0], weights, packed.memories[2]})
	return p, err
}

// lay lays weights b out in memory of p.bytes.
func (c *dnnlCommon) lay(p *dnnlPacked, stream uintptr, b unsafe.Pointer, into []byte) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	args := &[2]dnnlArg{{index: dnnlArgSource, memory: p.from}, {index: dnnlArgDestination, memory: p.product.args[1].memory}}
	pin.Pin(args)
	if err := call(c.memorySet, p.from, uintptr(b)); err != nil {
		return err
	}
	if err := call(c.memorySet, p.product.args[1].memory, uintptr(unsafe.Pointer(&into[0]))); err != nil {
		return err
	}
	if err := call(c.execute, p.reorder, stream, uintptr(len(args)), uintptr(unsafe.Pointer(args))); err != nil {
		return err
	}
	return call(c.streamWait, stream)
}

// pack implements packer. What it makes lives as long as the process: benches
// make some.
func (d *oneDNN) pack(worker int, key shapeKey, m int, b operand) (multiply func(a operand, dst []float32) error, bytes int, err error) {
	w := d.workers[worker]
	if w.stream == 0 {
		if w.stream, err = d.lib.newStream(); err != nil {
			return nil, 0, err
		}
	}
	plain, err := d.lib.describe(key, m, false)
	defer plain.free()
	if err != nil {
		return nil, 0, err
	}
	packed, err := d.lib.describe(key, m, true)
	defer packed.free()
	if err != nil {
		return nil, 0, err
	}
	p, err := d.lib.newPacked(plain, packed)
	if err != nil {
		return nil, 0, err
	}
	weights := make([]byte, p.bytes+64)
	weights = weights[-uintptr(unsafe.Pointer(&weights[0]))&63:] // cache lines
	if err := d.lib.lay(p, w.stream, pointer(b), weights); err != nil {
		return nil, 0, err
	}
	runtime.KeepAlive(b)
	return func(a operand, dst []float32) error {
		err := d.lib.run(p.product, w.stream, pointer(a), unsafe.Pointer(&weights[0]), unsafe.Pointer(&dst[0]))
		runtime.KeepAlive(a)
		runtime.KeepAlive(dst)
		return err
	}, p.bytes, nil
}
