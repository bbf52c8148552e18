package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
)

// Options choose what is measured.
type Options struct {
	Shape  Shape         // the zero one means the first of Shapes
	What   string        // one of Whats; "" means the first
	Tokens int           // length of the sequence, or of the context or prompts that decoding starts from; 0 means 512, of those 32
	Rounds int           // pairs of measurements after one that warms up; 0 means 5
	Memory int64         // bytes that weights may take; 0 means no bound
	Seed   uint64        // of weights and tokens
	Engine engine.Engine // what is measured; the caller's
	// Profile also takes, in one more round, what the workers' time is spent on.
	Profile bool

	Samples   []heal.Sample // for "heal-rows"
	Streaming Streaming     // for "score" and "curve"
}

// Whats lists what can be measured.
func Whats() []string {
	return []string{whatForward, whatDecode, whatGenerate, whatScore, whatCurve, whatMetrics, whatCKA, whatPPL, whatTail, whatHeal, whatHealLoRA, HealRows, whatLlama}
}

// What is measured of a single sequence.
const (
	whatForward = "forward"
	whatDecode  = "decode"
)

// Run measures and passes on every result as it comes.
func Run(ctx context.Context, opt Options, emit func(report.Bench)) error {
	opt, err := opt.withDefaults()
	if err != nil {
		return err
	}
	if opt.What == whatScore || opt.What == whatCurve {
		r, err := opt.stream(ctx)
		if err == nil {
			emit(r)
		}
		return err
	}
	m, err := synthetic(ctx, opt.Shape, opt)
	if err != nil {
		return err
	}
	limiter, _ := opt.Engine.(engine.Limiter)
	measure := opt.passes
	switch opt.What {
	case whatForward:
		measure = opt.forward
	case whatDecode:
		measure = opt.decode
	case whatLlama:
		measure = opt.besideLlama
	case whatGenerate:
		measure = opt.bulk
	case whatHeal, whatHealLoRA, HealRows:
		measure = opt.healing
	}
	r, err := measure(ctx, m, limiter)
	if err != nil {
		return err
	}
	emit(r)
	return nil
}

func (opt Options) withDefaults() (_ Options, err error) {
	if opt.Shape.Spec == nil {
		if opt.Shape, err = ShapeNamed(Shapes()[0]); err != nil {
			return opt, err
		}
	}
	if opt.What == "" {
		opt.What = Whats()[0]
	}
	if opt.Tokens == 0 && (opt.What == whatDecode || opt.What == whatGenerate) {
		opt.Tokens = 32
	}
	if opt.Tokens == 0 {
		opt.Tokens = 512
	}
	if opt.Rounds == 0 {
		opt.Rounds = 5
	}
	if opt.Tokens < 2 || opt.Rounds < 1 {
		return opt, fmt.Errorf("%d tokens in %d rounds: want at least 2 tokens and 1 round", opt.Tokens, opt.Rounds)
	}
	if !slices.Contains(Whats(), opt.What) {
		return opt, fmt.Errorf("nothing called %q to measure; choose from %s", opt.What, strings.Join(Whats(), ", "))
	}
	return opt, nil
}

// forward measures one sequence through all layers and the head.
func (opt Options) forward(ctx context.Context, m *model.Model, l engine.Limiter) (report.Bench, error) {
	list := products(m.Spec, opt.Tokens)
	run, done := opt.logProbs(ctx, m)
	defer done()
	p := pairs{opt: opt, tokens: opt.Tokens, operations: operations(list), run: run, l: l}
	if l != nil {
		run, way := l.Products(ctx, list)
		p.limit, p.way = unlessDone(ctx, run), way
	}
	return p.measure()
}

// unlessDone is a limit that fails to be taken only when ctx is done.
func unlessDone(ctx context.Context, run func() time.Duration) func() (time.Duration, error) {
	return func() (time.Duration, error) { return run(), context.Cause(ctx) }
}

// pairs measures work in turns with its limit: what disturbs the machine
// disturbs both.
type pairs struct {
	opt        Options
	run        func() error
	limit      func() (time.Duration, error) // nil where it is not known
	way        string                        // of computing the limit, where there are several
	tokens     int                           // of one run
	operations float64                       // of one run's matrix products
	l          engine.Limiter
	warm       bool // the first pair counts
}

func (p pairs) measure() (report.Bench, error) {
	var took, limits, ratios []float64
	rounds := p.opt.Rounds
	if !p.warm {
		rounds++
	}
	for round := range rounds {
		start := time.Now()
		if err := p.run(); err != nil {
			return report.Bench{}, err
		}
		run := time.Since(start).Seconds()
		var limit time.Duration
		if p.limit != nil {
			var err error
			if limit, err = p.limit(); err != nil {
				return report.Bench{}, err
			}
		}
		if p.warm || round > 0 { // the first pair warms up
			took, limits, ratios = append(took, run), append(limits, limit.Seconds()), append(ratios, limit.Seconds()/run)
		}
	}
	typical := median(took)
	r := p.opt.result(p.tokens, p.operations, typical)
	r.Spread = report.Number((slices.Max(took) - slices.Min(took)) / typical)
	if p.limit != nil {
		r.LimitWay = p.way
		r.LimitTokensPerSecond, r.Ratio = report.Number(float64(p.tokens)/median(limits)), report.Number(median(ratios))
	}
	return r, p.profile(&r)
}

// result is a measurement of what took so many seconds.
func (opt Options) result(tokens int, operations, seconds float64) report.Bench {
	info := opt.Engine.Info()
	return report.Bench{
		What: opt.What, Shape: opt.Shape.Name, Tokens: opt.Tokens, Runs: opt.Rounds,
		Device: info.Device, DType: string(info.DType), Provider: info.Provider, Threads: info.Threads,
		TokensPerSecond: report.Number(float64(tokens) / seconds),
		GEMMGFLOPS:      report.Number(operations / seconds / 1e9),
	}
}

// profile adds what the workers' time goes to, as shares of all of it.
func (p pairs) profile(r *report.Bench) error {
	if !p.opt.Profile || p.l == nil {
		return nil
	}
	shares, err := p.l.Profile(p.run)
	var total float64
	for _, s := range shares {
		total += s.Seconds
	}
	for _, s := range shares {
		r.Profile = append(r.Profile, report.Share{Name: s.Name, Share: report.Number(s.Seconds / total)})
	}
	return err
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
func products(s *model.Spec, n int) []engine.Product {
	var ps []engine.Product
	for l := range s.Layers {
		for _, w := range s.LayerWeights(l) {
			if len(w.Shape) == 2 {
				ps = append(ps, engine.Product{M: n, N: w.Shape[0], K: w.Shape[1]})
			}
		}
	}
	return append(ps, engine.Product{M: n - 1, N: s.Vocab, K: s.Hidden})
}

func operations(ps []engine.Product) float64 {
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
