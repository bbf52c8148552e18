package bench

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/internal/synth"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
)

func newEngine(tb testing.TB, dtype string) *cpu.Engine {
	tb.Helper()
	e, err := cpu.New(cpu.Options{DType: dtype, OneDNN: "off", Threads: 2})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = e.Close() })
	return e
}

func pico(t *testing.T, opt Options) *model.Model {
	t.Helper()
	m, err := synthetic(t.Context(), picoShape(t), opt)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func picoShape(t *testing.T) Shape {
	t.Helper()
	s, err := madeUp("pico", synth.Options{Layers: 3})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// nanoseconds is a limiter whose every limit is one.
type nanoseconds struct{ calls *int }

func (n nanoseconds) Products(context.Context, []engine.Product) (func() time.Duration, string) {
	return n.run, ""
}

func (n nanoseconds) Reads(*model.Model) (func() time.Duration, error) { return n.run, nil }

func (n nanoseconds) run() time.Duration {
	*n.calls++
	return time.Nanosecond
}

func (n nanoseconds) Profile(f func() error) ([]engine.Share, error) {
	return []engine.Share{{Name: "products", Seconds: 3}, {Name: "waiting", Seconds: 1}}, f()
}

func TestMeasurements(t *testing.T) {
	for what, limit := range map[string]float64{"forward": 16e9, "decode": 1e9} {
		t.Run(what, func(t *testing.T) {
			opt := Options{What: what, Tokens: 16, Rounds: 3, Engine: newEngine(t, "float32"), Profile: true}
			measure := opt.forward
			if what == "decode" {
				measure = opt.decode
			}
			calls := 0
			r, err := measure(t.Context(), pico(t, opt), nanoseconds{&calls})
			if err != nil {
				t.Fatal(err)
			}
			if calls != 4 {
				t.Errorf("the limit was taken %d times, want once a round and once to warm up", calls)
			}
			if r.TokensPerSecond <= 0 || r.GEMMGFLOPS <= 0 || r.Ratio <= 0 || r.Ratio >= 1 || r.DType != "float32" || !strings.HasPrefix(r.Provider, "Go (") {
				t.Errorf("result = %+v", r)
			}
			if got := float64(r.LimitTokensPerSecond); got < limit*0.999 || got > limit*1.001 {
				t.Errorf("limit = %g tokens/s, want %g", got, limit)
			}
			if len(r.Profile) != 2 || r.Profile[0] != (report.Share{Name: "products", Share: 0.75}) {
				t.Errorf("profile = %+v", r.Profile)
			}
		})
	}
}

func TestForwardOfAnEngineWithoutLimit(t *testing.T) {
	e := newEngine(t, "float32")
	opt := Options{Tokens: 2, Rounds: 1, Engine: struct{ engine.Engine }{e}}
	if _, ok := opt.Engine.(engine.Limiter); ok {
		t.Fatal("a limiter for an unknown engine")
	}
	opt.Engine = e
	r, err := opt.forward(t.Context(), pico(t, opt), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Ratio != 0 || r.LimitTokensPerSecond != 0 || r.TokensPerSecond <= 0 {
		t.Errorf("result = %+v", r)
	}
}

// TestProfile: the engine's own profile accounts for what its workers do.
func TestProfile(t *testing.T) {
	e := newEngine(t, "float32")
	opt := Options{What: "forward", Tokens: 64, Rounds: 1, Engine: e, Profile: true}
	r, err := opt.forward(t.Context(), pico(t, opt), e)
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	seen := map[string]float64{}
	for _, s := range r.Profile {
		sum += float64(s.Share)
		seen[s.Name] = float64(s.Share)
	}
	if sum < 0.999 || sum > 1.001 || seen["products"] == 0 || seen["attention softmax"] == 0 || seen["head softmax"] == 0 {
		t.Errorf("profile = %+v", r.Profile)
	}
}

func TestProductsCoverTheModel(t *testing.T) {
	opt := Options{Engine: newEngine(t, "float32")}
	spec := pico(t, opt).Spec
	got := operations(products(spec, 11)) - operations(products(spec, 10))
	if want := 2 * float64(spec.MACsPerToken()); got != want {
		t.Errorf("one more token costs %g operations, want %g", got, want)
	}
}

func TestSharedLayers(t *testing.T) {
	opt := Options{Engine: newEngine(t, "float32")}
	spec := pico(t, opt).Spec
	src, err := newSource(t.Context(), spec, "BF16", 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := model.New(spec, src); err != nil {
		t.Fatal(err)
	}
	data := func(name string) *byte {
		b, err := src.Data(name)
		if err != nil {
			t.Fatal(err)
		}
		return &b[0]
	}
	const q = ".self_attn.q_proj.weight"
	if data("model.layers.0"+q) != data("model.layers.2"+q) {
		t.Error("layer 2 does not share layer 0's memory")
	}
	if data("model.layers.0"+q) == data("model.layers.1"+q) {
		t.Error("layers 0 and 1 share memory")
	}
}

func TestShapes(t *testing.T) {
	for name, want := range map[string]int64{
		"tinyllama-1.1b": 1_100_048_384,
		"smollm-135m":    134_515_008,
		"llama-3.1-8b":   8_030_261_248,
	} {
		s, err := ShapeNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Spec.Parameters(); got != want {
			t.Errorf("%s has %d parameters, want %d", name, got, want)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	e := newEngine(t, "float32")
	for _, tt := range []struct {
		name string
		opt  Options
		want string
	}{
		{"what", Options{Engine: e, What: "everything"}, "choose from forward, decode"},
		{"tokens", Options{Engine: e, Tokens: 1}, "at least 2 tokens"},
		{"memory", Options{Engine: e, Memory: 1 << 20}, "--memory is"},
	} {
		err := Run(t.Context(), tt.opt, func(report.Bench) { t.Error("a result") })
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

// TestCancelled: weights are no longer made, and products no longer computed, once nobody
// waits for them; nothing is left on disk.
func TestCancelled(t *testing.T) {
	e := newEngine(t, "float32")
	stopped := errors.New("stopped")
	ctx, stop := context.WithCancelCause(t.Context())
	run, _ := e.Products(ctx, []engine.Product{{M: 512, N: 2048, K: 2048}})
	long := run()
	stop(stopped)
	took := run()
	for range 9 { // of which the machine may be busy with something else during some
		took = min(took, run())
	}
	if took > long/2 {
		t.Errorf("products take %v, and %v when nobody waits for them", long, took)
	}
	t.Setenv("TMPDIR", t.TempDir())
	for _, what := range []string{whatForward, whatLlama, whatScore} {
		err := Run(ctx, Options{Engine: e, Shape: picoShape(t), What: what}, func(report.Bench) { t.Error("a result") })
		if !errors.Is(err, stopped) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("%v is left, error %v", left, err)
	}
	if _, err := unlessDone(ctx, run)(); !errors.Is(err, stopped) {
		t.Errorf("a limit taken for nobody: error %v", err)
	}
}

func TestShapeNamed(t *testing.T) {
	if _, err := ShapeNamed("gpt"); err == nil || !strings.Contains(err.Error(), "choose from tinyllama-1.1b") {
		t.Errorf("error %v", err)
	}
}

func TestMedian(t *testing.T) {
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("got %v, want 2", got)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("got %v, want 2.5", got)
	}
}

// BenchmarkModel reports tokens per second and the ratio to the limit.
func BenchmarkModel(b *testing.B) {
	for _, what := range []string{whatForward, whatDecode} {
		for _, name := range []string{"smollm-135m", "tinyllama-1.1b"} {
			b.Run(what+"/"+name, func(b *testing.B) { benchmark(b, what, name) })
		}
	}
}

func benchmark(b *testing.B, what, shape string) {
	e, err := cpu.New(cpu.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	s, err := ShapeNamed(shape)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%s, %d threads", e.Info().Provider, e.Info().Threads)
	for b.Loop() {
		err := Run(b.Context(), Options{What: what, Shape: s, Rounds: 5, Engine: e}, func(r report.Bench) {
			b.ReportMetric(float64(r.TokensPerSecond), "tokens/s")
			b.ReportMetric(float64(r.GEMMGFLOPS), "GFLOP/s")
			b.ReportMetric(float64(r.Ratio), "ratio")
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
