package cpu_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// TestFresh compares both providers with checkpoints that nobody has seen
// before: of both shapes, and with config keys that the usual goldens leave at
// their defaults.
func TestFresh(t *testing.T) {
	testkit.Slow(t)
	for i, family := range testkit.Families(t) {
		for j, shape := range []string{"A", "B"} {
			t.Run(family+"/"+shape, func(t *testing.T) { golden(t, testkit.Fresh(t, family, 300+10*i+j, shape)) })
		}
	}
	for i, c := range []struct {
		name, family string
		set          []string
	}{
		{"windows from a layer on", "qwen2", []string{"use_sliding_window=true", "sliding_window=7", "max_window_layers=2"}},
		{"windows from a layer on, Qwen3", "qwen3", []string{"use_sliding_window=true", "sliding_window=12", "max_window_layers=3"}},
		{"no window", "mistral", []string{"sliding_window=null"}},
		{"no soft caps", "gemma2", []string{"attn_logit_softcapping=null", "final_logit_softcapping=null", "query_pre_attn_scalar=16"}},
		{"linear rope", "vicuna", []string{`rope_scaling={"type":"linear","factor":4.0}`}},
		{"rope ratio", "chatglm2", []string{"rope_ratio=50"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := testkit.Fresh(t, c.family, 500+i, "A", c.set...)
			if c.family == "chatglm2" { // the oracle's rope_ratio is ChatGLM3's
				code := filepath.Join(g.Checkpoint, "modeling_chatglm.py")
				if err := os.WriteFile(code, []byte("base = base * self.rope_ratio\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			golden(t, g)
		})
	}
}

func golden(t *testing.T, g *testkit.Goldens) {
	t.Helper()
	for _, oneDNN := range []string{"off", ""} {
		enginetest.Golden(t, func(t testing.TB, dtype engine.DType) engine.Engine {
			e, err := cpu.Start(cpu.Options{DType: string(dtype), OneDNN: oneDNN})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = e.Close() })
			return e
		}, g)
	}
}
