package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/engine"
	engines "github.com/coppice-ml/coppice/engine/all"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// listener hears what is said and asked.
type listener struct {
	stage.Silent
	asked  []time.Duration
	notes  []string
	refuse error
}

func (l *listener) Consent(_ context.Context, e stage.Estimate) error {
	l.asked = append(l.asked, e.Time)
	return l.refuse
}

func (l *listener) Note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

// TestConsent: what is asked for is what is left to do, and before anything is begun.
func TestConsent(t *testing.T) {
	w := newWorld(t)
	talk := &listener{refuse: errors.New("no")}
	w.env.Talk = talk
	recipe := base + "matrix: {last: {set: heal.last, values: [0, 1]}}\n"
	if _, _, err := w.run(t, context.Background(), recipe, "out", nil); !errors.Is(err, talk.refuse) {
		t.Errorf("refused: %v", err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "out")); err == nil {
		t.Error("something was begun")
	}
	talk.refuse = nil
	if _, _, err := w.run(t, context.Background(), recipe, "out", nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.run(t, context.Background(), recipe, "out", nil); err != nil {
		t.Fatal(err)
	}
	if len(talk.asked) != 2 {
		t.Fatalf("asked %d times, and there was nothing to do the last", len(talk.asked))
	}
	d, err := rundir.Open(filepath.Join(w.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	ref, _ := d.Trials[1].Stage("healed.tasks")
	m, err := d.Manifest(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(d.File(ref, "")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.run(t, context.Background(), recipe, "out", nil); err != nil {
		t.Fatal(err)
	}
	if got := talk.asked[len(talk.asked)-1].Seconds(); math.Abs(got-m.Measured.Estimated) > 1e-6 || got >= talk.asked[0].Seconds() {
		t.Errorf("asked for %v seconds, and %v are left of %v", got, m.Measured.Estimated, talk.asked[0].Seconds())
	}
}

// TestLimits: most documents and rows hold for values of axes, too, and only cut.
func TestLimits(t *testing.T) {
	w := newWorld(t)
	l, err := Load(w.write(t, "limits.yaml", base+`limits: {documents: 5, rows: 8}
matrix:
  rows: {set: heal.data.samples, values: [4, 30]}
  limit: {set: measure.limit, values: [2, 20]}
`))
	if err != nil {
		t.Fatal(err)
	}
	trials, err := l.Trials()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, tr := range trials {
		got = append(got, fmt.Sprint(tr.Settings.Heal.Data.Samples.N, " ", tr.Settings.Measure.Limit))
	}
	if s := strings.Join(got, ", "); s != "4 2, 4 5, 8 2, 8 5" {
		t.Errorf("rows and documents: %s", s)
	}
}

// TestBudgetCuts: documents go first, then rows, of all trials; the plan says what.
func TestBudgetCuts(t *testing.T) {
	const recipe = `coppice: 1
models: [model]
prune: {count: 2}
heal: {last: 0, data: {from: nobody/knows}, epochs: 1}
measure: {at: [cut], tasks: [arc_easy]}
matrix: {rows: {set: heal.data.samples, values: [1500, 40000]}}
`
	w := newWorld(t)
	l, err := Load(w.write(t, "budget.yaml", recipe))
	if err != nil {
		t.Fatal(err)
	}
	plan := func(budget time.Duration, pace stage.Pace) (*Plan, error) {
		return Prepare(context.Background(), w.env, Options{Recipe: l, Out: filepath.Join(w.dir, "out"), Budget: budget, Pace: map[string]stage.Pace{filepath.Join(w.dir, "model"): pace}})
	}
	pace := stage.Pace{Layer: 1e-5}
	free, err := plan(0, pace)
	if err != nil {
		t.Fatal(err)
	}
	for share, want := range map[float64]string{
		0.999: "the first 1000 documents of every task",
		0.5:   "the first 50 documents of every task and 20000 rows to train on",
	} {
		p, err := plan(time.Duration(free.Seconds*share*1e9), pace)
		if err != nil {
			t.Errorf("%v of the time: %v", share, err)
			continue
		}
		if got := strings.Join(p.Cuts, " and "); got != want || p.Seconds > free.Seconds*share || !p.partial() {
			t.Errorf("%v of the time: %q, want %q; %v of %v seconds", share, got, want, p.Seconds, free.Seconds)
		}
	}
	if _, err := plan(time.Millisecond, pace); err == nil || !strings.Contains(err.Error(), "even with the first 50 documents of every task and 1000 rows to train on the run takes about") {
		t.Errorf("a millisecond: %v", err)
	}
}

// TestGPUs: of several GPUs calls that work side by side have one each.
func TestGPUs(t *testing.T) {
	w := newWorld(t)
	w.env.Engines = func(e stage.Engine, getenv func(string) string) (engine.Engine, error) {
		cpu, err := engines.Open("cpu", engines.Options{DType: e.DType, Threads: 1, Getenv: getenv})
		switch {
		case e.Device == "cpu" || err != nil:
			return cpu, err
		case e.Device == "cuda:2":
			return nil, errors.New("there are two")
		}
		return untrained{cpu, cmp.Or(e.Device, "cuda")}, nil
	}
	recipe := strings.Replace(base, "heal:", "none:", 1)
	recipe = recipe[:strings.Index(recipe, "none:")] + "matrix: {limit: {set: measure.limit, values: [5, 6, 7, 8]}}\n" + recipe[strings.Index(recipe, "measure:"):]
	for parallel, want := range map[int]int{1: 1, 3: 2} {
		_, outcome, err := w.run(t, context.Background(), recipe, fmt.Sprint("out", parallel), func(o *Options) { o.Parallel = parallel })
		if err != nil {
			t.Fatal(err)
		}
		d, err := rundir.Open(outcome.Dir)
		if err != nil {
			t.Fatal(err)
		}
		on := map[string]bool{}
		for _, tr := range d.Trials {
			ref, _ := tr.Stage("dense.tasks")
			if m, err := d.Manifest(ref); err != nil || m == nil {
				t.Fatal(m, err)
			} else {
				on[m.Device] = true
			}
		}
		if len(on) != want {
			t.Errorf("%d side by side ran on %v", parallel, on)
		}
	}
}

// untrained is an engine without gradients, under another device's name.
type untrained struct {
	engine.Engine
	device string
}

func (u untrained) Info() engine.Info {
	i := u.Engine.Info()
	i.Device = u.device
	return i
}

// TestTrainedElsewhere: where the models run on what computes no gradients, training
// and adapters run on the processor; the plan says so, and the manifests.
func TestTrainedElsewhere(t *testing.T) {
	w := newWorld(t)
	talk := &listener{}
	w.env.Talk = talk
	w.env.Engines = func(e stage.Engine, getenv func(string) string) (engine.Engine, error) {
		cpu, err := engines.Open("cpu", engines.Options{DType: e.DType, Threads: 1, Getenv: getenv})
		if e.Device == "cuda" && err == nil {
			return untrained{cpu, "cuda"}, nil
		}
		return cpu, err
	}
	recipe := strings.Replace(base, "engine: {", "engine: {device: cuda, ", 1) + `matrix:
  how:
    - {name: tune, heal: {last: 0}}
    - {name: adapt, heal: {method: lora, rank: 2, targets: [q]}}
`
	_, outcome, err := w.run(t, context.Background(), recipe, "out", func(o *Options) {
		o.Pace[filepath.Join(w.dir, "model")+" on cpu"] = stage.Pace{Layer: 1e-6}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(talk.notes, "\n"), "healing runs on the cpu: the engine of cuda computes no gradients") {
		t.Errorf("said: %v", talk.notes)
	}
	d, err := rundir.Open(outcome.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for trial, want := range map[string]string{"model/tune": "cuda cuda cpu cuda", "model/adapt": "cuda cuda cpu cpu"} {
		tr, _ := d.Trial(trial)
		var got []string
		for _, role := range []string{"dense.tasks", "cut.tasks", rundir.KindHeal, "healed.tasks"} {
			ref, _ := tr.Stage(role)
			m, err := d.Manifest(ref)
			if err != nil || m == nil || m.Inputs["engine.device"] != m.Device {
				t.Fatalf("%s %s: %+v, %v", trial, role, m, err)
			}
			got = append(got, m.Device)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s ran on %s, want %s", trial, s, want)
		}
	}
}

// TestParallel: calls that work side by side give the same bytes.
func TestParallel(t *testing.T) {
	w := newWorld(t)
	for out, n := range map[string]int{"one": 1, "three": 3} {
		if _, _, err := w.run(t, context.Background(), base+matrix, out, func(o *Options) { o.Parallel = n }); err != nil {
			t.Fatal(err)
		}
	}
	sameBytes(t, filepath.Join(w.dir, "one", rundir.StagesDir), filepath.Join(w.dir, "three", rundir.StagesDir))
}

// TestHealKeys: what is wrong with training is said before anything starts, by its key.
func TestHealKeys(t *testing.T) {
	w := newWorld(t)
	l, err := Load(w.write(t, "warm.yaml", base+"matrix: {warm: {set: heal.warmup_steps, values: [2, 9]}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Prepare(context.Background(), w.env, Options{Recipe: l, Out: filepath.Join(w.dir, "out")})
	var p *Error
	if !errors.As(err, &p) || !strings.Contains(p.What+err.Error(), "heal.warmup_steps 9: more than the 4 heal.steps") || !strings.Contains(p.Remedy, "lower heal.warmup_steps") {
		t.Errorf("%v, %+v", err, p)
	}
}
