package run

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/hubtest"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// small measures nothing: what is tested is how stages go on.
const small = `coppice: 1
name: small
models: [model]
measure: none
score: {data: {from: text.txt, samples: 2, length: 16}}
prune: {by: reverse, count: 2}
heal: {last: 0, data: {from: rows.jsonl, max_length: 64, validation: 0}, steps: 2, batch_size: 2, lr: 1e-3, keep: last}
keep: {healed: trained}
engine: {dtype: float32, threads: 1}
`

// TestFailingTrial: a trial whose loss is not a number fails with the reason, the
// others are done, and the same command tries it again.
func TestFailingTrial(t *testing.T) {
	w := newWorld(t)
	recipe := small + "matrix: {lr: {set: heal.lr, values: [1e-3, 1e30]}}\n"
	recipe = strings.Replace(recipe, "steps: 2", "steps: 6", 1)
	_, outcome, err := w.run(t, context.Background(), recipe, "out", nil)
	if !errors.Is(err, stage.ErrPartial) || outcome.Failed != 1 {
		t.Fatalf("%+v, %v", outcome, err)
	}
	d, err := rundir.Open(outcome.Dir)
	if err != nil {
		t.Fatal(err)
	}
	bad, _ := d.Trials[1].Stage(rundir.KindHeal)
	f, err := d.Failure(bad)
	if err != nil || f == nil || !strings.Contains(f.Message, "step") {
		t.Errorf("failure %+v, %v", f, err)
	}
	good, _ := d.Trials[0].Stage(rundir.KindHeal)
	if m, err := d.Manifest(good); err != nil || m == nil {
		t.Errorf("the other trial: %+v, %v", m, err)
	}
	got, _, err := w.run(t, context.Background(), recipe, "out", nil)
	if !errors.Is(err, stage.ErrPartial) {
		t.Errorf("again: %v", err)
	}
	check(t, "again", got, `{"heal":1}`)
	if l := w.lines[len(w.lines)-2]; !strings.HasPrefix(l.Because, "it failed: ") {
		t.Errorf("no reason: %+v", l)
	}
}

// TestDamaged: what is there of another version, damaged or removed is done again, and
// nothing else.
func TestDamaged(t *testing.T) {
	w := newWorld(t)
	if _, _, err := w.run(t, context.Background(), small, "out", nil); err != nil {
		t.Fatal(err)
	}
	d, err := rundir.Open(filepath.Join(w.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	heal, _ := d.Trials[0].Stage(rundir.KindHeal)
	manifest := d.File(heal, rundir.ManifestFile)
	for _, c := range []struct {
		what, because string
		damage        func() error
	}{
		{"an old manifest", "of format 0", func() error { return rundir.Write(manifest, rundir.Manifest{Format: 0, Kind: "heal"}) }},
		{"half a manifest", "manifest is damaged", func() error { return os.WriteFile(manifest, []byte(`{"format":1,`), 0o666) }},
		{"no trained tensors", "trained.safetensors is missing or was changed", func() error { return os.Remove(d.File(heal, rundir.TrainedFile)) }},
	} {
		if err := c.damage(); err != nil {
			t.Fatal(err)
		}
		got, _, err := w.run(t, context.Background(), small, "out", nil)
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		check(t, c.what, got, `{"heal":1}`)
		if !strings.Contains(w.lines[len(w.lines)-1].Because, c.because) {
			t.Errorf("%s: %+v", c.what, w.lines)
		}
	}
	if err := rundir.Write(filepath.Join(w.dir, "out", rundir.RunFile), rundir.Run{Format: 9}); err != nil {
		t.Fatal(err)
	}
	if got, _, err := w.run(t, context.Background(), small, "out", nil); err != nil || len(got) > 0 {
		t.Errorf("a run file of another version: %v, %v", got, err)
	}
}

// steal takes a lock from its owner, until the owner finds that out and ends its context:
// a beat that is being written may write over it.
func steal(ctx context.Context, lock string, thief Owner) error {
	for ctx.Err() == nil {
		if err := rundir.Write(lock, thief); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// TestLock: a second process is kept out and told who works there; an owner that is
// gone is taken over; a lock that is lost ends the run.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	l, err := takeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := takeLock(dir); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process ") {
		t.Errorf("taken twice: %v", err)
	}
	ctx, lost := context.WithCancelCause(context.Background())
	other := l.owner
	other.ID, other.Host = "other", "elsewhere"
	l.beat(lost, time.Millisecond)
	if err := steal(ctx, l.path, other); err != nil {
		t.Fatal(err)
	}
	if err := context.Cause(ctx); !errors.Is(err, ErrLost) {
		t.Errorf("%v", err)
	}
	l.close()
	if have, err := readOwner(l.path); err != nil || have.ID != "other" {
		t.Errorf("the other's lock was removed: %+v, %v", have, err)
	}
	if _, err := takeLock(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("an owner on another machine that is alive: %v", err)
	}
	other.Beat = time.Now().Add(-time.Hour)
	if err := rundir.Write(l.path, other); err != nil {
		t.Fatal(err)
	}
	again, err := takeLock(dir)
	if err != nil {
		t.Fatalf("a stale owner: %v", err)
	}
	again.close()
	if _, err := os.Stat(l.path); err == nil {
		t.Error("the lock is still there")
	}
}

// TestRefusedAtStart: a model that is gated and one that is missing are both named,
// and nothing is begun.
func TestRefusedAtStart(t *testing.T) {
	w := newWorld(t)
	s := hubtest.New()
	defer s.Close()
	config, err := os.ReadFile(filepath.Join(w.dir, "model", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	s.Add("model", "org/gated", map[string][]byte{"config.json": config})
	s.Set("model", "org/gated", func(r *hubtest.Repo) { r.Gated = true })
	home := t.TempDir()
	w.env.Hub = func() (*hub.Client, error) {
		env := map[string]string{"HF_ENDPOINT": s.URL, "HF_HOME": home}
		return hub.FromEnv(func(name string) string { return env[name] })
	}
	recipe := strings.Replace(small, "models: [model]", "models: [org/gated, org/missing, nowhere]", 1)
	_, _, err = w.run(t, context.Background(), recipe, "out", nil)
	var refused *RefusedError
	if !errors.As(err, &refused) || len(refused.Problems) != 3 {
		t.Fatalf("%v", err)
	}
	for _, name := range []string{"gated", "missing", "nowhere"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(w.dir, "out")); err == nil {
		t.Error("something was begun")
	}
}

// TestEditedMeanwhile: a recipe that is changed while its run is half done goes on with
// what is the same; the former stages stay.
func TestEditedMeanwhile(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	recipe := small + "matrix: {last: {set: heal.last, values: [0, 1]}}\n"
	seen := 0
	_, _, err := w.run(t, ctx, recipe, "out", func(o *Options) {
		tell := o.Tell
		o.Tell = func(s report.Stage) error {
			if s.Kind == rundir.KindHeal && s.State == report.StageRun {
				if seen++; seen == 2 {
					cancel()
				}
			}
			return tell(s)
		}
	})
	if !errors.Is(err, stage.ErrPartial) {
		t.Fatalf("cancelled: %v", err)
	}
	got, _, err := w.run(t, context.Background(), strings.Replace(recipe, "[0, 1]", "[0, 2]", 1), "out", nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "edited", got, `{"heal":1}`)
	entries, err := os.ReadDir(filepath.Join(w.dir, "out", rundir.StagesDir))
	if err != nil || len(entries) != 5 {
		t.Errorf("%d stages are there, %v", len(entries), err)
	}
}

// TestBudget: documents go first, then rows; results are partial and say so; what does
// not fit is refused.
func TestBudget(t *testing.T) {
	w := newWorld(t)
	slow := func(o *Options) {
		o.Pace = map[string]stage.Pace{filepath.Join(w.dir, "model"): {Layer: 1e-3, Head: 1e-3}}
		o.Budget = time.Second
	}
	if _, _, err := w.run(t, context.Background(), base, "out", slow); err == nil || !strings.Contains(err.Error(), "--budget 1s") {
		t.Errorf("a second: %v", err)
	}
	if _, _, err := w.run(t, context.Background(), base+"limits: {hours: 1e-9}\n", "out", nil); !isRefused(err) {
		t.Errorf("limits.hours: %v", err)
	}
	if _, _, err := w.run(t, context.Background(), base+"limits: {disk: 10}\n", "out", nil); !isRefused(err) {
		t.Errorf("limits.disk: %v", err)
	}
}

// TestExport: a trial's checkpoint is the bytes that the run writes where it keeps one.
func TestExport(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	keeps := strings.Replace(small, "keep: {healed: trained}", "keep: {healed: checkpoint}", 1)
	if _, _, err := w.run(t, ctx, keeps, "kept", nil); err != nil {
		t.Fatal(err)
	}
	recipe := small + "matrix: {how: [{name: tune, heal: {last: 0}}, {name: adapt, heal: {method: lora, rank: 2}}]}\n"
	if _, _, err := w.run(t, ctx, recipe, "out", nil); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(w.dir, "exported")
	if _, err := Export(ctx, w.env, filepath.Join(w.dir, "out", "model", "tune"), out, false); err != nil {
		t.Fatal(err)
	}
	d, err := rundir.Open(filepath.Join(w.dir, "kept"))
	if err != nil {
		t.Fatal(err)
	}
	ref, _ := d.Trials[0].Stage(rundir.KindCheckpoint)
	for _, name := range []string{"model.safetensors", "config.json", "coppice_plan.json", "README.md"} {
		a, errA := os.ReadFile(filepath.Join(out, name))
		b, errB := os.ReadFile(d.File(ref, "model/"+name))
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%s differs (%v, %v)", name, errA, errB)
		}
	}
	if _, err := Export(ctx, w.env, filepath.Join(w.dir, "out", "trials", "model", "adapt"), out+"2", false); err != nil {
		t.Errorf("an adapter: %v", err)
	}
	if _, err := Export(ctx, w.env, filepath.Join(w.dir, "out", "model", "none"), out+"3", false); err == nil || !strings.Contains(err.Error(), "has no trial") {
		t.Errorf("no such trial: %v", err)
	}
	if _, err := Export(ctx, w.env, filepath.Join(w.dir, "model"), out+"3", false); !errors.Is(err, ErrNoTrial) {
		t.Errorf("no run: %v", err)
	}
}

// TestPlanLines: Table 4's trained parameters, of a config alone.
func TestPlanLines(t *testing.T) {
	const config = "../model/testdata/configs/llama-3.1-8b"
	l, err := Load("cost")
	if err != nil {
		t.Fatal(err)
	}
	if l, err = l.With([]string{config}, nil); err != nil {
		t.Fatal(err)
	}
	env := stage.Env{Getenv: os.Getenv, Version: "test", Talk: stage.Silent{}}
	p, err := Prepare(context.Background(), env, Options{Recipe: l, Out: filepath.Join(t.TempDir(), "out"), Pace: map[string]stage.Pace{config: {Layer: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, line := range p.Lines() {
		if l, ok := line.(report.TrialPlan); ok {
			got = append(got, l.Trainable)
		}
	}
	want := []int64{15_728_640, 525_340_672, 743_452_672, 961_564_672, 1_179_676_672}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("trained parameters %s, Table 4 has %s", a, b)
	}
}
