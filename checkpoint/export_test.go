package checkpoint

import (
	"errors"
	"os"
)

// WithFree makes a write believe that the disk has so many bytes free.
func (o WriteOptions) WithFree(n int64) WriteOptions {
	sys := o.real()
	sys.free = func(string) (int64, error) { return n, nil }
	o.system = &sys
	return o
}

// WithCopy replaces the copying of ranges.
func (o WriteOptions) WithCopy(f func(dst, src *os.File, dstOff, srcOff, n int64) (int64, error)) WriteOptions {
	sys := o.real()
	sys.copy = f
	o.system = &sys
	return o
}

// WithoutKernelCopy forces the path through a buffer.
func (o WriteOptions) WithoutKernelCopy() WriteOptions {
	return o.WithCopy(func(_, _ *os.File, _, _, _ int64) (int64, error) { return 0, errors.ErrUnsupported })
}

func (o WriteOptions) real() system {
	if o.system != nil {
		return *o.system
	}
	return system{free: freeSpace, copy: copyInKernel}
}

// ParseIndex parses an index and writes it again.
func ParseIndex(raw []byte) ([]byte, map[string]string, error) {
	x, err := parseIndex(raw, "index.json", ".safetensors")
	if err != nil {
		return nil, nil, err
	}
	again, err := x.encode()
	return again, x.files, err
}
