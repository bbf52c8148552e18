package score

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/model"
)

// Ranking is what a metric says about a model.
type Ranking struct {
	Metric    string
	Direction Direction
	// Scores has one score a layer [L], NaN where it is undefined: layers that
	// are not in Options.Layers, and the last layer under bi-global.
	Scores []float64
	// Order lists the layers from the first to drop to the last, without the
	// protected ones. Equal scores: the later layer drops first. Layers that
	// are present but have no score drop last.
	Order     []int
	Protected []int // ascending

	Block  *Block      // angular: every block of Options.Block layers; Scores is undefined and Order the best block
	Matrix [][]float64 // angular, cka: every two depths, [L+1][L+1] for L layers run; nil where not asked for
	Losses []float64   // greedy-ppl: mean loss after each round, in Order's order
}

// Options say what is scored, and on what.
type Options struct {
	Metrics []string // names, each once; rankings come back in this order
	// Layers is the kept list of a pruning to score in place of the whole model
	// (nil); ascending original indices.
	Layers    []int
	Protect   []int     // layers that never drop, whatever their score
	Seed      uint64    // of random
	Sequences [][]int32 // token ids the model runs on; needed by metrics with NeedsData
	Batch     int       // sequences of a gradient batch of taylor and taylor-l2; 0: 1
	Block     int       // layers of angular's blocks; 0: a quarter of the layers, at least one
	Rounds    int       // of greedy-ppl; 0: until one layer is left
	Rows      Rows      // of cka; "": tokens
	Matrix    bool      // cka compares every two depths, not only neighbours
	Store     *Store    // keeps finished work for the next run; nil keeps nothing
}

// Rank scores the layers of m: it is Price and Run for callers who want neither a
// price nor progress. Metrics that need the same pass share it: those of hidden
// states, ppl and kl run the sequences in one pass, magnitude-l1 and magnitude-l2
// read the weights once; greedy-ppl takes a pass a round. run, a Runner of m, may
// be nil when no metric needs data. The same input gives the same scores to the
// last bit, whatever the runner's batch size or memory, the number of CPUs, and
// whether part of it was kept in the store.
//
// Errors: an unknown or repeated metric, layers out of range, no sequences
// where a metric needs them, NaN or Inf in weights or hidden states (named by
// tensor or layer), and what reading and running the model fail with.
func Rank(ctx context.Context, m *model.Model, run *forest.Runner, opt Options) ([]Ranking, error) {
	p, err := Price(m, run, opt)
	if err != nil {
		return nil, err
	}
	return p.Run(ctx, forest.RunOptions{})
}

// request is a validated call of Rank.
type request struct {
	m       *model.Model
	run     *forest.Runner
	metrics []Metric
	layers  []int // present ones, ascending
	protect []int // ascending
	opt     Options
}

func newRequest(m *model.Model, run *forest.Runner, opt Options, metrics []Metric) (*request, error) {
	r := &request{m: m, run: run, opt: opt, metrics: metrics}
	if err := r.setLayers(opt); err != nil {
		return nil, err
	}
	if err := r.checkEnough(); err != nil {
		return nil, err
	}
	if err := r.checkData(); err != nil {
		return nil, err
	}
	if r.opt.Store == nil {
		r.opt.Store = NewStore()
	}
	return r, nil
}

func (r *request) setLayers(opt Options) error {
	r.layers = opt.Layers
	if opt.Layers == nil {
		for i := range r.m.Spec.Layers {
			r.layers = append(r.layers, i)
		}
	}
	if len(r.layers) == 0 {
		return fmt.Errorf("the list of layers to score is empty")
	}
	if err := r.checkIndices("layers to score", r.layers); err != nil {
		return err
	}
	if !slices.IsSorted(r.layers) {
		return fmt.Errorf("layers to score %v: want them in ascending order", r.layers)
	}
	r.protect = slices.Sorted(slices.Values(opt.Protect))
	return r.checkIndices("protected layers", r.protect)
}

// FewLayersError says which metrics score no layer of a list because it has only one.
type FewLayersError struct{ Metrics []string }

func (e *FewLayersError) Error() string {
	return strings.Join(e.Metrics, ", ") + ": there is 1 layer, and at least 2 are needed"
}

// checkEnough wants something left where a metric leaves a layer out, or compares
// what a block of layers does with what all do.
func (r *request) checkEnough() error {
	var names []string
	for _, metric := range r.metrics {
		if len(r.layers) < 2 && (metric.Removes || metric.Name == Angular) {
			names = append(names, metric.Name)
		}
	}
	if names == nil {
		return nil
	}
	return &FewLayersError{names}
}

func (r *request) checkIndices(what string, layers []int) error {
	seen := make([]bool, r.m.Spec.Layers)
	for _, l := range layers {
		if l < 0 || l >= len(seen) {
			return fmt.Errorf("%s: layer %d does not exist: the model has layers 0 to %d", what, l, len(seen)-1)
		}
		if seen[l] {
			return fmt.Errorf("%s: layer %d is listed twice", what, l)
		}
		seen[l] = true
	}
	return nil
}

func (r *request) checkData() error {
	for _, metric := range r.metrics {
		if !metric.NeedsData {
			continue
		}
		if len(r.opt.Sequences) == 0 {
			return fmt.Errorf("metric %q runs the model on data, and there are no sequences; give calibration data", metric.Name)
		}
		if r.run == nil {
			return fmt.Errorf("metric %q runs the model, and no engine was given", metric.Name)
		}
	}
	return nil
}

func (r *request) needsData() bool {
	return slices.ContainsFunc(r.metrics, func(m Metric) bool { return m.NeedsData })
}

// order sorts the layers that may drop: best to drop first, the later of two
// equal ones first, those without a score last (again the later first).
func order(scores []float64, d Direction, layers, protect []int) []int {
	free := make([]int, 0, len(layers))
	for _, l := range layers {
		if !slices.Contains(protect, l) {
			free = append(free, l)
		}
	}
	slices.SortFunc(free, func(a, b int) int {
		x, y := scores[a], scores[b]
		switch nx, ny := math.IsNaN(x), math.IsNaN(y); {
		case nx && !ny:
			return 1
		case ny && !nx:
			return -1
		case nx && ny || x == y:
			return b - a
		}
		if (x < y) == (d == Lowest) {
			return -1
		}
		return 1
	})
	return free
}
