package stage

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/coppice-ml/coppice/hub"
)

// Env is what stages touch of the world beside files.
type Env struct {
	Getenv  func(string) string
	Cache   string // directory of what is kept between runs; "" keeps nothing
	Version string // of Coppice, for results, cards and what is kept
	// Hub makes the client of the hub, once it is needed.
	Hub     func() (*hub.Client, error)
	Engines Engines // nil: those of this build
	Talk    Talk
}

// Talk is how stages speak while they work. Texts are formats of package fmt in
// which fields stand in braces, for Named.
type Talk interface {
	Note(format string, args ...any)   // tells people what happens
	Detail(format string, args ...any) // what only some want to know
	Warn(format string, args ...any)   // what a result must be read with
	// Progress begins a piece of work. tell hears how far it has come, from one
	// goroutine at a time; end, which may be called twice, says it is over.
	Progress(what string, unit Unit) (tell func(done, total int64), end func())
	// Consent is asked before long work begins. An error is a no.
	Consent(ctx context.Context, e Estimate) error
}

// Unit is what progress is counted in.
type Unit int

// Units of progress.
const (
	Steps Unit = iota // work, of which only the share means something
	Bytes
)

// Estimate is how long work will take, as far as that is known beforehand.
type Estimate struct {
	What string
	Time time.Duration
}

// CacheDir is where results are kept between runs that can be computed again:
// COPPICE_CACHE, or coppice in the user's cache directory; "" where there is none.
func CacheDir(getenv func(string) string) string {
	if dir := getenv("COPPICE_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "coppice")
}

// Silent is a Talk that says nothing and consents to everything.
type Silent struct{}

// Note implements Talk.
func (Silent) Note(string, ...any) {}

// Detail implements Talk.
func (Silent) Detail(string, ...any) {}

// Warn implements Talk.
func (Silent) Warn(string, ...any) {}

// Progress implements Talk.
func (Silent) Progress(string, Unit) (func(done, total int64), func()) {
	return func(int64, int64) {}, func() {}
}

// Consent implements Talk.
func (Silent) Consent(context.Context, Estimate) error { return nil }

// seconds since a time, for results.
func seconds(since time.Time) float64 { return time.Since(since).Round(time.Millisecond).Seconds() }
