package eval

import (
	"math"
	"math/bits"
)

// Random is Python's random.Random with an integer seed: the Mersenne Twister
// MT19937 (Matsumoto and Nishimura 1998) and CPython's ways of drawing from it.
// Few-shot examples and bootstrapped errors are drawn with it, so that they are
// the harness's own. It is not safe for concurrent use.
type Random struct {
	state [mtSize]uint32
	next  int
}

const (
	mtSize   = 624
	mtShift  = 397
	mtMatrix = 0x9908b0df
	mtUpper  = 0x80000000
	mtLower  = 0x7fffffff
)

// NewRandom is random.Random(seed).
func NewRandom(seed uint64) *Random {
	key := []uint32{uint32(seed)}
	if high := uint32(seed >> 32); high != 0 {
		key = append(key, high)
	}
	r := &Random{}
	r.seedByArray(key)
	return r
}

func (r *Random) seed(s uint32) {
	r.state[0] = s
	for i := uint32(1); i < mtSize; i++ {
		before := r.state[i-1]
		r.state[i] = 1812433253*(before^before>>30) + i
	}
	r.next = mtSize
}

// seedByArray is the generator's init_by_array.
func (r *Random) seedByArray(key []uint32) {
	r.seed(19650218)
	i, j := 1, 0
	for range max(mtSize, len(key)) {
		before := r.state[i-1]
		r.state[i] = (r.state[i] ^ (before^before>>30)*1664525) + key[j] + uint32(j)
		if i++; i == mtSize {
			r.state[0], i = r.state[mtSize-1], 1
		}
		j = (j + 1) % len(key)
	}
	for range mtSize - 1 {
		before := r.state[i-1]
		r.state[i] = (r.state[i] ^ (before^before>>30)*1566083941) - uint32(i)
		if i++; i == mtSize {
			r.state[0], i = r.state[mtSize-1], 1
		}
	}
	r.state[0] = mtUpper
}

func (r *Random) refill() {
	s := &r.state
	for i := range s {
		y := s[i]&mtUpper | s[(i+1)%mtSize]&mtLower
		s[i] = s[(i+mtShift)%mtSize] ^ y>>1 ^ -(y&1)&mtMatrix
	}
	r.next = 0
}

func (r *Random) uint32() uint32 {
	if r.next == mtSize {
		r.refill()
	}
	y := r.state[r.next]
	r.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// Float64 is random(): 53 bits in [0, 1).
func (r *Random) Float64() float64 {
	a, b := r.uint32()>>5, r.uint32()>>6
	return (float64(a)*(1<<26) + float64(b)) / (1 << 53)
}

// below is _randbelow(n) for n of at most 32 bits.
func (r *Random) below(n int) int {
	if n <= 0 {
		return 0
	}
	width := bits.Len32(uint32(n))
	for {
		if v := int(r.uint32() >> (32 - width)); v < n {
			return v
		}
	}
}

// Shuffle is shuffle(): swap exchanges elements i and j of n.
func (r *Random) Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, r.below(i+1))
	}
}

// Sample is sample(range(n), k): k different indices. k must not exceed n.
func (r *Random) Sample(n, k int) []int {
	out := make([]int, 0, k)
	if n <= sampleSetSize(k) {
		pool := make([]int, n)
		for i := range pool {
			pool[i] = i
		}
		for i := range k {
			j := r.below(n - i)
			out = append(out, pool[j])
			pool[j] = pool[n-i-1]
		}
		return out
	}
	seen := make(map[int]bool, k)
	for range k {
		j := r.below(n)
		for seen[j] {
			j = r.below(n)
		}
		seen[j] = true
		out = append(out, j)
	}
	return out
}

// sampleSetSize is where CPython goes from a pool to a set of those drawn.
func sampleSetSize(k int) int {
	size := 21
	if k > 5 {
		size += int(math.Pow(4, math.Ceil(math.Log(float64(k*3))/math.Log(4))))
	}
	return size
}

// choice is one draw of choices(): an index in [0, n).
func (r *Random) choice(n int) int { return int(r.Float64() * float64(n)) }
