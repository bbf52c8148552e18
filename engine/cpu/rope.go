package cpu

import "github.com/coppice-ml/coppice/engine/block"

// rotary applies the rotary embedding of a position to one head.
func (k *kernels) rotary(t *block.Rotary, head []float32, position int32) {
	cos, sin := t.At(position)
	if t.Interleaved {
		k.rotatePairs(head, cos, sin)
	} else {
		k.rotate(head[:t.Width], head[t.Width:], cos, sin)
	}
}

// rotaryBack undoes rotary; it is its transpose, and so its partner in a backward pass.
func (k *kernels) rotaryBack(t *block.Rotary, head []float32, position int32) {
	cos, sin := t.Back(position)
	if t.Interleaved {
		k.rotatePairs(head, cos, sin)
	} else {
		k.rotate(head[t.Width:], head[:t.Width], cos, sin)
	}
}
