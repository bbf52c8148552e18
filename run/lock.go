package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/coppice-ml/coppice/internal/filelock"
	"github.com/coppice-ml/coppice/run/rundir"
)

// How often an owner says that it is alive, and when nobody believes it any more.
// Where the system's own locks work, a process that has ended is known at once.
const (
	heartbeat = 10 * time.Second
	stale     = 2 * time.Minute
)

// Owner is who works in a run directory.
type Owner struct {
	ID      string    `json:"id"` // of this taking of the lock
	Host    string    `json:"host"`
	Boot    string    `json:"boot_id,omitempty"` // of the system, where it has one
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Beat    time.Time `json:"beat"` // when it was last alive
}

func (o Owner) String() string {
	return fmt.Sprintf("process %d on %s, since %s", o.PID, o.Host, o.Started.Format(time.RFC3339))
}

// ErrLocked: another process works in the run directory.
var ErrLocked = errors.New("another process works here")

// ErrLost: the lock is gone, or another process has it.
var ErrLost = errors.New("the lock of the run directory was lost")

// lock is a lock that is held.
type lock struct {
	path    string
	owner   Owner
	release func() // of the system's lock
	stop    chan struct{}
	stopped sync.WaitGroup
}

// takeLock takes the lock of a directory. The file names its owner; the system's own
// lock on a file beside it, where there are such locks, goes with the process. An
// owner that is gone is taken over.
func takeLock(dir string) (*lock, error) {
	l := &lock{path: filepath.Join(dir, rundir.LockFile), stop: make(chan struct{})}
	var err error
	if l.release, err = filelock.Take(l.path + ".held"); err != nil {
		if !errors.Is(err, filelock.ErrHeld) {
			return nil, err
		}
		have, _ := readOwner(l.path)
		return nil, fmt.Errorf("%s: %w: %s", dir, ErrLocked, have)
	}
	have, err := readOwner(l.path)
	if err == nil && !have.gone(dir, time.Now()) {
		l.release()
		return nil, fmt.Errorf("%s: %w: %s", dir, ErrLocked, have)
	}
	id := make([]byte, 8)
	_, _ = rand.Read(id)
	host, _ := os.Hostname()
	now := time.Now().UTC().Truncate(time.Second)
	l.owner = Owner{ID: hex.EncodeToString(id), Host: host, Boot: bootID(), PID: os.Getpid(), Started: now, Beat: now}
	if err := rundir.Write(l.path, l.owner); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

// gone says that an owner is no more: it is of this machine before it was started
// anew, or has not been heard of for long. A live process of this machine holds the
// system's lock, which was free.
func (o Owner) gone(dir string, now time.Time) bool {
	host, _ := os.Hostname()
	if o.Host == host && hasLocks(dir) {
		return true
	}
	if o.Host == host && o.Boot != bootID() {
		return true
	}
	return now.Sub(o.Beat) > stale
}

// beat says that the owner is alive, and finds out whether the lock is still its own.
// lost is called once when it is not.
func (l *lock) beat(lost context.CancelCauseFunc, every time.Duration) {
	l.stopped.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-tick.C:
			}
			if err := l.alive(); err != nil {
				lost(err)
				return
			}
		}
	})
}

func (l *lock) alive() error {
	have, err := readOwner(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s is gone", ErrLost, l.path)
	case err != nil:
		return nil // a disk that does not answer now may answer again
	case have.ID != l.owner.ID:
		return fmt.Errorf("%w: it is held by %s", ErrLost, have)
	}
	l.owner.Beat = time.Now().UTC().Truncate(time.Second)
	_ = rundir.Write(l.path, l.owner)
	return nil
}

// close lets the lock go.
func (l *lock) close() {
	close(l.stop)
	l.stopped.Wait()
	if have, err := readOwner(l.path); err == nil && have.ID == l.owner.ID {
		_ = os.Remove(l.path)
	}
	l.release()
}

func readOwner(path string) (o Owner, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return o, err
	}
	return o, json.Unmarshal(raw, &o)
}

// bootID is the kernel's name for the time since it was started; "" where it has none.
func bootID() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// hasLocks says whether the disk of a directory has locks on files.
func hasLocks(dir string) bool {
	f, err := os.CreateTemp(dir, ".lock-*")
	if err != nil {
		return false
	}
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	ok, err := filelock.Try(f)
	return ok && err == nil
}
