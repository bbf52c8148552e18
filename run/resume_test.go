package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/internal/sapling"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// childEnv makes the test's own program run a recipe: RECIPE, a line feed, OUT.
const childEnv = "COPPICE_TEST_RUN"

func TestMain(m *testing.M) {
	if args := os.Getenv(childEnv); args != "" {
		os.Exit(child(args))
	}
	os.Exit(m.Run())
}

func child(args string) int {
	recipe, rest, _ := strings.Cut(args, "\n")
	out, cache, _ := strings.Cut(rest, "\n")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	l, err := Load(recipe)
	if err != nil {
		return 1
	}
	env := stage.Env{Getenv: os.Getenv, Cache: cache, Version: "test", Talk: stage.Silent{}}
	o := Options{Recipe: l, Out: out, Tell: func(report.Stage) error { return nil }, Embedded: sapling.Make, Pace: map[string]stage.Pace{filepath.Join(filepath.Dir(recipe), "model"): {Layer: 1e-6}, "sapling:model": {Layer: 1e-6}}}
	p, err := Prepare(ctx, env, o)
	if err == nil {
		_, err = p.Do(ctx, env, o)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, stage.ErrPartial), errors.Is(err, context.Canceled):
		return 3
	}
	_, _ = os.Stderr.WriteString(err.Error() + "\n")
	return 1
}

// TestInterrupted: a run that is killed or cancelled at random moments and resumed has
// the same bytes as one that was not, but for what is measured. With COPPICE_SLOW=1 so
// have the paper's first two tables on the model that ships.
func TestInterrupted(t *testing.T) {
	interruptions := 3
	recipes := map[string]string{"little": base + `matrix:
  metric: [ppl, taylor]
  how:
    - {name: tune, heal: {last: 1}}
    - {name: adapt, heal: {method: lora, rank: 2, targets: [q, v]}}
    - {name: stepwise, prune: {iterative: "1:2"}, heal: {between: {steps: 2}}}
`}
	if os.Getenv("COPPICE_SLOW") != "" {
		interruptions = 10
		recipes["metrics"] = "coppice: 1\nname: table\nextends: metrics" + littleOnSapling + "matrix: {lr: {set: heal.lr, values: [1e-3]}}\nexclude: []\n" // one rate of the two
		recipes["healing"] = "coppice: 1\nname: table\nextends: healing" + littleOnSapling
	}
	for name, recipe := range recipes {
		t.Run(name, func(t *testing.T) { newWorld(t).interrupted(t, interruptions, recipe) })
	}
}

// littleOnSapling makes a shipped recipe one on the model that ships, with little of everything.
const littleOnSapling = `
models: [{name: sapling, from: "sapling:model"}]
score:
  data: {from: "sapling:calibration.txt", samples: 4, length: 64}
  per_metric: {ppl: {data: {from: "sapling:calibration.txt", length: 64, samples: 8}}}
heal:
  data: {from: "sapling:instructions.json", max_length: 96, validation: 16}
  steps: 6
  batch_size: 16
  eval_every: 2
  warmup_steps: 2
measure:
  tasks: [sapling]
  limit: 10
  task_dir: "sapling:tasks"
  data_dir: "sapling:data"
  perplexity: [{data: "sapling:validation.txt", length: 64}]
  prompts: [Morning]
  max_tokens: 4
  speed: {prefill: 16, decode: 4}
`

// interrupted runs a recipe whole, and again with interruptions at random moments.
func (w *world) interrupted(t *testing.T, interruptions int, recipe string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no signals")
	}
	started := time.Now()
	if _, _, err := w.run(t, context.Background(), recipe, "out", nil); err != nil {
		t.Fatal(err)
	}
	took := time.Since(started)
	// Files name data that lies in the run's directory: both have the same one.
	if err := os.Rename(filepath.Join(w.dir, "out"), filepath.Join(w.dir, "whole")); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, cache := filepath.Join(w.dir, "out"), t.TempDir()
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	stopped := 0
	for tries := 0; ; tries++ {
		if tries > 20*interruptions {
			t.Fatal("it does not come to an end")
		}
		c := exec.Command(self)
		c.Env = append(os.Environ(), childEnv+"="+filepath.Join(w.dir, "recipe.yaml")+"\n"+out+"\n"+cache)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		began := time.Now()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.Duration(-1)
		if stopped < interruptions {
			after = time.Duration(random.Float64() * float64(took) / float64(interruptions) * 1.5)
			sig := []os.Signal{syscall.SIGKILL, os.Interrupt}[stopped%2]
			time.AfterFunc(after, func() { _ = c.Process.Signal(sig) })
		}
		err := c.Wait()
		if err == nil && stopped == 0 { // the machine is faster by now
			took = time.Since(began)
			if err := errors.Join(os.RemoveAll(out), os.RemoveAll(cache)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err == nil {
			break
		}
		if code := c.ProcessState.ExitCode(); code != 3 && code != -1 && code != 2 {
			t.Fatalf("exit code %d after %v: %s", code, after, stderr.String())
		}
		stopped++
	}
	t.Logf("interrupted %d times; whole it took %v", stopped, took)
	sameBytes(t, filepath.Join(w.dir, "whole", rundir.StagesDir), filepath.Join(out, rundir.StagesDir))
}

// sameBytes compares the stages of two runs.
func sameBytes(t *testing.T, a, b string) {
	t.Helper()
	files := map[string][2][]byte{}
	for i, root := range []string{a, b} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, _ := filepath.Rel(root, path)
			raw, err := os.ReadFile(path)
			if filepath.Base(path) == rundir.ManifestFile {
				var m rundir.Manifest
				if err := json.Unmarshal(raw, &m); err != nil {
					t.Errorf("%s: %v", path, err)
				}
				m.Measured = rundir.Measured{}
				raw, _ = json.Marshal(m)
			}
			pair := files[rel]
			pair[i] = raw
			files[rel] = pair
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, pair := range files {
		if !bytes.Equal(pair[0], pair[1]) {
			at := 0
			for at < min(len(pair[0]), len(pair[1])) && pair[0][at] == pair[1][at] {
				at++
			}
			around := func(b []byte) []byte { return b[min(len(b), max(0, at-80)):min(len(b), at+40)] }
			t.Errorf("%s differs: %d and %d bytes:\n%s\n%s", name, len(pair[0]), len(pair[1]), around(pair[0]), around(pair[1]))
		}
	}
	if len(files) < 20 {
		t.Errorf("only %d files", len(files))
	}
}
