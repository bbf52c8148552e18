package eval

import (
	"math"
	"sync"
)

// aggregate is what documents' values come to.
func aggregate(how string, values []Value) float64 {
	var sum, weight float64
	for _, v := range values {
		sum += v.Value
		weight += v.Weight
	}
	switch how {
	case perplexity:
		return math.Exp(-sum / weight)
	case weightedPerplexity:
		return math.Exp(-sum / weight)
	case bitsPerByte:
		return -sum / weight / math.Ln2
	}
	return sum / weight
}

// stderr is the standard error of an aggregate: of a mean the sample's
// deviation over the root of n, of a perplexity the deviation over resamples
// with the harness's seeds. Others have none, as there.
func stderr(how string, values []Value, iterations int) float64 {
	switch {
	case len(values) < 2:
		return math.NaN()
	case how == mean:
		return deviation(plainValues(values)) / math.Sqrt(float64(len(values)))
	case how == perplexity && iterations > 0:
		return deviation(bootstrap(plainValues(values), iterations))
	}
	return math.NaN()
}

func plainValues(values []Value) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = v.Value
	}
	return out
}

// deviation is the sample standard deviation.
func deviation(xs []float64) float64 {
	var sum float64
	for _, x := range xs {
		sum += x
	}
	m := sum / float64(len(xs))
	var squares float64
	for _, x := range xs {
		squares += (x - m) * (x - m)
	}
	return math.Sqrt(squares / float64(len(xs)-1))
}

// bootstrapChunk is how many resamples one seed gives.
const bootstrapChunk = 1000

// bootstrap is the perplexity of resamples: chunk i is drawn with seed i.
func bootstrap(values []float64, iterations int) []float64 {
	chunk := min(bootstrapChunk, iterations)
	out := make([]float64, iterations/chunk*chunk)
	var wait sync.WaitGroup
	slots := make(chan struct{}, bootstrapWorkers)
	for i := range iterations / chunk {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			resample(values, NewRandom(uint64(i)), out[i*chunk:(i+1)*chunk])
		})
	}
	wait.Wait()
	return out
}

// bootstrapWorkers bounds the chunks drawn at a time.
const bootstrapWorkers = 4

func resample(values []float64, random *Random, out []float64) {
	n := len(values)
	for i := range out {
		var sum float64
		for range n {
			sum += values[random.choice(n)]
		}
		out[i] = math.Exp(-sum / float64(n))
	}
}

// pooled is the standard error of the mean over tasks of these errors and sizes.
func pooled(errors []float64, sizes []int) float64 {
	var sum float64
	total := 0
	for i, e := range errors {
		n := float64(sizes[i])
		sum += (n - 1) * e * e * n
		total += sizes[i]
	}
	return math.Sqrt(sum / float64(total-len(errors)) / float64(total))
}
