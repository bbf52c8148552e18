package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/coppice-ml/coppice/safetensors"
)

// Check returns everything that can be found wrong with a directory in one go,
// where Open would only refuse it. Deep also reads every floating-point tensor
// and reports those with values that are NaN or infinite; it needs the memory of
// a few buffers, whatever the checkpoint's size. Progress, which may be nil,
// counts the bytes of the deep check and is called from one goroutine at a time.
// A cancelled check returns what it found so far: look at ctx.Err().
func Check(ctx context.Context, dir string, deep bool, progress func(done, total int64)) []Problem {
	c, problems := survey(dir, nil)
	defer c.Close()
	if deep {
		problems = append(problems, c.scan(ctx, progress)...)
	}
	return problems
}

// Problems is Check of the checkpoint's directory as it is on disk now.
func (c *Checkpoint) Problems(ctx context.Context, deep bool, progress func(done, total int64)) []Problem {
	return Check(ctx, c.dir, deep, progress)
}

// scan looks at the values of all floating-point tensors, in file order.
func (c *Checkpoint) scan(ctx context.Context, progress func(done, total int64)) []Problem {
	type job struct {
		s *shard
		t safetensors.Tensor
	}
	var jobs []job
	var total int64
	for _, s := range c.shards {
		for _, t := range s.header.Tensors {
			if _, ok := patternOf(t.DType); ok && t.Bytes > 0 {
				jobs = append(jobs, job{s, t})
				total += t.Bytes
			}
		}
	}
	count := newCounter(total, progress)
	found := make([][]Problem, len(jobs))
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			buf := make([]byte, 1<<20)
			for i := range next {
				found[i] = scanTensor(ctx, jobs[i].s.path, jobs[i].t, buf, count)
			}
		})
	}
	for i := range jobs {
		next <- i
	}
	close(next)
	wg.Wait()
	var problems []Problem
	for _, p := range found {
		problems = append(problems, p...)
	}
	return problems
}

// scanTensor reads a tensor through buf rather than mapping it: one embedding
// can be larger than the memory a check may take.
func scanTensor(ctx context.Context, path string, t safetensors.Tensor, buf []byte, count *counter) []Problem {
	f, err := os.Open(path)
	if err != nil {
		return []Problem{problemOf(path, err)}
	}
	defer f.Close()
	pattern, _ := patternOf(t.DType)
	bad, first := int64(0), int64(-1)
	for at := int64(0); at < t.Bytes && ctx.Err() == nil; {
		part := buf[:min(int64(len(buf)), t.Bytes-at)]
		if _, err := f.ReadAt(part, t.Offset+at); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			p := problemOf(path, err)
			p.Tensor = t.Name
			return []Problem{p}
		}
		n, where := pattern.count(part)
		if n > 0 && first < 0 {
			first = at/int64(t.DType.Size()) + where
		}
		bad += n
		at += int64(len(part))
		count.add(int64(len(part)))
	}
	if bad == 0 {
		return nil
	}
	return []Problem{{Path: path, Tensor: t.Name,
		Message: fmt.Sprintf("%d of %d values are NaN or infinite, the first at %v", bad, t.Elements(), unravel(first, t.Shape)),
		Remedy:  "the weights are unusable: " + downloadAgain}}
}

// unravel turns the number of an element into its index.
func unravel(n int64, shape []int) []int64 {
	at := make([]int64, len(shape))
	for i := len(shape) - 1; i >= 0; i-- {
		at[i] = n % int64(shape[i])
		n /= int64(shape[i])
	}
	return at
}

// counter adds up progress from many goroutines and reports it from one at a time.
type counter struct {
	mu     sync.Mutex
	done   int64
	total  int64
	report func(done, total int64)
}

func newCounter(total int64, report func(done, total int64)) *counter {
	c := &counter{total: total, report: report}
	c.add(0)
	return c
}

func (c *counter) add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	if c.report != nil {
		c.report(c.done, c.total)
	}
}
