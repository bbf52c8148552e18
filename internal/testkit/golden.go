package testkit

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/safetensors"
)

// Goldens are what a reference implementation computed for one family's
// checkpoint. Methods fail the test when something is absent or misshapen.
type Goldens struct {
	Family     string // that the checkpoint belongs to, as its folder is called
	Dir        string // the family's folder
	Checkpoint string // the checkpoint's directory

	scalars map[string]json.RawMessage
	arrays  *safetensors.File
}

// fullSuffix marks the goldens of the shared material, of larger checkpoints,
// where the repository has some of the same family.
const fullSuffix = "/full"

// Families lists the families that have goldens: a directory each in the
// repository's testdata/goldens, or in the shared material where it lies.
func Families(tb testing.TB) []string {
	tb.Helper()
	names := folders(tb, ownGoldens(tb))
	for _, name := range folders(tb, sharedGoldens(tb)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		tb.Fatal("no family has goldens")
	}
	return names
}

// Finetuned lists the families whose goldens have fine-tuning too: those in which
// training differs.
func Finetuned(tb testing.TB) []string {
	tb.Helper()
	return slices.DeleteFunc(Families(tb), func(name string) bool { return !exists(filepath.Join(GoldenDir(tb, name), "lora_init")) })
}

// Transformers lists the directories of what transformers itself computed, in the
// shared material where it lies.
func Transformers(tb testing.TB) []string {
	tb.Helper()
	root := filepath.Join(sharedRoot(tb), "oracle", "transformers517")
	var dirs []string
	for _, name := range folders(tb, root) {
		dirs = append(dirs, filepath.Join(root, name))
	}
	return dirs
}

// AllGoldens lists what [Golden] finds: every family, and NAME/full for the
// shared material's larger checkpoint of a family that the repository has a
// small one of.
func AllGoldens(tb testing.TB) []string {
	tb.Helper()
	names, own := Families(tb), folders(tb, ownGoldens(tb))
	for _, name := range folders(tb, sharedGoldens(tb)) {
		if slices.Contains(own, name) {
			names = append(names, name+fullSuffix)
		}
	}
	return names
}

// GoldenDir returns the folder of one of [AllGoldens]: the repository's first,
// else the shared material's.
func GoldenDir(tb testing.TB, name string) string {
	tb.Helper()
	family, full := strings.CutSuffix(name, fullSuffix)
	if own := filepath.Join(ownGoldens(tb), family); !full && exists(own) {
		return own
	}
	return Shared(tb, "oracle", "goldens", family)
}

// Golden loads goldens.json and goldens.safetensors of one of [AllGoldens].
func Golden(tb testing.TB, name string) *Goldens {
	tb.Helper()
	return LoadGoldens(tb, GoldenDir(tb, name))
}

// Trained lists directories of trained models: the repository's, and where the
// shared material lies stories260K too. Each holds a checkpoint, a tokenizer, and
// golden_greedy_f64.json, what it writes greedily in float64.
func Trained(tb testing.TB) []string {
	tb.Helper()
	root, err := Root()
	if err != nil {
		tb.Fatal(err)
	}
	dirs := []string{filepath.Join(root, "testdata", "trained")}
	if stories := filepath.Join(sharedRoot(tb), "data", "models", "stories260K"); exists(stories) {
		dirs = append(dirs, stories)
	}
	return dirs
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ownGoldens is where the repository keeps goldens; scripts/goldens.py makes them.
func ownGoldens(tb testing.TB) string {
	tb.Helper()
	root, err := Root()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(root, "testdata", "goldens")
}

func sharedGoldens(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(sharedRoot(tb), "oracle", "goldens")
}

// folders are the names of the directories in dir, none where dir is absent.
func folders(tb testing.TB, dir string) []string {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		tb.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// LoadGoldens loads what the oracle wrote to a directory.
func LoadGoldens(tb testing.TB, dir string) *Goldens {
	tb.Helper()
	g := &Goldens{Family: filepath.Base(dir), Dir: dir, Checkpoint: filepath.Join(dir, "checkpoint")}
	raw, err := os.ReadFile(filepath.Join(dir, "goldens.json"))
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(raw, &g.scalars); err != nil {
		tb.Fatalf("%s: goldens.json: %v", dir, err)
	}
	if g.arrays, err = safetensors.Open(filepath.Join(dir, "goldens.safetensors")); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = g.arrays.Close() })
	return g
}

// Decode reads the value at a path of keys in goldens.json, such as "scores", "taylor".
func (g *Goldens) Decode(tb testing.TB, into any, path ...string) {
	tb.Helper()
	here := g.scalars
	for i, key := range path {
		raw, ok := here[key]
		if !ok {
			tb.Fatalf("%s: goldens.json has no %q", g.Dir, path[:i+1])
		}
		target := into
		if i+1 < len(path) {
			here = nil
			target = &here
		}
		if err := json.Unmarshal(raw, target); err != nil {
			tb.Fatalf("%s: goldens.json: %q: %v", g.Dir, path[:i+1], err)
		}
	}
}

// Float reads one number of goldens.json.
func (g *Goldens) Float(tb testing.TB, path ...string) float64 {
	tb.Helper()
	var v float64
	g.Decode(tb, &v, path...)
	return v
}

// Floats reads a list of numbers of goldens.json.
func (g *Goldens) Floats(tb testing.TB, path ...string) []float64 {
	tb.Helper()
	var v []float64
	g.Decode(tb, &v, path...)
	return v
}

// Array returns an F32 array, row major, and its shape.
func (g *Goldens) Array(tb testing.TB, name string) ([]float32, []int) {
	tb.Helper()
	t, raw := g.tensor(tb, name, safetensors.F32)
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out, t.Shape
}

// Sequences returns an I64 array [rows, T] as token sequences.
func (g *Goldens) Sequences(tb testing.TB, name string) [][]int32 {
	tb.Helper()
	t, raw := g.tensor(tb, name, safetensors.I64)
	n := t.Shape[len(t.Shape)-1]
	var out [][]int32
	for ; len(raw) > 0; raw = raw[8*n:] {
		row := make([]int32, n)
		for i := range row {
			row[i] = int32(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		out = append(out, row)
	}
	return out
}

// Names lists the arrays whose names begin with prefix, without it.
func (g *Goldens) Names(prefix string) []string {
	var out []string
	for _, t := range g.arrays.Header().Tensors {
		if name, ok := strings.CutPrefix(t.Name, prefix); ok {
			out = append(out, name)
		}
	}
	return out
}

// Has reports whether goldens.safetensors holds an array.
func (g *Goldens) Has(name string) bool {
	_, ok := g.arrays.Tensor(name)
	return ok
}

func (g *Goldens) tensor(tb testing.TB, name string, want safetensors.DType) (safetensors.Tensor, []byte) {
	tb.Helper()
	t, ok := g.arrays.Tensor(name)
	if !ok {
		tb.Fatalf("%s: goldens.safetensors has no %q", g.Dir, name)
	}
	if t.DType != want {
		tb.Fatalf("%s: goldens.safetensors: %q is %s, want %s", g.Dir, name, t.DType, want)
	}
	return t, g.arrays.Data(t)
}
