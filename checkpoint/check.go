package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"slices"
	"sync"

	"github.com/coppice-ml/coppice/internal/meter"
	"github.com/coppice-ml/coppice/safetensors"
	"github.com/coppice-ml/coppice/torchfile"
)

// Check returns everything that can be found wrong with a directory in one go,
// where Open would only refuse it. Deep also reads every floating-point tensor
// and reports those with values that are NaN or infinite, and compares the
// checksums of torch archives; it needs the memory of a few buffers, whatever the
// checkpoint's size. Progress, which may be nil,
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

// scanned is a run of bytes to look at: the values of a tensor, or a torch file's
// storage with its checksum, or both.
type scanned struct {
	s      *shard
	t      safetensors.Tensor
	values bool
	crc    uint32 // 0: none
}

// scan looks at the values of all floating-point tensors, and at all checksums, in
// file order.
func (c *Checkpoint) scan(ctx context.Context, progress func(done, total int64)) []Problem {
	var jobs []scanned
	var total int64
	for _, s := range c.shards {
		jobs = append(jobs, s.scans()...)
	}
	for _, j := range jobs {
		total += j.t.Bytes
	}
	count := meter.New(0, total, progress)
	found := make([][]Problem, len(jobs))
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			buf := make([]byte, 1<<20)
			for i := range next {
				found[i] = jobs[i].run(ctx, buf, count)
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

// scans lists what there is to look at in a file. A storage that is one tensor is
// read once for both.
func (s *shard) scans() []scanned {
	sums := make(map[[2]int64]uint32) // by offset and bytes
	if s.torch != nil {
		for _, st := range s.torch.Storages {
			sums[[2]int64{st.Offset, st.Bytes}] = st.CRC32
		}
	}
	var jobs []scanned
	for _, t := range s.tensors {
		if _, ok := patternOf(t.DType); ok && t.Bytes > 0 {
			j := scanned{s: s, t: t, values: true}
			if place := [2]int64{t.Offset, t.Bytes}; !s.moved[t.Name] {
				j.crc = sums[place]
				delete(sums, place)
			}
			jobs = append(jobs, j)
		}
	}
	for place, crc := range sums {
		if crc != 0 {
			jobs = append(jobs, scanned{s: s, crc: crc, t: safetensors.Tensor{Offset: place[0], Bytes: place[1]}})
		}
	}
	slices.SortStableFunc(jobs, func(a, b scanned) int { return cmp.Compare(a.t.Offset, b.t.Offset) })
	return jobs
}

// run reads a tensor through buf rather than mapping it: one embedding can be
// larger than the memory a check may take.
func (j scanned) run(ctx context.Context, buf []byte, count *meter.Meter) []Problem {
	read, done, err := j.s.reader(j.t)
	if err != nil {
		return []Problem{problemOf(j.s.path, err)}
	}
	defer done()
	pattern, _ := patternOf(j.t.DType)
	bad, first, sum := int64(0), int64(-1), crc32.NewIEEE()
	for at := int64(0); at < j.t.Bytes; {
		if ctx.Err() != nil {
			return nil
		}
		part := buf[:min(int64(len(buf)), j.t.Bytes-at)]
		if err := read(part, at); err != nil {
			p := problemOf(j.s.path, err)
			p.Tensor = j.t.Name
			return []Problem{p}
		}
		if j.values {
			n, where := pattern.count(part)
			if n > 0 && first < 0 {
				first = at/int64(j.t.DType.Size()) + where
			}
			bad += n
		}
		if j.crc != 0 {
			sum.Write(part)
		}
		at += int64(len(part))
		count.Add(int64(len(part)))
	}
	var problems []Problem
	if j.crc != 0 && sum.Sum32() != j.crc {
		var p Problem
		errors.As(j.s.compareSum(j.t.Name, torchfile.Storage{Offset: j.t.Offset, Bytes: j.t.Bytes, CRC32: j.crc}, sum.Sum32()), &p)
		problems = append(problems, p)
	}
	if bad > 0 {
		problems = append(problems, Problem{Path: j.s.path, Tensor: j.t.Name,
			Message: fmt.Sprintf("%d of %d values are NaN or infinite, the first at %v", bad, j.t.Elements(), unravel(first, j.t.Shape)),
			Remedy:  "the weights are unusable as they are: take another revision of the model, or tell who made it"})
	}
	return problems
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
