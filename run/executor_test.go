package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// made is an executor of stages that are made up, by name; what each does writes a file.
func made(t *testing.T, root string, parallel int, does map[string]func() error, names ...string) *executor {
	t.Helper()
	g := &graph{}
	for _, name := range names {
		s := g.add(&Stage{Kind: "made", Title: name, Inputs: map[string]string{"name": name}})
		s.use("trial", name)
		s.do = func(c *call, stages []*Stage) error {
			if do := does[name]; do != nil {
				if err := do(); err != nil {
					return err
				}
			}
			return rundir.WriteFile(c.file(stages[0], "result"), []byte(name))
		}
	}
	x := &executor{root: root, env: stage.Env{Version: "test", Talk: stage.Silent{}}, graph: g, parallel: parallel, tell: func(report.Stage) error { return nil }}
	if err := x.look(); err != nil {
		t.Fatal(err)
	}
	return x
}

// standings are the states of an executor's stages, in order.
func (x *executor) standings() string {
	var out []string
	for _, s := range x.graph.stages {
		out = append(out, s.Title+" "+x.state[s])
	}
	return strings.Join(out, ", ")
}

// TestDiskFull: a disk that is full ends the run, which says so; no stage is to blame,
// and nothing that was done is lost.
func TestDiskFull(t *testing.T) {
	ctx, root := context.Background(), t.TempDir()
	full := map[string]func() error{"b": func() error { return fmt.Errorf("write it: %w", syscall.ENOSPC) }}
	x := made(t, root, 1, full, "a", "b", "c")
	err := x.ended(ctx, x.do(ctx))
	var partial *PartialError
	if !errors.As(err, &partial) || !strings.Contains(partial.Remedy, "make room where "+root) {
		t.Errorf("%v", err)
	}
	if got := x.standings(); got != "a run, b , c " {
		t.Errorf("states: %s", got)
	}
	x = made(t, root, 1, nil, "a", "b", "c")
	if err := x.ended(ctx, x.do(ctx)); err != nil {
		t.Error(err)
	}
	if got := x.standings(); got != "a reused, b run, c run" {
		t.Errorf("afterwards: %s", got)
	}
}

// TestParallelCalls: as many calls as were asked for work at a time: each waits here
// for the other.
func TestParallelCalls(t *testing.T) {
	meet := make(chan struct{})
	give := func() error {
		select {
		case meet <- struct{}{}:
			return nil
		case <-time.After(time.Minute):
			return errors.New("alone")
		}
	}
	take := func() error {
		select {
		case <-meet:
			return nil
		case <-time.After(time.Minute):
			return errors.New("alone")
		}
	}
	ctx := context.Background()
	x := made(t, t.TempDir(), 2, map[string]func() error{"a": give, "b": take}, "a", "b", "c")
	if err := x.ended(ctx, x.do(ctx)); err != nil {
		t.Error(err)
	}
	if got := x.standings(); got != "a run, b run, c run" {
		t.Errorf("states: %s", got)
	}
}

// TestFailedAlone: of stages that are done in one call the one to blame fails alone.
func TestFailedAlone(t *testing.T) {
	ctx := context.Background()
	x := made(t, t.TempDir(), 1, nil, "a", "b", "c")
	for _, s := range x.graph.stages {
		s.together = "one call"
		s.do = func(c *call, stages []*Stage) error {
			for _, s := range stages {
				if s.Title == "b" {
					return errors.New("b is wrong")
				}
				if err := rundir.WriteFile(c.file(s, "result"), []byte(s.Title)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if err := x.ended(ctx, x.do(ctx)); !errors.Is(err, stage.ErrPartial) || !strings.Contains(err.Error(), "1 stage failed, the first of them: b") {
		t.Errorf("%v", err)
	}
	if got := x.standings(); got != "a run, b failed, c run" {
		t.Errorf("states: %s", got)
	}
}

// TestLostLock: a run whose lock another process takes ends, with what it has done, and
// says who has it.
func TestLostLock(t *testing.T) {
	w := newWorld(t)
	lock := w.dir + "/out/" + rundir.LockFile
	thief := Owner{ID: "other", Host: "elsewhere", PID: 7, Beat: time.Now()}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	taken := false
	_, outcome, err := w.run(t, ctx, small, "out", func(o *Options) {
		o.beat = time.Millisecond
		var mine context.Context
		o.begun = func(ctx context.Context) { mine = ctx }
		tell := o.Tell
		o.Tell = func(s report.Stage) error {
			if s.Kind == rundir.KindHeal && s.State == report.StageRun {
				taken = true
				if err := steal(mine, lock, thief); err != nil {
					return err
				}
			}
			return tell(s)
		}
	})
	if !taken || !errors.Is(err, stage.ErrPartial) || !strings.Contains(err.Error(), "process 7 on elsewhere") || outcome.Done != 2 {
		t.Errorf("taken %v: %+v, %v", taken, outcome, err)
	}
	if have, err := readOwner(lock); err != nil || have.ID != thief.ID {
		t.Errorf("the other's lock was removed: %+v, %v", have, err)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	got, _, err := w.run(t, context.Background(), small, "out", nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "afterwards", got, `{"heal":1}`)
}
