package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/coppice-ml/coppice/internal/meter"
)

// Part is a run of a new file's bytes: a range of a file that is there, or what
// Fill makes.
type Part struct {
	Path   string // of the file to copy from; "" where Fill is set
	Offset int64  // in it
	Bytes  int64
	// Fill writes bytes [at, at+len(dst)) of the part. It is called for ranges of Step
	// bytes, the last one shorter, in any order and from several goroutines at once.
	Fill func(dst []byte, at int64) error
	Step int64
}

// WriteFile writes one file that is made of parts, one behind the other, in memory
// that does not grow with it. Like a copy by [Write] it appears at once and
// complete, or not at all; see [CheckFile] for one that exists. Errors wrap ErrExists,
// ErrNoSpace or the context's cause.
func WriteFile(ctx context.Context, out, kind string, parts []Part, opt WriteOptions) (Written, error) {
	sys := opt.system
	if sys == nil {
		sys = &system{free: freeSpace, copy: copyInKernel}
	}
	w, err := writeFile(ctx, out, kind, parts, opt, sys)
	if err != nil {
		return Written{}, fmt.Errorf("write %s: %w", out, err)
	}
	return w, nil
}

func writeFile(ctx context.Context, out, kind string, parts []Part, opt WriteOptions, sys *system) (Written, error) {
	out, err := filepath.Abs(out)
	if err != nil {
		return Written{}, err
	}
	if err := CheckFile(out, kind, opt.Force); err != nil {
		return Written{}, err
	}
	w := Written{Path: out, Files: []string{filepath.Base(out)}}
	for _, p := range parts {
		w.Bytes += p.Bytes
	}
	if err := checkSpace(out, w.Bytes, sys.free); err != nil {
		return Written{}, err
	}
	dir, done, err := makeTemp(out)
	if err != nil {
		return Written{}, err
	}
	defer done()
	c := newCopier(dir, sys.copy, meter.New(0, w.Bytes, opt.Progress))
	if err := c.assemble(ctx, filepath.Base(out), parts); err != nil {
		return Written{}, err
	}
	// It may have appeared, or changed, since the first look.
	if err := CheckFile(out, kind, opt.Force); err != nil {
		return Written{}, err
	}
	if err := os.Rename(filepath.Join(dir, filepath.Base(out)), out); err != nil {
		return Written{}, err
	}
	return w, syncDir(filepath.Dir(out))
}

// CheckFile refuses an output that exists, unless force is set and it is a file
// that begins with kind: a mistyped path must not cost a file of another sort. Work
// that comes before WriteFile asks it early.
func CheckFile(out, kind string, force bool) error {
	info, err := os.Stat(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(out); err == nil {
			return fmt.Errorf("%w, a link to nowhere", ErrNotOurs)
		}
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%w and is a directory", ErrNotOurs)
	case !force:
		return ErrExists
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w and is no regular file", ErrNotOurs)
	}
	f, err := os.Open(out)
	if err != nil {
		return err
	}
	defer f.Close()
	have := make([]byte, len(kind))
	if _, err := io.ReadFull(f, have); err != nil || string(have) != kind {
		return fmt.Errorf("%w and does not begin with %s, so --force will not replace it", ErrNotOurs, kind)
	}
	return nil
}

// span is a piece of work: bytes [from, from+n) of a part, for byte at of the file.
type span struct {
	part        *Part
	from, n, at int64
}

// spans cuts parts into work.
func spans(parts []Part) (out []span) {
	at := int64(0)
	for i := range parts {
		p := &parts[i]
		step := int64(copyStep)
		if p.Fill != nil {
			step = p.Step
		}
		for from := int64(0); from < p.Bytes; from += step {
			n := min(step, p.Bytes-from)
			out = append(out, span{p, from, n, at + from})
		}
		at += p.Bytes
	}
	return out
}

// assemble writes parts to a new file, several at once, and syncs it.
func (c *copier) assemble(ctx context.Context, name string, parts []Part) (err error) {
	dst, err := os.OpenFile(filepath.Join(c.dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return diskError(name, err)
	}
	defer func() {
		if closed := dst.Close(); err == nil {
			err = diskError(name, closed)
		}
	}()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	work := spans(parts)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			var buf []byte
			for {
				i := next.Add(1) - 1
				if i >= int64(len(work)) || ctx.Err() != nil {
					return
				}
				if err := c.span(ctx, dst, work[i], &buf); err != nil {
					stop(err)
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return diskError(name, err)
	}
	return diskError(name, dst.Sync())
}

// span copies or makes one piece.
func (c *copier) span(ctx context.Context, dst *os.File, s span, buf *[]byte) error {
	if s.part.Fill == nil {
		return c.copyPiece(ctx, dst, s.at, piece{path: s.part.Path, off: s.part.Offset + s.from, n: s.n})
	}
	if int64(cap(*buf)) < s.n {
		*buf = make([]byte, s.n)
	}
	part := (*buf)[:s.n]
	if err := s.part.Fill(part, s.from); err != nil {
		return err
	}
	if _, err := dst.WriteAt(part, s.at); err != nil {
		return err
	}
	startWriteBack(dst, s.at, s.n)
	c.count.Add(s.n)
	return nil
}

// Place says where a tensor's bytes lie in a file, row by row; ok is false for
// those of a torch file, which are put in order or checked on the way.
func (c *Checkpoint) Place(name string) (path string, offset int64, ok bool) {
	t, found := c.Tensor(name)
	if !found {
		return "", 0, false
	}
	s := c.shard(t.File)
	return s.path, t.Offset, !s.isTorch()
}

// ReadTensor fills dst with bytes of a tensor from byte at on, row major, without
// mapping them where it can: memory does not grow with what is read. It may be
// called by several goroutines at once.
func (c *Checkpoint) ReadTensor(name string, dst []byte, at int64) error {
	t, ok := c.Tensor(name)
	if !ok {
		return fmt.Errorf("%s: no tensor %q in the checkpoint", c.dir, name)
	}
	if at < 0 || at+int64(len(dst)) > t.Bytes {
		return fmt.Errorf("%s: tensor %q: bytes %d to %d of %d are asked for", c.dir, name, at, at+int64(len(dst)), t.Bytes)
	}
	s := c.shard(t.File)
	if st, ok := s.storageOf(t.Tensor); ok && st.CRC32 != 0 {
		if err := s.checkStorage(t.Name, st); err != nil {
			return err
		}
	}
	if read := s.gather(t.Tensor); read != nil {
		return read(dst, at)
	}
	if err := s.readAt(dst, t.Offset+at); err != nil {
		return fmt.Errorf("%s: tensor %q: %w", s.path, name, err)
	}
	return nil
}
