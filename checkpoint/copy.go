package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/coppice-ml/coppice/internal/meter"
)

const (
	// copyStep is how much is copied between two looks at the context.
	copyStep = 16 << 20
	// bufferSize is what one worker holds where the kernel does not copy.
	bufferSize = 1 << 20
	// writers is how many files are written at once: one copies while another
	// waits for the disk.
	writers = 2
)

// copyRange copies up to n bytes between two files and returns how many it did.
type copyRange func(dst, src *os.File, dstOff, srcOff, n int64) (int64, error)

// copier writes the files of a blueprint into a directory, in constant memory.
type copier struct {
	dir    string
	kernel copyRange
	count  *meter.Meter
	pool   sync.Pool
}

func newCopier(dir string, kernel copyRange, count *meter.Meter) *copier {
	return &copier{dir: dir, kernel: kernel, count: count,
		pool: sync.Pool{New: func() any { return new([bufferSize]byte) }}}
}

// writeAll writes the files a few at a time. The first failure stops the rest.
func (c *copier) writeAll(ctx context.Context, files []outFile) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := make(chan *outFile)
	var wg sync.WaitGroup
	for range min(writers, len(files)) {
		wg.Go(func() {
			for f := range next {
				if err := c.write(ctx, f); err != nil {
					stop(err)
				}
			}
		})
	}
	for i := range files {
		next <- &files[i]
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// write writes one file and syncs it to disk.
func (c *copier) write(ctx context.Context, f *outFile) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	path := filepath.Join(c.dir, filepath.FromSlash(f.name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	dst, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return diskError(f.name, err)
	}
	defer func() {
		if closed := dst.Close(); err == nil {
			err = diskError(f.name, closed)
		}
	}()
	if _, err := dst.Write(f.content); err != nil {
		return diskError(f.name, err)
	}
	c.count.Add(int64(len(f.content)))
	at := int64(len(f.content))
	for _, p := range f.pieces {
		if err := c.copyPiece(ctx, dst, at, p); err != nil {
			return diskError(f.name, err)
		}
		at += p.n
	}
	return diskError(f.name, dst.Sync())
}

func (c *copier) copyPiece(ctx context.Context, dst *os.File, at int64, p piece) error {
	if p.read != nil {
		return c.gather(ctx, dst, at, p)
	}
	src, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer src.Close()
	for done := int64(0); done < p.n; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := c.step(dst, src, at+done, p.off+done, min(copyStep, p.n-done))
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s became shorter while it was copied: start again", p.path)
		}
		if err != nil {
			return err
		}
		startWriteBack(dst, at+done, n)
		done += n
		c.count.Add(n)
	}
	return nil
}

// gather writes a tensor that the source does not hold row by row.
func (c *copier) gather(ctx context.Context, dst *os.File, at int64, p piece) error {
	buf := c.pool.Get().(*[bufferSize]byte)
	defer c.pool.Put(buf)
	for done := int64(0); done < p.n; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		part := buf[:min(bufferSize, p.n-done)]
		if err := p.read(part, done); err != nil {
			return err
		}
		if _, err := dst.WriteAt(part, at+done); err != nil {
			return err
		}
		done += int64(len(part))
		c.count.Add(int64(len(part)))
	}
	return nil
}

// step copies some of n bytes, in the kernel where it can.
func (c *copier) step(dst, src *os.File, dstOff, srcOff, n int64) (int64, error) {
	if done, err := c.kernel(dst, src, dstOff, srcOff, n); !errors.Is(err, errors.ErrUnsupported) {
		return done, err
	}
	buf := c.pool.Get().(*[bufferSize]byte)
	defer c.pool.Put(buf)
	for done := int64(0); done < n; {
		part := buf[:min(bufferSize, n-done)]
		if _, err := src.ReadAt(part, srcOff+done); err != nil {
			return done, err
		}
		if _, err := dst.WriteAt(part, dstOff+done); err != nil {
			return done, err
		}
		done += int64(len(part))
	}
	return n, nil
}

// diskError names the file and, for a disk that filled up, the remedy.
func diskError(name string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || isFull(err) {
		return fmt.Errorf("write %s: %w: %w; free some and run it again: no part of it was left behind", name, ErrNoSpace, err)
	}
	return fmt.Errorf("write %s: %w", name, err)
}
