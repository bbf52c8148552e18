package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/synth"
)

func TestStream(t *testing.T) {
	dir := t.TempDir()
	for _, what := range []string{whatScore, whatCurve} {
		opt := Options{Shape: picoShape(t), What: what, Engine: newEngine(t, "float32"), Streaming: Streaming{
			Dir:   dir, // the second run finds the first one's weights
			Bound: func(o forest.Options) forest.Options { o.Memory = 1; return o },
			Peak:  func() int64 { return 7 },
		}}
		r, err := opt.stream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r.PeakBytes != 7 || r.ReadBytes <= 0 || r.Passes < streamSequences || r.Ratio <= 0 || r.TokensPerSecond <= 0 || r.DiskSeconds <= 0 || r.ProductSeconds <= 0 {
			t.Errorf("%s: %+v", what, r)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "model.safetensors")); err != nil {
		t.Error(err)
	}
	other, err := madeUp("other", synth.Options{Layers: 4})
	if err != nil {
		t.Fatal(err)
	}
	opt := Options{Shape: other, What: whatScore, Streaming: Streaming{Dir: dir}}
	if _, err := opt.stream(t.Context()); err == nil || !strings.Contains(err.Error(), "is not the config of other") {
		t.Errorf("weights of another shape: %v", err)
	}
}

func TestPasses(t *testing.T) {
	for _, what := range []string{whatMetrics, whatCKA, whatPPL, whatTail} {
		opt := Options{What: what, Rounds: 1, Engine: newEngine(t, "float32")}
		r, err := opt.passes(t.Context(), pico(t, opt), nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.Tokens != streamSequences*streamLength || r.Ratio <= 0 || r.GEMMGFLOPS <= 0 {
			t.Errorf("%s: %+v", what, r)
		}
	}
}
