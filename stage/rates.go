package stage

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/internal/bench"
	"github.com/coppice-ml/coppice/score"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Pace is how fast a machine is on a model's shapes, in seconds.
type Pace struct {
	Layer  float64 // a token through a layer, many at once
	Head   float64 // a row through the head, many at once
	Alone  float64 // a token through a layer by itself, as in decoding
	Update float64 // an update of a parameter
	Load   float64 // a byte of weights brought in from disk
	// Threads compute, of which one is kept busy while weights are brought in; 0 where
	// that costs those that compute nothing.
	Threads int
}

// Pace measures one layer and the head of a model that is made up in its shape. It
// takes seconds, and the memory of those two.
func (s *Shape) Pace(ctx context.Context, env Env, e Engine) (Pace, error) {
	if err := e.Check(); err != nil {
		return Pace{}, err
	}
	started, err := e.start(env)
	if err != nil {
		return Pace{}, err
	}
	defer func() { _ = started.Close() }()
	m, err := bench.OneLayer(ctx, s.spec, started, 42)
	if err != nil {
		return Pace{}, err
	}
	r := forest.New(m, started, forest.Options{})
	defer r.Close()
	nothing := func(context.Context, forest.Step) error { return nil }
	layer := func(tokens int) func() error {
		return func() error { return r.Observe(ctx, []int{0}, [][]int32{numbered(tokens, s.spec.Vocab)}, nothing) }
	}
	many, few := min(256, s.spec.MaxPositions), min(64, s.spec.MaxPositions)
	var p Pace
	whole, err := fastest(layer(many))
	if err != nil {
		return p, err
	}
	one, err := fastest(layer(1))
	if err != nil {
		return p, err
	}
	below, err := fastest(layer(few))
	if err != nil {
		return p, err
	}
	both, err := fastest(func() error {
		v := forest.Variant{Scores: func(int, []engine.TokenScore) error { return nil }}
		return r.Run(ctx, []forest.Variant{v}, forest.Sequences([][]int32{numbered(few, s.spec.Vocab)}), forest.RunOptions{})
	})
	p.Layer, p.Alone = whole/float64(many), one
	if info := started.Info(); info.Device == "cpu" {
		p.Threads = info.Threads
	}
	if err != nil {
		return p, err
	}
	p.Head, p.Update = max(0, both-below)/float64(few-1), heal.UpdateSeconds
	p.Load, err = bench.LoadSeconds(ctx, s.Dir)
	return p, err
}

// numbered are tokens of which it does not matter which they are.
func numbered(n, vocab int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i*7919) % int32(vocab)
	}
	return out
}

// fastest is the shorter of two calls, in seconds, after one that warms up.
func fastest(do func() error) (float64, error) {
	best := 0.0
	for i := range 3 {
		start := time.Now()
		if err := do(); err != nil {
			return 0, err
		}
		if d := time.Since(start).Seconds(); i > 0 && (best == 0 || d < best) {
			best = d
		}
	}
	return best, nil
}

// Extent is how much data is, in tokens. Guessed: it is not here, and taken for what
// is known of it or typical.
type Extent struct {
	Rows    int     // documents, samples
	Tokens  float64 // of all of them, what they share counted once
	Scored  float64 // of them those whose probability is wanted
	Guessed bool
}

// Extent is that of the tasks' requests, with the tokenizer of a directory.
func (t Tasks) Extent(ctx context.Context, env Env, dir string) (Extent, error) {
	selection, err := t.choose()
	if err != nil {
		return Extent{}, err
	}
	if t.DataDir == "" {
		var x Extent
		for _, task := range selection.Tasks {
			docs, tokens, scored := typical(task.Name)
			if t.Limit > 0 {
				docs = min(docs, t.Limit)
			}
			x.Rows, x.Tokens, x.Scored = x.Rows+docs, x.Tokens+float64(docs)*tokens, x.Scored+float64(docs)*scored
		}
		x.Guessed = true
		return x, nil
	}
	q, err := t.read(ctx, env)
	if err != nil {
		return Extent{}, evalRemedy(err)
	}
	count := counter(dir)
	var x Extent
	for _, a := range q.asked {
		x.Rows += len(a.Docs)
		last := ""
		for _, l := range a.Lines() {
			if l.Context != last {
				x.Tokens, last = x.Tokens+count(l.Context), l.Context
			}
			n := count(l.Continuation)
			x.Tokens, x.Scored = x.Tokens+n, x.Scored+n
		}
	}
	return x, nil
}

// typical is what is known of the published tasks: documents of their test splits, and
// tokens and scored tokens of one by the tokenizers of Llama.
func typical(task string) (docs int, tokens, scored float64) {
	for name, v := range map[string][3]float64{
		"piqa": {1838, 62, 46}, "hellaswag": {10042, 190, 120}, "winogrande": {1267, 48, 24}, "arc_easy": {2376, 48, 20},
		"arc_challenge": {1172, 58, 28}, "openbookqa": {500, 34, 18},
	} {
		if task == name {
			return int(v[0]), v[1], v[2]
		}
	}
	if len(task) > 5 && task[:5] == "mmlu_" {
		return 14042 / 57, 125, 4
	}
	if len(task) > 6 && task[:6] == "cmmlu_" {
		return 11582 / 67, 110, 4
	}
	return 1000, 100, 30
}

// counter counts tokens with a directory's tokenizer, or else four bytes as one.
func counter(dir string) func(text string) float64 {
	t, err := tokenizer.Load(dir)
	if err != nil {
		return func(text string) float64 { return float64(len(text)) / 4 }
	}
	return func(text string) float64 { return float64(len(t.Encode(text, false))) }
}

// TextExtent is that of all of a text.
func TextExtent(ctx context.Context, env Env, source, field, dir string) (Extent, error) {
	if _, err := os.Stat(source); err != nil {
		return Extent{Rows: 1, Tokens: 290_000, Scored: 290_000, Guessed: true}, nil // WikiText-2's test text
	}
	c, err := openData(ctx, env, "data", source)
	if err != nil {
		return Extent{}, err
	}
	count := counter(dir)
	var x Extent
	for text, err := range data.Texts(c.files, field) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return x, err
		}
		n := count(text)
		x.Rows, x.Tokens, x.Scored = x.Rows+1, x.Tokens+n, x.Scored+n
	}
	return x, nil
}

// Extent is that of the samples that are trained on.
func (d TrainData) Extent(ctx context.Context, env Env, shape *Shape) (Extent, error) {
	local := d.Tokens != ""
	for _, s := range d.Sources {
		name, _, err := weighted(s)
		if err != nil {
			return Extent{}, err
		}
		_, err = os.Stat(name)
		local = local || err == nil
	}
	_, err := tokenizer.Load(shape.Dir)
	if !local || err != nil && d.Tokens == "" {
		x := Extent{Rows: 51_760, Guessed: true} // Alpaca's rows, cleaned
		if len(d.Sources) > 0 {
			switch filepath.Base(d.Sources[0]) {
			case "databricks-dolly-15k":
				x.Rows = 15_011
			case "auxiliary_train": // MMLU's
				x.Rows = 99_842
			}
		}
		if d.Samples > 0 {
			x.Rows = min(x.Rows, d.Samples)
		}
		each := min(float64(d.MaxLength), 135)
		x.Tokens, x.Scored = float64(x.Rows)*each, float64(x.Rows)*each*.5
		return x, nil
	}
	env.Talk = Silent{}
	set, err := d.read(ctx, env, shape.Dir, shape.spec)
	if err != nil {
		return Extent{}, err
	}
	x := Extent{Rows: len(set.train)}
	for _, s := range set.train {
		x.Tokens += float64(len(s.Tokens))
		for _, l := range s.Labels {
			if l != heal.Ignore {
				x.Scored++
			}
		}
	}
	return x, nil
}

// PassCount is what a metric's passes are to tokens: how many layers each goes
// through, and how often it meets the head.
type PassCount struct{ Layers, Head float64 }

// Passes counts what a metric takes on a model of so many layers, of which n are to
// go. Prunings that share their first layers run those once.
func Passes(metric string, layers, n int) PassCount {
	l := float64(layers)
	m, err := score.Lookup(metric)
	switch {
	case err != nil || !m.NeedsData:
		return PassCount{}
	case m.Gradients: // forwards, backwards once anew, and twice what that takes
		return PassCount{5 * l, 3}
	case metric == score.GreedyPPL:
		var c PassCount
		for round := range max(1, n) {
			left := l - float64(round)
			c.Layers, c.Head = c.Layers+left*(left+1)/2, c.Head+left
		}
		return c
	case metric == score.PPL || metric == score.KL:
		return PassCount{l * (l + 1) / 2, l + 1}
	}
	return PassCount{l, 0}
}

// FreeDisk is how much room there is where a path is or will be.
func FreeDisk(path string) (int64, bool) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return 0, false
	}
	n, err := checkpoint.FreeSpace(existing(filepath.Join(abs, "x")))
	return n, err == nil
}

// ParseBytes reads 4GiB, 512M or a number of bytes.
func ParseBytes(s string) (int64, error) { return parseBytes(s) }
