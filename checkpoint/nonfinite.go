package checkpoint

import (
	"encoding/binary"

	"github.com/coppice-ml/coppice/safetensors"
)

// pattern finds values that are NaN or infinite eight bytes at a time. In every
// lane of a word, mask keeps the bits that are all ones in such a value, and add
// is their lowest bit: the sum reaches the lane's sign bit exactly when all were
// set, and never carries into the next lane.
type pattern struct {
	mask, add, top uint64
	width          int // bytes of a lane
}

// patternOf returns the pattern of a floating-point type.
func patternOf(d safetensors.DType) (pattern, bool) {
	var mask, low uint64
	switch d {
	case safetensors.F16:
		mask, low = 0x7c00, 0x0400
	case safetensors.BF16:
		mask, low = 0x7f80, 0x0080
	case safetensors.F32:
		mask, low = 0x7f800000, 0x00800000
	case safetensors.F64:
		mask, low = 0x7ff0<<48, 0x0010<<48
	case safetensors.F8_E5M2:
		mask, low = 0x7c, 0x04
	case safetensors.F8_E4M3: // no infinity, and one NaN
		mask, low = 0x7f, 0x01
	default:
		return pattern{}, false
	}
	width := d.Size()
	p := pattern{width: width}
	for lane := 0; lane < 8; lane += width {
		p.mask |= mask << (8 * lane)
		p.add |= low << (8 * lane)
		p.top |= 1 << (8*(lane+width) - 1)
	}
	return p, true
}

// count returns how many values are NaN or infinite, and which is the first
// (-1: none). Data holds whole values.
func (p pattern) count(data []byte) (n, first int64) {
	first = -1
	at := 0
	for ; len(data)-at >= 32; at += 32 {
		w := data[at : at+32 : at+32]
		a := binary.LittleEndian.Uint64(w[0:8])&p.mask + p.add
		b := binary.LittleEndian.Uint64(w[8:16])&p.mask + p.add
		c := binary.LittleEndian.Uint64(w[16:24])&p.mask + p.add
		d := binary.LittleEndian.Uint64(w[24:32])&p.mask + p.add
		if (a|b|c|d)&p.top != 0 {
			n, first = p.countSlow(data, at, at+32, n, first)
		}
	}
	return p.countSlow(data, at, len(data), n, first)
}

// countSlow adds the values of data[at:end], one at a time.
func (p pattern) countSlow(data []byte, at, end int, n, first int64) (int64, int64) {
	lane := p.top & -p.top // sign bit of the lowest lane
	low := lane<<1 - 1
	if p.width == 8 {
		low = ^uint64(0)
	}
	var word [8]byte
	for ; at < end; at += p.width {
		clear(word[:])
		copy(word[:], data[at:at+p.width])
		v := binary.LittleEndian.Uint64(word[:]) & low
		if (v&p.mask&low+p.add&low)&lane == 0 {
			continue
		}
		if n++; first < 0 {
			first = int64(at / p.width)
		}
	}
	return n, first
}
