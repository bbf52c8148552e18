package engine

import (
	"context"
	"time"

	"github.com/coppice-ml/coppice/model"
)

// Limiter is implemented by engines of which it can be known how fast they could
// be at best: what `coppice bench` compares with.
type Limiter interface {
	// Products prepares matrix products; run computes them once, nothing else, and
	// says how long that took. Of several ways to compute them it is the fastest,
	// which way names. Both end early when ctx is done, and say nothing then.
	Products(ctx context.Context, list []Product) (run func() time.Duration, way string)
	// Reads does the same for reading a model's layers and head from memory once.
	Reads(m *model.Model) (run func() time.Duration, err error)
	// Profile says what the engine's time goes to while f runs.
	Profile(f func() error) ([]Share, error)
}

// Product is one matrix product: [M, K] x [N, K]ᵀ.
type Product struct{ M, N, K int }

// Share is a part of the time of all of an engine's workers.
type Share struct {
	Name    string
	Seconds float64 // of all workers together
}

// Diagnosed is implemented by engines that have more to say about the machine
// than Info, for `coppice doctor`.
type Diagnosed interface{ Diagnosis() Diagnosis }

// Diagnosis is what an engine found out about the machine.
type Diagnosis struct {
	Provider string   // "oneDNN 2.6.3 (AVX2)" or "Go (AVX-512)"
	Rows     int      // rows are cut at multiples of this many
	BFloat16 bool     // bfloat16 products are used in bfloat16 mode
	Kernels  string   // what computes element by element
	Notes    []string // why something is as it is
}
