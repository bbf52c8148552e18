package digest

import (
	"cmp"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/report"
)

// Order is the order in which a trial's metric drops layers; nil where nothing orders
// them.
func (t *Trial) Order() []int {
	switch s := t.Score.(type) {
	case report.Ranking:
		return s.Order
	case report.Blocks:
		return s.Order
	}
	return nil
}

// Jaccard is the share of layers that both trials drop, of those that one does at
// least; NaN where neither drops any.
func Jaccard(a, b []int) float64 {
	both := 0
	for _, l := range a {
		if slices.Contains(b, l) {
			both++
		}
	}
	all := len(a) + len(b) - both
	if all == 0 {
		return math.NaN()
	}
	return float64(both) / float64(all)
}

// RankCorrelation is Spearman's, of two orders of the same layers; NaN where they are
// of different ones.
func RankCorrelation(a, b []int) float64 {
	n := len(a)
	if n < 2 || n != len(b) {
		return math.NaN()
	}
	place := map[int]int{}
	for i, l := range b {
		place[l] = i
	}
	sum := 0.
	for i, l := range a {
		j, ok := place[l]
		if !ok {
			return math.NaN()
		}
		sum += float64((i - j) * (i - j))
	}
	return 1 - 6*sum/float64(n*(n*n-1))
}

// Pareto are the places of the points that no other one beats: none has at most its
// cost and more worth, or less cost and as much. They come by cost.
func Pareto(cost, worth []float64) (front []int) {
	var order []int
	for i := range cost {
		if !math.IsNaN(cost[i]) && !math.IsNaN(worth[i]) {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(cost[i], cost[j]), cmp.Compare(worth[j], worth[i]))
	})
	best := math.Inf(-1)
	for _, i := range order {
		if worth[i] > best {
			front, best = append(front, i), worth[i]
		}
	}
	return front
}
