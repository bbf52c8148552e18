package hub

import (
	"context"
	"fmt"
	"os"
	"path"
	"time"

	"github.com/coppice-ml/coppice/internal/filelock"
)

// lockPause is how often a lock that somebody else has is tried again, and
// lockPatience when it is time to say so.
const (
	lockPause    = 50 * time.Millisecond
	lockPatience = time.Second
)

// acquire takes the lock of a blob, and waits while another process has it.
// The function returned gives it back.
func (s *store) acquire(ctx context.Context, c *Client, f File) (release func(), err error) {
	name := s.lock(f.ETag())
	if err := s.root.MkdirAll(path.Dir(name), 0o777); err != nil {
		return nil, s.unsafe(path.Dir(name), err)
	}
	start, told := time.Now(), false
	for {
		file, err := s.tryAcquire(name)
		if err != nil {
			return nil, err
		}
		if file != nil {
			return func() { _ = file.Close() }, nil
		}
		if !told && time.Since(start) > lockPatience {
			told = true
			c.note("%s is being downloaded by somebody else; waiting for it", f.Name)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lockPause):
		}
	}
}

// tryAcquire returns the locked file, or nil when somebody else has it.
func (s *store) tryAcquire(name string) (*os.File, error) {
	file, err := s.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o664)
	if err != nil {
		return nil, s.unsafe(name, err)
	}
	locked, err := filelock.Try(file)
	if err != nil {
		err = fmt.Errorf("lock %s: %w; set HF_HUB_CACHE to a directory on another disk", file.Name(), err)
	}
	// Whoever had it may have removed the file: then this is a lock on nothing.
	if locked && !s.same(file, name) {
		locked = false
	}
	if !locked {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

func (s *store) same(file *os.File, name string) bool {
	a, errA := file.Stat()
	b, errB := s.root.Stat(name)
	return errA == nil && errB == nil && os.SameFile(a, b)
}
