package testkit

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// SlowEnv names the variable that, set to 1, runs the slow tests.
const SlowEnv = "COPPICE_SLOW"

// Slow skips a test that takes long unless slow tests are asked for.
func Slow(tb testing.TB) {
	tb.Helper()
	if !IsSlow() {
		tb.Skipf("slow: set %s=1, or run make test-slow", SlowEnv)
	}
}

// IsSlow says whether slow tests are asked for.
func IsSlow() bool { return os.Getenv(SlowEnv) == "1" }

// Fresh has a checkpoint and its goldens made that nobody has seen before, in
// some seconds: family, seed, shape ("A" or "B") and set, config keys as
// KEY=JSON, are those of scripts/goldens.py, or of the shared material's oracle,
// a second opinion, where it lies and knows the family. The test is skipped, with the reason, where
// PyTorch is absent.
func Fresh(tb testing.TB, family string, seed int, shape string, set ...string) *Goldens {
	tb.Helper()
	root, err := Root()
	if err != nil {
		tb.Fatal(err)
	}
	maker := []string{filepath.Join(root, "scripts", "goldens.py"), "make"}
	oracle := filepath.Join(sharedRoot(tb), "oracle", "oracle.py")
	if exists(oracle) && slices.Contains(folders(tb, sharedGoldens(tb)), family) {
		maker = []string{oracle}
	}
	dir := tb.TempDir()
	c := exec.Command(Torch(tb), append(maker, "--family", family, "--seed", strconv.Itoa(seed), "--shape", shape, "--out", dir)...)
	for _, s := range set {
		c.Args = append(c.Args, "--set", s)
	}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Run(); err != nil {
		tb.Fatalf("%v: %v\n%s", c.Args, err, stderr.Bytes())
	}
	return LoadGoldens(tb, filepath.Join(dir, family))
}

// Torch returns a Python that has PyTorch, Debian's if need be, or skips.
func Torch(tb testing.TB) string {
	tb.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import torch").Run() == nil {
			return python
		}
	}
	tb.Skip("no python3 with PyTorch; on Debian: apt-get install python3-torch")
	return ""
}
