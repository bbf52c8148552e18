//go:build !nopurego && linux && (amd64 || arm64)

package cli

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine/cuda/cudatest"
)

// TestOnAGPU: commands that run a model say on a (fake) GPU what they say on the
// processor.
func TestOnAGPU(t *testing.T) {
	f := cudatest.New(t)
	texts := filepath.Join(t.TempDir(), "texts.jsonl")
	if err := os.WriteFile(texts, []byte(`{"text":"the cat sat on the mat and looked at the dog"}
{"text":"a small house by the sea is what she wanted"}
`), 0o666); err != nil {
		t.Fatal(err)
	}
	trained := filepath.Join("..", "..", "testdata", "trained")
	getenv := func(name string) string {
		switch name {
		case "COPPICE_CUDA":
			return f.Dir
		case "COPPICE_CACHE":
			return f.Cache
		}
		return ""
	}
	for _, command := range [][]string{
		{"ppl", trained, "--data", texts, "--length", "20"},
		{"score", trained, "--metric", "ppl,bi", "--data", texts, "--length", "20", "--samples", "2"},
		{"generate", trained, "--prompt", "the cat", "--max-tokens", "8"},
		{"eval", trained, "--tasks", "hellaswag,lambada_openai", "--data-dir", filepath.Join("..", "..", "eval", "testdata", "data"), "--limit", "2"},
	} {
		var said [2]string
		for i, device := range []string{"cpu", "cuda:0"} {
			var out, problems bytes.Buffer
			if code := Main(append(command, "--dtype", "float32", "--device", device), System{In: strings.NewReader(""), Out: &out, Err: &problems, Getenv: getenv}); code != 0 {
				t.Fatalf("%v on %s: exit code %d: %s", command, device, code, &problems)
			}
			said[i] = out.String()
		}
		if !alike(said[0], said[1]) {
			t.Errorf("%s says on the GPU:\n%s\nand on the processor:\n%s", command[0], said[1], said[0])
		}
	}
}

// alike says whether texts are the same but for what rounding makes of numbers.
func alike(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	for i := range x {
		if len(x) != len(y) {
			return false
		}
		v, notV := strconv.ParseFloat(x[i], 64)
		w, notW := strconv.ParseFloat(y[i], 64)
		if notV != nil || notW != nil {
			if x[i] != y[i] {
				return false
			}
		} else if math.Abs(v-w) > 1e-4*math.Abs(v) {
			return false
		}
	}
	return len(x) > 0
}
