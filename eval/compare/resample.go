package compare

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// counts are of documents that are right or wrong: that both models have right, or
// one alone.
type counts struct{ documents, both, onlyA, onlyB int }

// count counts; ok is false where values are other than right and wrong.
func count(set []Pair) (c counts, ok bool) {
	c.documents = len(set)
	for _, p := range set {
		if p.Weight != 1 || p.A != 0 && p.A != 1 || p.B != 0 && p.B != 1 {
			return c, false
		}
		switch {
		case p.A > p.B:
			c.onlyA++
		case p.B > p.A:
			c.onlyB++
		case p.A == 1:
			c.both++
		}
	}
	return c, true
}

// resampling gives means of documents drawn again, with replacement, for both models
// alike. Of what is right or wrong only counts matter, and are drawn as such: of
// fourteen thousand documents that is a thousand times less work.
func resampling(random *rand.Rand, set []Pair) func() (a, b float64) {
	c, ok := count(set)
	if !ok {
		return func() (a, b float64) {
			var sa, sb, w float64
			for range set {
				p := &set[random.IntN(len(set))]
				sa, sb, w = sa+p.A, sb+p.B, w+p.Weight
			}
			return sa / w, sb / w
		}
	}
	n := float64(c.documents)
	return func() (a, b float64) {
		// A multinomial draw, one kind after the other of what is left.
		onlyA := binomial(random, c.documents, float64(c.onlyA)/n)
		onlyB := binomial(random, c.documents-onlyA, share(c.onlyB, c.documents-c.onlyA))
		both := binomial(random, c.documents-onlyA-onlyB, share(c.both, c.documents-c.onlyA-c.onlyB))
		return float64(both+onlyA) / n, float64(both+onlyB) / n
	}
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// binomial draws how many of n are hit with probability p each: one by one where few
// are expected, else by transformed rejection (BTRS of Hörmann, "The generation of
// binomial random variates", 1993).
func binomial(random *rand.Rand, n int, p float64) int {
	switch {
	case p > .5:
		return n - binomial(random, n, 1-p)
	case float64(n)*p < 10:
		return rarely(random, n, p)
	}
	lgamma := func(k float64) float64 { v, _ := math.Lgamma(k + 1); return v }
	N := float64(n)
	deviation := math.Sqrt(N * p * (1 - p))
	b := 1.15 + 2.53*deviation
	a := -.0873 + .0248*b + .01*p
	c, vr, alpha := N*p+.5, .92-4.2/b, (2.83+5.1/b)*deviation
	mode := math.Floor((N + 1) * p)
	top := lgamma(mode) + lgamma(N-mode)
	for {
		u, v := random.Float64()-.5, random.Float64()
		us := .5 - math.Abs(u)
		k := math.Floor((2*a/us+b)*u + c)
		if us >= .07 && v <= vr {
			return int(k)
		}
		if k < 0 || k > N {
			continue
		}
		if math.Log(v*alpha/(a/(us*us)+b)) <= top-lgamma(k)-lgamma(N-k)+(k-mode)*math.Log(p/(1-p)) {
			return int(k)
		}
	}
}

// rarely jumps from hit to hit, which lie geometrically apart.
func rarely(random *rand.Rand, n int, p float64) (hits int) {
	if p <= 0 {
		return 0
	}
	miss := math.Log1p(-p)
	for at := 0; ; hits++ {
		jump := math.Floor(math.Log(1-random.Float64())/miss) + 1
		if jump > float64(n-at) {
			return hits
		}
		at += int(jump)
	}
}

// Holm corrects the p values of several comparisons for their number (Holm, "A simple
// sequentially rejective multiple test procedure", 1979): below .05 are those that
// differ with at most one chance in twenty that any of them is wrong. NaN is no
// comparison.
func Holm(p []float64) []float64 {
	out := slices.Clone(p)
	var order []int
	for i, v := range p {
		if !math.IsNaN(v) {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(p[i], p[j]) })
	largest := 0.
	for rank, i := range order {
		largest = max(largest, min(1, p[i]*float64(len(order)-rank)))
		out[i] = largest
	}
	return out
}
