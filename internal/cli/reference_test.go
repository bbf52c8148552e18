package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/report"
)

// TestReferenceNeeds: without its libraries the script says how to install them.
func TestReferenceNeeds(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	root, err := testkit.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range []string{"--help", "model"} {
		c := exec.Command(python, "-I", "-S", filepath.Join(root, "docs", "reference.py"), arg) // -S: no packages
		said, err := c.CombinedOutput()
		if err == nil || !bytes.Contains(said, []byte("    pip install torch transformers ")) || bytes.Contains(said, []byte("Traceback")) {
			t.Errorf("%s: %v, %s", arg, err, said)
		}
	}
}

// TestReferenceScript runs docs/reference.py as users do, except that the
// transformers it imports is a stand-in that computes with the forward pass of
// scripts/forward.py, and compares with what selfcheck makes of its output.
func TestReferenceScript(t *testing.T) {
	testkit.Slow(t)
	python := testkit.Torch(t)
	root, err := testkit.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range testkit.AllGoldens(t) {
		t.Run(family, func(t *testing.T) {
			dir := filepath.Join(testkit.GoldenDir(t, family), "checkpoint")
			c := exec.Command(python, filepath.Join(root, "docs", "reference.py"), dir, "30")
			c.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(root, "internal", "cli", "testdata", "python"), "SCRIPTS="+filepath.Join(root, "scripts"), "PYTHONDONTWRITEBYTECODE=1")
			var stderr bytes.Buffer
			c.Stderr = &stderr
			raw, err := c.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			ref := filepath.Join(t.TempDir(), "ref.json")
			if err := os.WriteFile(ref, raw, 0o666); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			if code := Main([]string{"selfcheck", dir, ref, "--json", "--tolerance", "2e-4"}, System{Out: &out, Err: &errs, Getenv: os.Getenv}); code != exitOK {
				t.Fatalf("exit code %d: %s%s", code, out.String(), errs.String())
			}
			var got report.Selfcheck
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.Sequences != 4 || got.Positions != 12 || got.Greedy != 1 || got.Versions["transformers"] != "stand-in" {
				t.Errorf("%+v", got)
			}
		})
	}
}
