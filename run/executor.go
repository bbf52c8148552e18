package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// executor does the stages of a graph that are not done yet.
type executor struct {
	root     string
	env      stage.Env
	graph    *graph
	before   *rundir.Dir // the run as it was; nil: new
	parallel int
	devices  []string // GPUs, where several calls have one each
	partial  bool     // a budget left something out
	tell     func(report.Stage) error

	mu     sync.Mutex
	state  map[*Stage]string // report.StageReused …; "": to be done
	why    map[*Stage]string
	aside  map[*Stage]bool // what is there of it is put aside
	failed []*Stage
	stop   error // that ends everything
}

// look finds out which stages are done, and says so.
func (x *executor) look() error {
	x.state, x.why, x.aside = map[*Stage]string{}, map[*Stage]string{}, map[*Stage]bool{}
	for _, s := range x.graph.stages {
		st, err := x.stand(s)
		if err != nil {
			return err
		}
		x.why[s], x.aside[s] = st.because, st.aside
		for _, n := range s.Needs {
			if st.done && x.state[n] != report.StageReused {
				st.done, x.aside[s] = false, true
				x.why[s] = fmt.Sprintf("%s is done again", n.Title)
			}
		}
		if !st.done {
			continue
		}
		x.state[s] = report.StageReused
		for _, name := range leftovers(s.Kind) {
			if err := os.RemoveAll(filepath.Join(x.root, filepath.FromSlash(s.Dir), name)); err != nil {
				return err
			}
		}
		if err := x.tell(x.line(s, report.StageReused, st.because)); err != nil {
			return err
		}
	}
	return nil
}

func (x *executor) line(s *Stage, state, because string) report.Stage {
	l := report.Stage{Trial: s.Trials[0], Stage: s.Roles[0], Kind: s.Kind, State: state, Because: because, Dir: s.Dir}
	if len(s.Trials) > 1 {
		l.Trials = s.Trials
	}
	return l
}

// do does all that is to be done, as many calls side by side as were asked for. The
// error is of something that ends the run; stages that failed by themselves are in
// failed.
func (x *executor) do(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done, running := make(chan int), 0
	free := make([]int, max(1, x.parallel)) // places, of which a call takes one
	for i := range free {
		free[i] = i
	}
	for {
		for running < max(1, x.parallel) && ctx.Err() == nil {
			batch := x.next(running == 0)
			if batch == nil {
				break
			}
			place := free[0]
			free = free[1:]
			running++
			go func() {
				x.call(ctx, cancel, place, batch)
				done <- place
			}()
		}
		if running == 0 {
			break
		}
		free = append(free, <-done)
		running--
	}
	if x.stop != nil {
		return x.stop
	}
	return context.Cause(ctx)
}

const stateRunning = "running"

// next takes the stages of the next call: the first whose needs are done, with those
// that go together with it. One that would go together with stages still to come
// waits for them, unless nothing runs that it could wait for.
func (x *executor) next(idle bool) []*Stage {
	x.mu.Lock()
	defer x.mu.Unlock()
	var waiting []*Stage
	for _, s := range x.graph.stages {
		if !x.ready(s) {
			continue
		}
		batch, waits := x.group(s)
		if !waits {
			return x.take(batch)
		}
		if waiting == nil {
			waiting = batch
		}
	}
	if !idle {
		return nil
	}
	return x.take(waiting)
}

func (x *executor) take(batch []*Stage) []*Stage {
	for _, s := range batch {
		x.state[s] = stateRunning
	}
	return batch
}

// group are the stages that are ready and go together with one, and whether others
// that do are still to come.
func (x *executor) group(s *Stage) (batch []*Stage, waits bool) {
	batch = []*Stage{s}
	for _, o := range x.graph.stages {
		if o == s || s.together == "" || o.together != s.together || x.state[o] != "" {
			continue
		}
		if x.ready(o) {
			batch = append(batch, o)
		} else if x.coming(o) {
			waits = true
		}
	}
	return batch, waits
}

// coming says that nothing which a stage needs has failed.
func (x *executor) coming(s *Stage) bool {
	return !slices.ContainsFunc(s.Needs, func(n *Stage) bool {
		return x.state[n] == report.StageFailed || x.state[n] == report.StageSkipped || x.state[n] == "" && !x.coming(n)
	})
}

func (x *executor) ready(s *Stage) bool {
	return x.state[s] == "" && !slices.ContainsFunc(s.Needs, func(n *Stage) bool {
		return x.state[n] != report.StageReused && x.state[n] != report.StageRun
	})
}

// call does a batch and notes what came of it.
func (x *executor) call(ctx context.Context, cancel context.CancelCauseFunc, place int, batch []*Stage) {
	err := x.work(ctx, place, batch)
	if err != nil && len(batch) > 1 && ctx.Err() == nil && !endsAll(err) {
		for _, s := range batch { // one of them is to blame, and the others are not to suffer
			x.call(ctx, cancel, place, []*Stage{s})
		}
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case err == nil:
		for _, s := range batch {
			x.state[s] = report.StageRun
		}
	case ctx.Err() != nil || endsAll(err):
		for _, s := range batch {
			x.state[s] = ""
		}
		if x.stop == nil {
			x.stop = err
		}
		cancel(err)
	default:
		for _, s := range batch {
			x.fail(s, err)
		}
	}
}

// endsAll says that no other stage would fare better.
func endsAll(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// fail notes that a stage failed, and that what needs it is left out.
func (x *executor) fail(s *Stage, err error) {
	x.state[s] = report.StageFailed
	x.failed = append(x.failed, s)
	message, remedy := stage.Describe(err, func(f string) string { return f })
	f := rundir.Failure{Format: rundir.Format, Message: message, Remedy: remedy, When: time.Now().UTC().Truncate(time.Second)}
	if err := rundir.Write(filepath.Join(x.root, filepath.FromSlash(s.Dir), rundir.FailureFile), f); err != nil && x.stop == nil {
		x.stop = err
	}
	_ = x.tell(x.line(s, report.StageFailed, message))
	for _, o := range x.graph.stages {
		if x.state[o] == "" && !x.coming(o) {
			x.state[o] = report.StageSkipped
			_ = x.tell(x.line(o, report.StageSkipped, s.Title+" failed"))
		}
	}
}

// clear makes a stage's directory ready for work: what is there is gone on from, or put
// aside under another name.
func (x *executor) clear(dir string, aside bool) error {
	if aside {
		old := dir + ".old"
		if err := os.RemoveAll(old); err != nil {
			return err
		}
		if err := os.Rename(dir, old); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, rundir.FailureFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// work does a batch and writes its manifests.
func (x *executor) work(ctx context.Context, place int, batch []*Stage) error {
	c := &call{ctx: ctx, env: x.env, root: x.root, partial: x.partial}
	if len(x.devices) > 0 {
		c.device = x.devices[place%len(x.devices)]
	}
	if x.parallel > 1 {
		c.threads = max(1, runtime.GOMAXPROCS(0)/x.parallel)
		if m := stage.DefaultMemory(); m > 0 {
			c.memory = fmt.Sprint(m / int64(x.parallel))
		}
	}
	for _, s := range batch {
		x.mu.Lock()
		aside := x.aside[s]
		x.aside[s] = false
		x.mu.Unlock()
		if err := x.clear(c.path(s.Dir), aside); err != nil {
			return err
		}
		if err := x.tell(x.line(s, report.StageRun, x.why[s])); err != nil {
			return err
		}
	}
	started := time.Now()
	if err := batch[0].do(c, batch); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for _, s := range batch {
		if err := c.finished(s, measured(s, started, len(batch))); err != nil {
			return err
		}
	}
	return nil
}
