// Package cpu is the engine that runs on the host's processor: matrix products
// by oneDNN where it is installed, by Go otherwise, everything else in Go.
//
// It implements package engine and knows nothing beyond it. Results do not
// depend on how work is cut up: every product, norm, softmax and sum is
// computed for one row in an order that its own sequence alone decides.
package cpu

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
)

// Options choose how an Engine computes.
type Options struct {
	// DType is "float32", "bfloat16" or "auto" (also ""): bfloat16 where the
	// processor and the provider multiply it, float32 elsewhere.
	DType string
	// Threads is the number of workers; 0 means one for each usable core.
	Threads int
	// OneDNN is "off", a path of the library to load, or "" to look for it.
	OneDNN string
	// OneDNNLevel is what ONEDNN_MAX_CPU_ISA says, which oneDNN reads by itself and,
	// where it does not know the word, passes over in silence.
	OneDNNLevel string
	// Kernels is "AMX", "AVX512-BF16", "AVX-512", "AVX2" or "scalar", or "" for the fastest there is.
	// Letter case and hyphens do not count.
	Kernels string
	// Provider multiplies in place of oneDNN; nil except in tests.
	Provider Provider
}

// Engine implements engine.Engine on the host's processor.
type Engine struct {
	info engine.Info
	pool *pool
	crew *crew
	k    *kernels
	mul  multiplier
	bf16 bool // weights are rounded to bfloat16
	// half is set when the multiplier takes bfloat16 operands. Where it does not,
	// bfloat16 weights meet float32 inputs: products are float32 anyway, and
	// rounding their inputs would only lose accuracy. Tests set round to see
	// on any machine what rounded inputs do.
	half, round bool

	forwards  freeList[forward]
	backwards freeList[backward]
	headGrads freeList[headGrad]
	tapes     freeList[tape]
	scorings  freeList[scoring]
	grams     freeList[gramRows]
	rotaries  block.Rotaries
	hiddenMu  sync.Mutex
	hiddens   map[int][][]float32 // released hidden states by capacity
}

var _ engine.Engine = (*Engine)(nil)

// New starts an engine. It fails on options that do not exist or when OneDNN
// names a library that cannot be used; a library that was merely looked for
// and not found is a note in Info.
func New(opt Options) (*Engine, error) {
	if !slices.Contains([]string{"", "auto", string(engine.Float32), string(engine.BFloat16)}, opt.DType) {
		return nil, fmt.Errorf("dtype %q does not exist; choose auto, float32 or bfloat16", opt.DType)
	}
	if opt.Threads < 0 {
		return nil, fmt.Errorf("threads = %d: want at least 1, or 0 for all cores", opt.Threads)
	}
	threads := opt.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	k := kernelsNamed(opt.Kernels)
	if k == nil {
		have := kernelNames()
		return nil, &engine.SettingError{Variable: "COPPICE_KERNELS", Value: opt.Kernels, Want: "this build and processor have " + strings.Join(have, ", "), Known: have}
	}
	if k.tiles != noTiles && opt.Provider != nil {
		k = kernelsNamed(levelAVX512) // the provider multiplies
	}
	mul, notes, err := findMultiplier(opt, threads, k)
	if err != nil {
		return nil, err
	}
	half := mul.half() || k.tiles != noTiles
	e := &Engine{mul: mul, k: k, hiddens: map[int][][]float32{}}
	e.bf16 = opt.DType == string(engine.BFloat16) || opt.DType != string(engine.Float32) && half
	if e.half = e.bf16 && half; e.half {
		e.mul = withTiles(mul, k)
	}
	e.info = engine.Info{Device: "cpu", DType: engine.Float32, Provider: providerName(mul, k), Threads: threads, Notes: notes}
	if e.bf16 {
		e.info.DType = engine.BFloat16
	}
	if e.bf16 && !e.half {
		e.info.Notes = append(e.info.Notes, "bfloat16 weights are multiplied in float32: this processor or provider has no bfloat16 products")
	}
	e.forwards.make, e.scorings.make, e.backwards.make = e.newForward, e.newScoring, e.newBackward
	e.headGrads.make = e.newHeadGrad
	e.tapes.make = func() *tape { return &tape{} }
	e.grams.make = func() *gramRows { return &gramRows{} }
	e.pool, e.crew = newPool(threads, mul.startWorker, mul.stopWorker), newCrew(threads)
	return e, nil
}

// Info implements engine.Engine.
func (e *Engine) Info() engine.Info { return e.info }

// Close stops the workers.
func (e *Engine) Close() error {
	e.pool.close()
	return nil
}

// findMultiplier returns oneDNN when it can be loaded and computes rows
// independently of each other, else the Go kernels.
func findMultiplier(opt Options, workers int, k *kernels) (multiplier, []string, error) {
	if opt.Provider != nil {
		law, err := opt.Provider.law(workers, k)
		if err != nil {
			return nil, nil, err
		}
		return law, law.notes, nil
	}
	if strings.EqualFold(opt.OneDNN, "off") {
		return goMultiplier{k}, []string{"oneDNN is switched off"}, nil
	}
	law, err := loadOneDNN(opt.OneDNN, workers, k)
	if err == nil {
		return law, slices.Concat(law.notes, levelNotes(opt.OneDNNLevel)), nil
	}
	if opt.OneDNN != "" && !strings.ContainsAny(opt.OneDNN, `./\`) { // no library's name
		return nil, nil, &engine.SettingError{Variable: "COPPICE_ONEDNN", Value: opt.OneDNN, Want: "want off, for the Go kernels, or the path of a oneDNN library", Known: []string{"off"}}
	}
	if opt.OneDNN != "" {
		return nil, nil, fmt.Errorf("oneDNN library %s: %w (\"off\" selects the Go kernels)", opt.OneDNN, err)
	}
	return goMultiplier{k}, []string{"oneDNN is not used: " + err.Error()}, nil
}

// providerName says who multiplies and with which instructions, and with which all
// else is computed where that is not the same.
func providerName(mul multiplier, k *kernels) string {
	if level := levelIn(mul.name()); level == "" || level == k.name {
		return mul.name()
	}
	return mul.name() + " with " + k.name + " kernels"
}

// quantum is what the rows of layers are best cut at multiples of.
func (e *Engine) quantum() int { return e.mul.quantum(e.half) }

// room rounds rows of layers up to whole quanta: what memory for products is best
// made for.
func (e *Engine) room(rows int) int { return roundUp(rows, e.quantum()) }
