package heal

import "math/rand/v2"

// Order says which samples each step takes. It depends on the step alone, so
// that a resumed run needs no state for it.
type Order struct {
	samples, batch int
	seed           uint64
	shuffle        bool

	epoch int // whose permutation is kept
	perm  []int
}

// Order is that of a run with these options over so many samples.
func (o *Options) Order(samples int) *Order {
	return &Order{samples: samples, batch: o.BatchSize, seed: o.Seed, shuffle: o.Shuffle}
}

// perEpoch is the number of steps that go once through all samples. The last
// one takes what is left.
func (o *Order) perEpoch() int { return (o.samples + o.batch - 1) / o.batch }

// Step returns the numbers of the samples of a step, counted from 0. They are
// valid until the next call.
func (o *Order) Step(n int) []int {
	per := o.perEpoch()
	if epoch := n / per; o.perm == nil || epoch != o.epoch {
		o.epoch, o.perm = epoch, o.permutation(epoch)
	}
	lo := n % per * o.batch
	return o.perm[lo:min(lo+o.batch, o.samples)]
}

func (o *Order) permutation(epoch int) []int {
	perm := make([]int, o.samples)
	for i := range perm {
		perm[i] = i
	}
	if o.shuffle {
		r := rand.New(rand.NewPCG(o.seed, uint64(epoch)))
		r.Shuffle(len(perm), func(i, j int) { perm[i], perm[j] = perm[j], perm[i] })
	}
	return perm
}
