package stage

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
)

// initialised writes a model for the config of a golden.
func initialised(t *testing.T, config, out string, seed uint64) (*checkpoint.Checkpoint, *model.Model) {
	t.Helper()
	if _, err := (Init{Config: config, Out: out, Seed: seed}).Run(t.Context(), Env{Talk: Silent{}}); err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	m, err := model.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, m
}

// TestInit: every tensor of every family is there, weights are normal with the
// config's deviation, norms do nothing and biases are 0.
func TestInit(t *testing.T) {
	for _, family := range []string{"llama", "llama_tied", "qwen2", "gemma2", "chatglm2", "baichuan"} {
		t.Run(family, func(t *testing.T) {
			from := filepath.Join("..", "testdata", "goldens", family, "checkpoint")
			c, m := initialised(t, from, filepath.Join(t.TempDir(), "out"), 1)
			deviation := model.InitializerRange(c.Config())
			for w := range m.Spec.Weights() {
				info, _ := c.Tensor(w.Name)
				raw := make([]byte, w.Elements()*int64(info.DType.Size()))
				if err := c.ReadTensor(w.Name, raw, 0); err != nil {
					t.Fatal(err)
				}
				values := make([]float32, w.Elements())
				number.Widen(values, raw, info.DType)
				switch role := string(w.Role); {
				case strings.HasSuffix(role, "-bias"):
					want(t, w.Name, values, 0)
				case strings.HasSuffix(role, "-norm"):
					want(t, w.Name, values, float32(1-m.Spec.NormOffset))
				default:
					normal(t, w.Name, values, deviation)
				}
			}
		})
	}
}

func want(t *testing.T, name string, values []float32, value float32) {
	t.Helper()
	for _, v := range values {
		if v != value {
			t.Fatalf("%s holds %v, want %v", name, v, value)
		}
	}
}

// normal holds mean, deviation and tails of values within five standard errors.
func normal(t *testing.T, name string, values []float32, deviation float64) {
	t.Helper()
	n := float64(len(values))
	var sum, squares, beyond float64
	for _, v := range values {
		sum += float64(v)
		squares += float64(v) * float64(v)
		if math.Abs(float64(v)) > 2*deviation {
			beyond++
		}
	}
	if got := sum / n; math.Abs(got) > 5*deviation/math.Sqrt(n) {
		t.Errorf("%s: mean %v", name, got)
	}
	if got := math.Sqrt(squares / n); math.Abs(got/deviation-1) > 5/math.Sqrt(2*n)+0.002 { // and the rounding to bfloat16
		t.Errorf("%s: deviation %v of %v values, want %v", name, got, n, deviation)
	}
	const tails = 0.0455 // of a normal distribution, beyond two deviations
	if got := beyond / n; math.Abs(got-tails) > 5*math.Sqrt(tails/n) {
		t.Errorf("%s: %v beyond two deviations, want %v", name, got, tails)
	}
}

// TestInitSame: the same seed writes the same bytes, another does not; a tokenizer
// comes along.
func TestInitSame(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "from")
	config, err := os.ReadFile(filepath.Join("..", "testdata", "goldens", "llama", "checkpoint", "config.json"))
	if err == nil {
		err = os.Mkdir(from, 0o777)
	}
	if err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(from, "config.json"), config, 0o666), os.WriteFile(filepath.Join(from, "tokenizer.json"), []byte("{}"), 0o666))
	}
	if err != nil {
		t.Fatal(err)
	}
	var files [][]byte
	for i, in := range []string{from, filepath.Join(from, "config.json"), from} {
		out := filepath.Join(dir, "out", string(rune('a'+i)))
		initialised(t, in, out, []uint64{1, 1, 2}[i])
		raw, err := os.ReadFile(filepath.Join(out, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, raw)
		if _, err := os.Stat(filepath.Join(out, "tokenizer.json")); err != nil {
			t.Error(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("one seed, two models")
	}
	if bytes.Equal(files[0], files[2]) {
		t.Error("two seeds, one model")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "out", ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestInitRefuses: nothing is overwritten, and what cannot be begun is named.
func TestInitRefuses(t *testing.T) {
	dir := t.TempDir()
	half := filepath.Join(dir, "half.json")
	raw, err := os.ReadFile(filepath.Join("..", "testdata", "goldens", "llama", "checkpoint", "config.json"))
	if err == nil {
		err = os.WriteFile(half, bytes.Replace(raw, []byte(`"bfloat16"`), []byte(`"float16"`), 1), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what string
		i    Init
		says string
	}{
		{"no output", Init{Config: half}, "where should the result go"},
		{"no config", Init{Out: filepath.Join(dir, "a")}, "of which model"},
		{"output exists", Init{Config: half, Out: dir}, "exists"},
		{"float16", Init{Config: half, Out: filepath.Join(dir, "b")}, "float16"},
		{"no such file", Init{Config: filepath.Join(dir, "none"), Out: filepath.Join(dir, "c")}, "none"},
		{"range", Init{Config: half, Out: filepath.Join(dir, "d"), Range: math.NaN()}, "range"},
	} {
		if _, err := tt.i.Run(t.Context(), Env{Talk: Silent{}}); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.says)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// TestInitMode: the directory has the mode that the process gives to new ones.
func TestInitMode(t *testing.T) {
	env, _ := testEnv(t)
	root := t.TempDir()
	config := filepath.Join("..", "testdata", "trained")
	if _, err := (Init{Config: config, Out: filepath.Join(root, "made")}).Run(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "other"), 0o777); err != nil {
		t.Fatal(err)
	}
	got, err := os.Stat(filepath.Join(root, "made"))
	want, err2 := os.Stat(filepath.Join(root, "other"))
	if err != nil || err2 != nil || got.Mode() != want.Mode() {
		t.Errorf("%v, want %v; %v, %v", got.Mode(), want.Mode(), err, err2)
	}
}
