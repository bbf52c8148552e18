//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"unsafe"
)

// address is memory of the device; 0 is none.
type address uintptr

// driver binds the CUDA driver API. Its methods are called from one goroutine, on
// a thread whose context is the device's.
type driver struct {
	library

	errorName, errorString                                         symbol
	initialise, version, deviceCount, deviceGet, deviceName        symbol
	deviceMemory, attribute                                        symbol
	contextRetain, contextRelease, contextSet, memoryInfo          symbol
	alloc, free, hostAlloc, hostFree, hostRegister, hostUnregister symbol
	toDevice, toHost, within, fill                                 symbol
	streamCreate, streamDestroy, streamSync, streamWait            symbol
	eventCreate, eventDestroy, eventRecord, eventQuery, eventTime  symbol
	moduleLoad, moduleUnload, moduleFunction, launchKernel         symbol

	out *[4]uint64 // what calls write to
}

func openDriver(getenv func(string) string) (*driver, error) {
	lib, err := openLibrary(theDriver(), 0, getenv)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoGPU, err)
	}
	d := &driver{library: lib, out: new([4]uint64)}
	return d, lib.symbols(map[string]*symbol{
		"cuGetErrorName": &d.errorName, "cuGetErrorString": &d.errorString,
		"cuInit": &d.initialise, "cuDriverGetVersion": &d.version, "cuDeviceGetCount": &d.deviceCount, "cuDeviceGet": &d.deviceGet,
		"cuDeviceGetName": &d.deviceName, "cuDeviceTotalMem_v2": &d.deviceMemory, "cuDeviceGetAttribute": &d.attribute,
		"cuDevicePrimaryCtxRetain": &d.contextRetain, "cuDevicePrimaryCtxRelease_v2": &d.contextRelease, "cuCtxSetCurrent": &d.contextSet,
		"cuMemGetInfo_v2": &d.memoryInfo, "cuMemAlloc_v2": &d.alloc, "cuMemFree_v2": &d.free, "cuMemHostAlloc": &d.hostAlloc,
		"cuMemFreeHost": &d.hostFree, "cuMemHostRegister_v2": &d.hostRegister, "cuMemHostUnregister": &d.hostUnregister,
		"cuMemcpyHtoDAsync_v2": &d.toDevice, "cuMemcpyDtoHAsync_v2": &d.toHost, "cuMemcpyDtoDAsync_v2": &d.within, "cuMemsetD8Async": &d.fill,
		"cuStreamCreate": &d.streamCreate, "cuStreamDestroy_v2": &d.streamDestroy, "cuStreamSynchronize": &d.streamSync, "cuStreamWaitEvent": &d.streamWait,
		"cuEventCreate": &d.eventCreate, "cuEventDestroy_v2": &d.eventDestroy, "cuEventRecord": &d.eventRecord, "cuEventQuery": &d.eventQuery,
		"cuEventElapsedTime": &d.eventTime, "cuModuleLoadData": &d.moduleLoad, "cuModuleUnload": &d.moduleUnload,
		"cuModuleGetFunction": &d.moduleFunction, "cuLaunchKernel": &d.launchKernel,
	})
}

// Statuses of the driver that decide something.
const (
	statusOutOfMemory = 2
	statusNoDevice    = 100
	statusNotReady    = 600
)

// callError is a call that returned a status other than success.
type callError struct {
	call   string
	status int32
	name   string // CUDA_ERROR_…
	text   string // the library's own words
}

func (c *callError) Error() string {
	out := c.call + ": "
	if c.name != "" {
		out += c.name + " "
	}
	out += fmt.Sprintf("(status %d)", c.status)
	if c.text != "" {
		out += ": " + c.text
	}
	if hint := c.remedy(); hint != "" {
		out += "; " + hint
	}
	return out
}

// remedy is what to do about statuses that people meet.
func (c *callError) remedy() string {
	switch c.status {
	case 35, 803:
		return "the NVIDIA driver is too old or was updated without a restart: see nvidia-smi"
	case 46, 802, 999:
		return "the GPU is not usable as it is: see nvidia-smi and the system's log"
	case 209:
		return "no code for this GPU"
	case 214, 220:
		return "the GPU's memory is damaged: nvidia-smi -q -d ECC says more, a reset may help"
	case 700, 716, 717, 718, 719, 710:
		return "a kernel failed, which is a bug of Coppice or a fault of the GPU: please report it with the output of coppice doctor"
	}
	return ""
}

// fatal says whether the device can be used no more after the error.
func (c *callError) fatal() bool {
	switch c.status {
	case 712, 713, 800, 801: // refused, no more
		return false
	}
	return c.status >= 700 || c.status == 214 || c.status == 220 || c.status == 4 || c.status == 201
}

// do calls an entry point of the driver.
func (d *driver) do(s symbol, args ...uintptr) error {
	status := s.call(args...)
	if status == 0 {
		return nil
	}
	e := &callError{call: s.name, status: status}
	where := uintptr(unsafe.Pointer(&d.out[3]))
	if d.out[3] = 0; d.errorName.call(uintptr(status), where) == 0 {
		e.name = text(uintptr(d.out[3]))
	}
	if d.out[3] = 0; d.errorString.call(uintptr(status), where) == 0 {
		e.text = text(uintptr(d.out[3]))
	}
	return e
}

// get calls an entry point that writes its result through its first argument.
func (d *driver) get(s symbol, args ...uintptr) (uint64, error) {
	d.out[0] = 0
	err := d.do(s, append([]uintptr{uintptr(unsafe.Pointer(&d.out[0]))}, args...)...)
	return d.out[0], err
}

// handle is get for a result that is a handle or an address.
func (d *driver) handle(s symbol, args ...uintptr) (uintptr, error) {
	v, err := d.get(s, args...)
	return uintptr(v), err
}

// pinned is host memory that the device copies from and to by itself.
func (d *driver) pinned(bytes int) ([]byte, error) {
	p, err := d.handle(d.hostAlloc, uintptr(bytes), 0)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), bytes), nil
}

// Flags of the driver.
const (
	streamNonBlocking = 1 // the default stream does not order it
	registerReadOnly  = 8
)

// Attributes of a device.
const (
	attributeMajor          = 75 // compute capability
	attributeMinor          = 76
	attributeMultiprocessor = 16
)
