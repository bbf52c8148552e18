// Package compare says whether two results differ by more than chance: paired
// differences of the same documents, McNemar's test and bootstrap confidence
// intervals, and a plain sentence.
//
// It knows numbers by document and nothing of models, tasks or files.
package compare

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// Pair is what two models made of one document, better or worse by size.
type Pair struct {
	A, B   float64
	Weight float64 // what a sum over documents is divided by; 1 of a mean
}

// Transform makes a metric of the weighted mean of documents' values.
type Transform func(mean float64) float64

// Mean leaves it as it is.
func Mean(mean float64) float64 { return mean }

// Perplexity is exp(-mean).
func Perplexity(mean float64) float64 { return math.Exp(-mean) }

// Bits is -mean / ln 2.
func Bits(mean float64) float64 { return -mean / math.Ln2 }

// Options say how intervals are drawn.
type Options struct {
	Resamples  int     // 0: 10000
	Confidence float64 // 0: 0.95
	Seed       uint64
}

func (o Options) defaults() Options {
	if o.Resamples == 0 {
		o.Resamples = 10000
	}
	if o.Confidence == 0 {
		o.Confidence = 0.95
	}
	return o
}

// Difference is B minus A.
type Difference struct {
	A, B       float64
	Difference float64
	Low, High  float64 // bounds of the confidence interval
	Documents  int

	// Of metrics that are right or wrong, else -1 and NaN.
	OnlyA, OnlyB int // documents that one model alone has right
	// P, two-sided, is McNemar's exact test of one set of documents. A mean of
	// several has a test of the mean itself, because counts that pool the sets would
	// let the largest decide: the share of random exchanges of the two models'
	// answers, document by document, that move the mean as far.
	P float64
}

// Significant says that the interval leaves zero out and, where there is a test,
// that it agrees: of few documents the bootstrap is too sure.
func (d Difference) Significant() bool {
	return (d.Low > 0 || d.High < 0) && (d.OnlyA < 0 || d.P < 0.05)
}

// Worse says that B is worse than A beyond chance.
func (d Difference) Worse(higherIsBetter bool) bool {
	return d.Significant() && (d.Difference > 0) != higherIsBetter
}

// Strata compares sets of documents, each a task: the metric is the mean of
// theirs, weighted (nil: one set, or equal weights). Documents are drawn again,
// with replacement, within each set and for both models alike; the interval
// holds the middle of the differences (the percentile bootstrap, Efron 1979).
func Strata(sets [][]Pair, weights []float64, transform Transform, opt Options) Difference {
	opt = opt.defaults()
	weights = normalized(weights, len(sets))
	d := Difference{OnlyA: -1, OnlyB: -1, P: math.NaN()}
	for i, set := range sets {
		a, b := means(set)
		d.A += weights[i] * transform(a)
		d.B += weights[i] * transform(b)
		d.Documents += len(set)
	}
	d.Difference = d.B - d.A
	d.Low, d.High = interval(sets, weights, transform, opt)
	d.test(sets, weights, opt)
	return d
}

func normalized(weights []float64, n int) []float64 {
	out := make([]float64, n)
	var sum float64
	for i := range out {
		out[i] = 1
		if weights != nil {
			out[i] = weights[i]
		}
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

func means(set []Pair) (a, b float64) {
	var sa, sb, w float64
	for _, p := range set {
		sa, sb, w = sa+p.A, sb+p.B, w+p.Weight
	}
	return sa / w, sb / w
}

// interval draws the bootstrap.
func interval(sets [][]Pair, weights []float64, transform Transform, opt Options) (low, high float64) {
	random := rand.New(rand.NewPCG(opt.Seed, 0x636f6d70617265))
	differences := make([]float64, opt.Resamples)
	for i, set := range sets {
		again := resampling(random, set)
		for r := range differences {
			a, b := again()
			differences[r] += weights[i] * (transform(b) - transform(a))
		}
	}
	slices.Sort(differences)
	tail := (1 - opt.Confidence) / 2
	return quantile(differences, tail), quantile(differences, 1-tail)
}

// quantile interpolates between sorted values.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// test fills in what documents that are right or wrong allow to say.
func (d *Difference) test(sets [][]Pair, weights []float64, opt Options) {
	onlyA, onlyB := make([]int, len(sets)), make([]int, len(sets))
	for i, set := range sets {
		c, ok := count(set)
		if !ok {
			return
		}
		onlyA[i], onlyB[i] = c.onlyA, c.onlyB
	}
	d.OnlyA, d.OnlyB = 0, 0
	for i := range sets {
		d.OnlyA, d.OnlyB = d.OnlyA+onlyA[i], d.OnlyB+onlyB[i]
	}
	if len(sets) == 1 {
		// McNemar: were the models equally good, each of these would be a fair coin.
		d.P = coin(min(d.OnlyA, d.OnlyB), d.OnlyA+d.OnlyB)
		return
	}
	discordant, each := make([]int, len(sets)), make([]float64, len(sets))
	for i, set := range sets {
		discordant[i], each[i] = onlyA[i]+onlyB[i], weights[i]/float64(max(1, len(set)))
	}
	d.P = exchange(discordant, each, math.Abs(d.Difference), opt)
}

// exchange is the stratified permutation test: the models' answers to each
// document change places or not, by a fair coin, within each set. Only documents
// that one alone has right matter; set i has so many of them, and one moves the
// mean by each[i]. The observed result counts as one of the exchanges.
func exchange(discordant []int, each []float64, observed float64, opt Options) float64 {
	random := rand.New(rand.NewPCG(opt.Seed, 0x65786368616e6765))
	as := 1
	for range opt.Resamples {
		var moved float64
		for i, n := range discordant {
			moved += each[i] * float64(2*heads(random, n)-n)
		}
		if math.Abs(moved) >= observed-1e-12 {
			as++
		}
	}
	return float64(as) / float64(opt.Resamples+1)
}

// heads throws n fair coins.
func heads(random *rand.Rand, n int) (up int) {
	for ; n >= 64; n -= 64 {
		up += bits.OnesCount64(random.Uint64())
	}
	return up + bits.OnesCount64(random.Uint64()>>(64-n))
}

// coin is the chance that n fair coins are split as unevenly as k to n-k or worse.
func coin(k, n int) float64 {
	if n == 0 || 2*k == n {
		return 1
	}
	top, _ := math.Lgamma(float64(n + 1))
	var p float64
	for i := 0; i <= k; i++ {
		heads, _ := math.Lgamma(float64(i + 1))
		tails, _ := math.Lgamma(float64(n - i + 1))
		p += math.Exp(top - heads - tails - float64(n)*math.Ln2)
	}
	return min(1, 2*p)
}

// Sentence says what a difference means.
func (d Difference) Sentence(what string, higherIsBetter bool) string {
	documents := fmt.Sprintf("%d documents", d.Documents)
	if d.Documents == 1 {
		documents = "1 document"
	}
	numbers := fmt.Sprintf("%.4g against %.4g, a difference of %+.4f, 95 %% interval %+.4f to %+.4f, %s", d.B, d.A, d.Difference, d.Low, d.High, documents)
	switch {
	case d.Difference == 0 && d.Low == 0 && d.High == 0:
		return fmt.Sprintf("%s: A and B gave the same results (%s).", what, documents)
	case !d.Significant():
		return fmt.Sprintf("%s: these documents cannot tell A and B apart (%s).", what, numbers)
	case d.Worse(higherIsBetter):
		return fmt.Sprintf("%s: B is worse than A (%s).", what, numbers)
	}
	return fmt.Sprintf("%s: B is better than A (%s).", what, numbers)
}
