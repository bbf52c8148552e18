package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/model"
)

// Options choose what is measured.
type Options struct {
	Shape  string        // one of Shapes; "" means the first
	What   string        // one of Whats; "" means the first
	Tokens int           // length of the sequence; 0 means 512
	Rounds int           // pairs of measurements after one that warms up; 0 means 5
	Memory int64         // bytes that weights may take; 0 means no bound
	Seed   uint64        // of weights and tokens
	Engine engine.Engine // what is measured; the caller's

	Streaming Streaming // for "score" and "curve"
}

// Result is one measurement. Rates are medians over the rounds.
type Result struct {
	What            string  `json:"what"`
	Shape           string  `json:"shape"`
	Device          string  `json:"device"`
	DType           string  `json:"dtype"`
	Provider        string  `json:"provider"`
	Threads         int     `json:"threads"`
	Tokens          int     `json:"tokens"`
	Rounds          int     `json:"rounds"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	// GEMMGFLOPS is the rate of the linear maps and the head, two operations a
	// weight and token, over the whole time; attention is not counted.
	GEMMGFLOPS float64 `json:"gemm_gflops"`
	// LimitTokensPerSecond is the rate at which the products alone pass: same
	// shapes, same provider, dense, untiled, weights rotating through memory,
	// rows split over the workers. 0 when the engine cannot tell.
	LimitTokensPerSecond float64 `json:"limit_tokens_per_second"`
	// Ratio is the median over rounds of limit time / measured time, the two
	// taken one after the other; 0 without a limit.
	Ratio float64 `json:"ratio"`
	// Spread is (slowest - fastest) / median of the measured times.
	Spread float64 `json:"spread"`

	// Of what streams: the peak of the process's memory, bytes read, passes over
	// the weights, and the two times the limit is the larger of.
	Peak           int64   `json:"peak_bytes,omitempty"`
	Read           int64   `json:"read_bytes,omitempty"`
	Passes         int     `json:"passes,omitempty"`
	DiskSeconds    float64 `json:"disk_seconds,omitempty"`
	ProductSeconds float64 `json:"product_seconds,omitempty"`
}

// limiter prepares the products of one forward pass and returns what computes
// them once, nothing else, and says how long that took.
type limiter func(list []cpu.Product) (run func() time.Duration)

// limiterOf returns the limiter of an engine, nil when it has none.
func limiterOf(e engine.Engine) limiter {
	c, ok := e.(*cpu.Engine)
	if !ok {
		return nil
	}
	return func(list []cpu.Product) func() time.Duration { return c.NewProducts(list).Run }
}

// Whats lists what can be measured.
func Whats() []string {
	return []string{"forward", whatScore, whatCurve, whatMetrics, whatCKA, whatPPL, whatTail}
}

// Run measures and passes on every result as it comes.
func Run(ctx context.Context, opt Options, emit func(Result)) error {
	opt, s, err := opt.withDefaults()
	if err != nil {
		return err
	}
	if opt.What == whatScore || opt.What == whatCurve {
		r, err := opt.stream(ctx, s)
		if err == nil {
			emit(r)
		}
		return err
	}
	m, err := synthetic(s, opt)
	if err != nil {
		return err
	}
	measure := func(ctx context.Context, m *model.Model) (Result, error) {
		return opt.forward(ctx, m, limiterOf(opt.Engine))
	}
	if slices.Contains([]string{whatMetrics, whatCKA, whatPPL, whatTail}, opt.What) {
		measure = opt.passes
	}
	r, err := measure(ctx, m)
	if err != nil {
		return err
	}
	emit(r)
	return nil
}

func (opt Options) withDefaults() (Options, shape, error) {
	if opt.Shape == "" {
		opt.Shape = Shapes()[0]
	}
	if opt.What == "" {
		opt.What = Whats()[0]
	}
	if opt.Tokens == 0 {
		opt.Tokens = 512
	}
	if opt.Rounds == 0 {
		opt.Rounds = 5
	}
	if opt.Tokens < 2 || opt.Rounds < 1 {
		return opt, shape{}, fmt.Errorf("%d tokens in %d rounds: want at least 2 tokens and 1 round", opt.Tokens, opt.Rounds)
	}
	if !slices.Contains(Whats(), opt.What) {
		return opt, shape{}, fmt.Errorf("nothing called %q to measure; choose from %s", opt.What, strings.Join(Whats(), ", "))
	}
	s, err := shapeOf(opt.Shape)
	return opt, s, err
}

// forward measures one sequence through all layers and the head, in pairs with
// the limit, which may be nil: what disturbs the machine disturbs both.
func (opt Options) forward(ctx context.Context, m *model.Model, limit limiter) (Result, error) {
	// No bound for the runner: the check in synthetic has seen to memory, and
	// layers made again in every pass would be measured with it.
	runner := forest.New(m, opt.Engine, forest.Options{BatchTokens: opt.Tokens})
	defer runner.Close()
	seq := [][]int32{tokens(opt, m.Spec.Vocab)}
	list := products(m.Spec, opt.Tokens)
	alone := func() time.Duration { return 0 }
	if limit != nil {
		alone = limit(list)
	}

	var took, limits, ratios []float64
	for round := range opt.Rounds + 1 {
		start := time.Now()
		err := runner.LogProbs(ctx, nil, seq, func(int, []engine.TokenScore) error { return nil })
		if err != nil {
			return Result{}, err
		}
		forward := time.Since(start).Seconds()
		products := alone().Seconds()
		if round > 0 { // the first pair warms up
			took, limits, ratios = append(took, forward), append(limits, products), append(ratios, products/forward)
		}
	}
	r := opt.result(list, median(took))
	r.Spread = (slices.Max(took) - slices.Min(took)) / median(took)
	if limit != nil {
		r.LimitTokensPerSecond, r.Ratio = float64(opt.Tokens)/median(limits), median(ratios)
	}
	return r, nil
}

func (opt Options) result(list []cpu.Product, took float64) Result {
	info := opt.Engine.Info()
	return Result{
		What: opt.What, Shape: opt.Shape, Tokens: opt.Tokens, Rounds: opt.Rounds,
		Device: info.Device, DType: string(info.DType), Provider: info.Provider, Threads: info.Threads,
		TokensPerSecond: float64(opt.Tokens) / took,
		GEMMGFLOPS:      operations(list) / took / 1e9,
	}
}

func tokens(opt Options, vocab int) []int32 {
	random := rand.New(rand.NewPCG(opt.Seed, 1))
	ids := make([]int32, opt.Tokens)
	for i := range ids {
		ids[i] = random.Int32N(int32(vocab))
	}
	return ids
}

// products lists the matrix products of a forward pass over n tokens whose
// log-probabilities are wanted: every token but the last meets the head.
func products(s *model.Spec, n int) []cpu.Product {
	var ps []cpu.Product
	for l := range s.Layers {
		for _, w := range s.LayerWeights(l) {
			if len(w.Shape) == 2 {
				ps = append(ps, cpu.Product{M: n, N: w.Shape[0], K: w.Shape[1]})
			}
		}
	}
	return append(ps, cpu.Product{M: n - 1, N: s.Vocab, K: s.Hidden})
}

func operations(ps []cpu.Product) float64 {
	var n float64
	for _, p := range ps {
		n += 2 * float64(p.M) * float64(p.N) * float64(p.K)
	}
	return n
}

// median sorts xs, which is not empty.
func median(xs []float64) float64 {
	slices.Sort(xs)
	n := len(xs)
	return (xs[(n-1)/2] + xs[n/2]) / 2
}
