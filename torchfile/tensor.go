package torchfile

import (
	"fmt"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/safetensors"
)

// Tensor is a tensor of a file. Offset is where its first element lies in the
// file, Bytes what its elements take row by row, which is what they take in the
// file only if InPlace.
type Tensor struct {
	safetensors.Tensor
	stride []int64 // bytes; nil where the elements lie row by row
	span   int64   // bytes from the first element to the end of the last
	swap   int     // bytes to turn around in each number, 0 or 1 for none
}

// InPlace says whether the file holds the tensor's bytes row by row, least
// significant byte first, from Offset on. What is not, a transposed view for
// one, is put in order by File.Data and File.Read.
func (t *Tensor) InPlace() bool { return t.stride == nil && t.swap <= 1 }

// place checks a description against where its storage lies in the file.
func (d *described) place(name string, at Storage, bigEndian bool) (Tensor, error) {
	fail := func(format string, args ...any) (Tensor, error) {
		return Tensor{}, &FormatError{Tensor: name, Offset: at.Offset, Problem: fmt.Sprintf(format, args...)}
	}
	size := int64(d.dtype.Size())
	elements, last := int64(1), d.offset
	shape := make([]int, len(d.shape))
	if len(d.stride) != len(d.shape) {
		return fail("shape %v and strides %v do not match", d.shape, d.stride)
	}
	for i, dim := range d.shape {
		switch step := d.stride[i]; {
		case dim < 0 || step < 0 || dim > math.MaxInt:
			return fail("shape %v, strides %v: a negative number", d.shape, d.stride)
		case dim > 0 && (elements > math.MaxInt64/16/dim || dim > 1 && step > (math.MaxInt64/16-last)/(dim-1)):
			return fail("shape %v, strides %v overflow", d.shape, d.stride)
		case dim > 0:
			last += (dim - 1) * step
		}
		elements *= dim
		shape[i] = int(dim)
	}
	if d.offset < 0 || elements > 0 && last >= at.Bytes/size {
		return fail("element %d is wanted of a storage (%q) that holds %d", last, d.storage.key, at.Bytes/size)
	}
	if elements > at.Bytes/size {
		return Tensor{}, &FormatError{Tensor: name, Offset: at.Offset, Remedy: saveAgain,
			Problem: fmt.Sprintf("%v repeats the elements of a storage that holds %d", d.shape, at.Bytes/size)}
	}
	t := Tensor{Tensor: safetensors.Tensor{Name: name, DType: d.dtype, Shape: shape, Offset: at.Offset + d.offset*size, Bytes: elements * size}}
	if elements == 0 {
		t.Offset = at.Offset
		return t, nil
	}
	t.span = (last - d.offset + 1) * size
	if bigEndian {
		t.swap = int(size)
		if d.dtype == safetensors.C64 {
			t.swap = 4 // the parts of a complex number
		}
	}
	if !rowByRow(d.shape, d.stride) {
		t.stride = make([]int64, len(d.stride))
		for i, step := range d.stride {
			t.stride[i] = step * size
		}
	}
	return t, nil
}

// rowByRow says whether elements follow each other without gaps. The stride of
// a dimension of one element says nothing.
func rowByRow(shape, stride []int64) bool {
	want := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 && stride[i] != want {
			return false
		}
		want *= shape[i]
	}
	return true
}

// gather writes the bytes of a tensor from a byte on, in order, to dst. Src holds
// the file's bytes from the tensor's Offset on; from and the length of dst are
// multiples of the element's size.
func (t *Tensor) gather(dst, src []byte, from int64) {
	if t.stride == nil {
		copy(dst, src[from:])
	} else {
		t.gatherStrided(dst, src, from)
	}
	if t.swap > 1 {
		for i := 0; i < len(dst); i += t.swap {
			slices.Reverse(dst[i : i+t.swap])
		}
	}
}

// gatherStrided goes through the last dimension in the inner loop.
func (t *Tensor) gatherStrided(dst, src []byte, from int64) {
	size := int64(t.DType.Size())
	inner := len(t.Shape) - 1
	row, step := int64(t.Shape[inner]), t.stride[inner]
	n := from / size
	for len(dst) > 0 {
		at, first, rest := int64(0), n%row, n/row
		for i := inner - 1; i >= 0; i-- {
			at += rest % int64(t.Shape[i]) * t.stride[i]
			rest /= int64(t.Shape[i])
		}
		count := min(row-first, int64(len(dst))/size)
		at += first * step
		if step == size {
			copy(dst[:count*size], src[at:])
		} else {
			for i := range count {
				copy(dst[i*size:(i+1)*size], src[at+i*step:])
			}
		}
		dst = dst[count*size:]
		n += count
	}
}
