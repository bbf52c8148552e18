package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Head is what stands before the tensors: keys and descriptions in the order
// given, padded to the alignment. Tensors get their offsets, one behind the other,
// each aligned; size is that of the whole file, whose end is padded too. It fails
// for values of types that the format does not have and for tensors whose rows are
// not whole blocks of their type.
func Head(keys []Key, tensors []Tensor) (head []byte, size int64, err error) {
	w := &writer{}
	w.out = append(w.out, magic...)
	w.uint32(version)
	w.uint64(uint64(len(tensors)))
	w.uint64(uint64(len(keys)))
	for _, k := range keys {
		w.text(k.Name)
		if err := w.value(k.Value); err != nil {
			return nil, 0, fmt.Errorf("key %q: %w", k.Name, err)
		}
	}
	at := int64(0)
	for i := range tensors {
		t := &tensors[i]
		if t.Bytes, err = t.Type.Bytes(t.Shape); err != nil {
			return nil, 0, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		t.Offset = at
		w.tensor(t)
		at = align(at+t.Bytes, DefaultAlignment)
	}
	for len(w.out)%DefaultAlignment != 0 {
		w.out = append(w.out, 0)
	}
	for i := range tensors {
		tensors[i].Offset += int64(len(w.out))
	}
	return w.out, int64(len(w.out)) + at, nil
}

type writer struct{ out []byte }

func (w *writer) uint32(v uint32) { w.out = binary.LittleEndian.AppendUint32(w.out, v) }
func (w *writer) uint64(v uint64) { w.out = binary.LittleEndian.AppendUint64(w.out, v) }

func (w *writer) text(s string) {
	w.uint64(uint64(len(s)))
	w.out = append(w.out, s...)
}

func (w *writer) tensor(t *Tensor) {
	w.text(t.Name)
	w.uint32(uint32(len(t.Shape)))
	for i := range t.Shape {
		w.uint64(uint64(t.Shape[len(t.Shape)-1-i]))
	}
	w.uint32(uint32(t.Type))
	w.uint64(uint64(t.Offset))
}

// value writes the type of a value and the value.
func (w *writer) value(v any) error {
	switch v := v.(type) {
	case uint32:
		w.uint32(uint32(kindUint32))
		w.uint32(v)
	case int32:
		w.uint32(uint32(kindInt32))
		w.uint32(uint32(v))
	case uint64:
		w.uint32(uint32(kindUint64))
		w.uint64(v)
	case float32:
		w.uint32(uint32(kindFloat32))
		w.uint32(math.Float32bits(v))
	case bool:
		w.uint32(uint32(kindBool))
		w.bool(v)
	case string:
		w.uint32(uint32(kindString))
		w.text(v)
	case []string:
		w.list(kindString, len(v))
		for _, s := range v {
			w.text(s)
		}
	case []int32:
		w.list(kindInt32, len(v))
		for _, n := range v {
			w.uint32(uint32(n))
		}
	case []float32:
		w.list(kindFloat32, len(v))
		for _, n := range v {
			w.uint32(math.Float32bits(n))
		}
	case []bool:
		w.list(kindBool, len(v))
		for _, b := range v {
			w.bool(b)
		}
	default:
		return fmt.Errorf("a value of type %T is not written", v)
	}
	return nil
}

func (w *writer) bool(v bool) {
	b := byte(0)
	if v {
		b = 1
	}
	w.out = append(w.out, b)
}

func (w *writer) list(of kind, n int) {
	w.uint32(uint32(kindList))
	w.uint32(uint32(of))
	w.uint64(uint64(n))
}
