package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/safetensors"
	"github.com/coppice-ml/coppice/score"
)

// Streaming says how the claim about models larger than memory is measured.
type Streaming struct {
	// Dir keeps the checkpoint for the next run; "": a temporary directory.
	Dir string
	// Bound turns options of a Runner into ones that keep to the memory allowed.
	Bound func(forest.Options) forest.Options
	// Peak is the most memory the process has held so far, in bytes.
	Peak func() int64
}

// What streaming measures: metrics in one pass, and the tail curve.
const (
	whatScore = "score"
	whatCurve = "curve"
)

const weightsFile = "model.safetensors"

// sequences and their length, of what is streamed.
const (
	streamSequences = 10
	streamLength    = 128
)

// stream makes a checkpoint on disk, runs it within the memory allowed, and
// compares with the larger of what its matrix products and what reading its
// files take, both measured afterwards: the products of one layer and the head
// on as many rows, and a part of the files that the system's cache has dropped.
func (opt Options) stream(ctx context.Context) (report.Bench, error) {
	dir, err := opt.checkpoint(ctx)
	if opt.Streaming.Dir == "" {
		defer os.RemoveAll(dir)
	}
	if err != nil {
		return report.Bench{}, err
	}
	c, err := checkpoint.Open(dir)
	if err != nil {
		return report.Bench{}, err
	}
	defer c.Close()
	m, err := model.New(opt.Shape.Spec, c)
	if err != nil {
		return report.Bench{}, err
	}
	dropCache(filepath.Join(dir, weightsFile), 0)
	run := forest.New(m, opt.Engine, opt.Streaming.Bound(forest.Options{}))
	cost, took, err := opt.timed(ctx, run)
	peak := opt.Streaming.Peak()
	run.Close()
	if err != nil {
		return report.Bench{}, err
	}
	opt.Tokens, opt.Rounds = streamSequences*streamLength, 1
	products := opt.productsOf(ctx, m.Spec, cost)
	bytes := readBytes(m, cost)
	rate, err := readRate(ctx, dir)
	if err != nil {
		return report.Bench{}, err
	}
	r := opt.result(opt.Tokens, operationsOf(m.Spec, cost), took.Seconds())
	r.PeakBytes, r.ReadBytes, r.Passes = peak, bytes, cost.Passes
	r.DiskSeconds, r.ProductSeconds = float64(bytes)/rate, products.Seconds()
	limit := max(r.DiskSeconds, r.ProductSeconds)
	r.LimitTokensPerSecond, r.Ratio = report.Number(float64(opt.Tokens)/limit), report.Number(limit/took.Seconds())
	return r, nil
}

// sequences are streamSequences of streamLength random tokens.
func (opt Options) sequences(vocab int) [][]int32 {
	random := rand.New(rand.NewPCG(opt.Seed, 1))
	seqs := make([][]int32, streamSequences)
	for i := range seqs {
		for range streamLength {
			seqs[i] = append(seqs[i], random.Int32N(int32(vocab)))
		}
	}
	return seqs
}

// timed runs what is measured.
func (opt Options) timed(ctx context.Context, run *forest.Runner) (forest.Cost, time.Duration, error) {
	m := run.Model()
	seqs := opt.sequences(m.Spec.Vocab)
	if opt.What == whatScore {
		ask := score.Options{Metrics: []string{score.BI, score.Angular}, Sequences: seqs}
		priced, err := score.Price(m, run, ask)
		if err != nil {
			return forest.Cost{}, 0, err
		}
		start := time.Now()
		_, err = priced.Run(ctx, forest.RunOptions{})
		return priced.Costs()[0].Forest, time.Since(start), err
	}
	lists := tails(m.Spec.Layers)
	ask := score.Measurement{Run: run, Sequences: seqs}
	priced, err := ask.Price(lists)
	if err != nil {
		return forest.Cost{}, 0, err
	}
	start := time.Now()
	_, err = priced.Run(ctx, forest.RunOptions{})
	return priced.Cost(), time.Since(start), err
}

// checkpoint writes the shape's weights to disk unless they are there. Where it fails, what
// it wrote is in dir.
func (opt Options) checkpoint(ctx context.Context) (dir string, err error) {
	if dir = opt.Streaming.Dir; dir == "" {
		if dir, err = os.MkdirTemp("", "coppice-bench-*"); err != nil {
			return "", err
		}
	}
	path := filepath.Join(dir, "config.json")
	switch there, err := os.ReadFile(path); {
	case err == nil && !bytes.Equal(there, opt.Shape.Config):
		return dir, fmt.Errorf("%s is not the config of %s: name another --dir, or remove this one", path, opt.Shape.Name)
	case err == nil:
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return dir, err
	}
	if err := writeWeights(ctx, filepath.Join(dir, weightsFile), opt.Shape.Spec, opt.Seed); err != nil {
		return dir, err
	}
	return dir, os.WriteFile(path, opt.Shape.Config, 0o644)
}

// writeWeights fills a file from a pattern: drawing billions of values would
// take longer than what is measured.
func writeWeights(ctx context.Context, path string, spec *model.Spec, seed uint64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	var tensors []safetensors.Tensor
	var weights []model.Weight
	for w := range spec.Weights() {
		weights = append(weights, w)
		tensors = append(tensors, safetensors.Tensor{Name: w.Name, DType: safetensors.BF16, Shape: w.Shape})
	}
	out := bufio.NewWriterSize(f, 1<<20)
	if _, err := safetensors.WriteHeader(out, tensors, map[string]string{"format": "pt"}); err != nil {
		return err
	}
	p := newPattern(safetensors.BF16, 1-spec.NormOffset, seed)
	buffer := make([]byte, 8<<20)
	for _, w := range weights {
		for left := w.Elements() * 2; left > 0; {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			part := buffer[:min(left, int64(len(buffer)))]
			if _, err := out.Write(p.fill(part, strings.HasSuffix(string(w.Role), "norm"))); err != nil {
				return err
			}
			left -= int64(len(part))
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// productsOf times the products of one layer and of the head over the rows of
// one call, and multiplies.
func (opt Options) productsOf(ctx context.Context, spec *model.Spec, cost forest.Cost) time.Duration {
	e, ok := opt.Engine.(engine.Limiter)
	if !ok {
		return 0
	}
	rows := opt.Tokens
	all := products(spec, rows)
	perLayer := (len(all) - 1) / spec.Layers
	run, _ := e.Products(ctx, all[:perLayer])
	layer := best(run)
	total := time.Duration(float64(layer) * float64(cost.TokenLayers) / float64(rows))
	if cost.HeadRows > 0 {
		run, _ := e.Products(ctx, all[len(all)-1:])
		head := best(run)
		total += time.Duration(float64(head) * float64(cost.HeadRows) / float64(rows-1))
	}
	return total
}

// best is the fastest of three after a warm-up.
func best(run func() time.Duration) time.Duration {
	run()
	return min(run(), run(), run())
}

func operationsOf(spec *model.Spec, cost forest.Cost) float64 {
	head := float64(spec.Vocab) * float64(spec.Hidden)
	layers := float64(spec.MACsPerToken()) - head
	return 2 * (layers/float64(spec.Layers)*float64(cost.TokenLayers) + head*float64(cost.HeadRows))
}

// readBytes is what has to be read: every layer as often as it is brought in,
// and the head for scores. Rows of the embedding are next to nothing.
func readBytes(m *model.Model, cost forest.Cost) int64 {
	n := int64(cost.Loads) * m.Spec.LayerParameters() * 2
	if cost.HeadRows > 0 {
		n += int64(cost.Passes) * int64(m.Spec.Vocab) * int64(m.Spec.Hidden) * 2
	}
	return n
}

// LoadSeconds is what a byte of the weights in a directory takes to be read that the
// system does not have in its cache; where none are there, what a disk of 1 GB a
// second takes.
func LoadSeconds(ctx context.Context, dir string) (float64, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err != nil || len(files) == 0 {
		return 1e-9, err
	}
	rate, err := readPart(ctx, files[0], 512<<20)
	return 1 / rate, err
}

// readRate reads a part of the file that the system does not have in its cache,
// in bytes a second.
func readRate(ctx context.Context, dir string) (float64, error) {
	return readPart(ctx, filepath.Join(dir, weightsFile), 4<<30)
}

// readPart reads the beginning of a file, in bytes a second.
func readPart(ctx context.Context, path string, part int64) (float64, error) {
	dropCache(path, part)
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	start := time.Now()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(cancellable{ctx, f}, part), make([]byte, 4<<20))
	if err == nil && n == 0 {
		err = fmt.Errorf("%s is empty", f.Name())
	}
	return float64(n) / time.Since(start).Seconds(), err
}

// cancellable reads until ctx is done.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (u cancellable) Read(p []byte) (int, error) {
	if err := context.Cause(u.ctx); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
