package testkit

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/coppice-ml/coppice/internal/synth"
)

// Options describe a pico checkpoint; see [synth.Options].
type Options = synth.Options

// WriteLlama writes a seeded Llama checkpoint to dir; see [synth.WriteLlama].
func WriteLlama(dir string, o Options) error { return synth.WriteLlama(dir, o) }

// Llama writes a checkpoint to a directory of its own and returns the path.
func Llama(tb testing.TB, o Options) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "model")
	if err := WriteLlama(dir, o); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// SharedEnv names the variable that says where the shared material lies when
// it is not the directory "shared" beside the repository.
const SharedEnv = "COPPICE_SHARED"

// Shared returns the path of a file or directory of the shared test material:
// real checkpoints, tokenizers and golden values that are too large for the
// repository. The test is skipped, with the reason, where it is absent.
func Shared(tb testing.TB, parts ...string) string {
	tb.Helper()
	path := filepath.Join(append([]string{sharedRoot(tb)}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("shared test material is absent (%v); put it into ../shared beside the checkout or name its place in %s", err, SharedEnv)
	}
	return path
}

// sharedRoot is where the shared material lies, if there is any.
func sharedRoot(tb testing.TB) string {
	tb.Helper()
	if root := os.Getenv(SharedEnv); root != "" {
		return root
	}
	repo, err := Root()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(filepath.Dir(repo), "shared")
}

// Root returns the directory of go.mod above the working directory.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod in %s or above", start)
		}
	}
}

// MaxAbs is the largest absolute difference. It is +Inf when the lengths
// differ or one value is a NaN and the other is not the same.
func MaxAbs(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	worst := 0.0
	for i := range a {
		if d := difference(a[i], b[i]); d > worst {
			worst = d
		}
	}
	return worst
}

// RelL2 is |a-b| / |b| in the Euclidean norm; +Inf as in MaxAbs.
func RelL2(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var num, den float64
	for i := range a {
		d := difference(a[i], b[i])
		num += d * d
		den += float64(b[i]) * float64(b[i])
	}
	if num == 0 {
		return 0
	}
	return math.Sqrt(num / den)
}

func difference(a, b float32) float64 {
	if a == b {
		return 0
	}
	d := math.Abs(float64(a) - float64(b))
	if math.IsNaN(d) {
		return math.Inf(1)
	}
	return d
}
