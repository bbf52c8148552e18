package checkpoint

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/safetensors"
)

// TensorInfo is a tensor and the file that holds it.
type TensorInfo struct {
	safetensors.Tensor
	// File is the base name of the shard.
	File string
}

// Checkpoint is an open checkpoint directory. Opening reads only headers; a
// shard is mapped when its first tensor is asked for. All methods but Close may
// be called by many goroutines at once.
type Checkpoint struct {
	dir        string
	config     []byte
	configFile string // its name; "": config.json
	sharded    bool
	index      *index
	shards     []*shard
	tensors    []TensorInfo
	byName     map[string]int
	files      []FileInfo
	hashCache  string
	warnings   []Problem
}

// Option changes how a checkpoint is opened.
type Option func(*Checkpoint)

// WithHashCache keeps the content hashes of Hash in a directory, which is made
// when needed.
func WithHashCache(dir string) Option {
	return func(c *Checkpoint) { c.hashCache = dir }
}

// Dir returns the directory as it was given to Open.
func (c *Checkpoint) Dir() string { return c.dir }

// Config returns a copy of config.json as it is on disk.
func (c *Checkpoint) Config() []byte { return bytes.Clone(c.config) }

// Sharded says whether an index spreads the weights over files.
func (c *Checkpoint) Sharded() bool { return c.sharded }

// Warnings returns what is odd about the directory and no reason not to use it.
func (c *Checkpoint) Warnings() []Problem { return slices.Clone(c.warnings) }

// Tensors returns all tensors, sorted by name. Shapes must not be changed.
func (c *Checkpoint) Tensors() []TensorInfo { return slices.Clone(c.tensors) }

// Files returns what the directory holds, sorted by name.
func (c *Checkpoint) Files() []FileInfo { return slices.Clone(c.files) }

// Tensor returns the description of a tensor.
func (c *Checkpoint) Tensor(name string) (TensorInfo, bool) {
	i, ok := c.byName[name]
	if !ok {
		return TensorInfo{}, false
	}
	return c.tensors[i], true
}

// Data returns the bytes of a tensor, row by row. They must not be written to and
// are valid until Close. They lie in the mapped file, whose alignment they have,
// but for a torch file's tensor that is a view out of order: that is put in order
// in memory, which is kept until Release.
func (c *Checkpoint) Data(name string) ([]byte, error) {
	t, ok := c.Tensor(name)
	if !ok {
		return nil, fmt.Errorf("%s: no tensor %q in the checkpoint", c.dir, name)
	}
	f, err := c.shard(t.File).find(t.Tensor)
	if err != nil {
		return nil, err
	}
	return f.Data(t.Tensor), nil
}

// Prefetch asks the system to read tensors ahead. It is a hint: it neither
// waits nor fails, and passes over names that the checkpoint lacks.
func (c *Checkpoint) Prefetch(names ...string) { c.ahead(names, weights.Prefetch) }

// Populate reads tensors into the process's memory and returns when they are
// there. It passes over what cannot be read: whoever uses it will see.
func (c *Checkpoint) Populate(names ...string) { c.ahead(names, weights.Populate) }

func (c *Checkpoint) ahead(names []string, read func(weights, safetensors.Tensor)) {
	c.runs(names, func(s *shard) weights {
		f, err := s.open()
		if err != nil {
			return nil
		}
		return f
	}, read)
}

// Release lets the memory of tensors go. Their data stays valid: touching it
// reads it from the file again.
func (c *Checkpoint) Release(names ...string) {
	c.runs(names, (*shard).mapped, weights.Release)
}

// runs calls do for tensors that lie side by side in a file as for one, since each call of
// the system costs as much for a few bytes as for many. It passes over files of which
// there is nothing.
func (c *Checkpoint) runs(names []string, file func(*shard) weights, do func(weights, safetensors.Tensor)) {
	var ts []TensorInfo
	for _, name := range names {
		if t, ok := c.Tensor(name); ok {
			ts = append(ts, t)
		}
	}
	slices.SortFunc(ts, func(a, b TensorInfo) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Offset, b.Offset))
	})
	for len(ts) > 0 {
		s := c.shard(ts[0].File)
		run, n := s.run(ts)
		if f := file(s); f != nil {
			do(f, run)
		}
		ts = ts[n:]
	}
}

// run makes one tensor of the first of ts and those that lie behind it without a page in
// between, and returns how many they are. ts are sorted by file and place.
func (s *shard) run(ts []TensorInfo) (run safetensors.Tensor, n int) {
	const page = 4096
	run = ts[0].Tensor
	for n = 1; n < len(ts) && !s.moved[run.Name]; n++ {
		next := ts[n]
		if next.File != s.name || s.moved[next.Name] || next.Offset > run.Offset+run.Bytes+page {
			break
		}
		run.Bytes = max(run.Bytes, next.Offset+next.Bytes-run.Offset)
	}
	return run, n
}

// ReleasePart lets the memory of bytes [lo, hi) of a tensor go, as Release does,
// where they lie in a mapped file.
func (c *Checkpoint) ReleasePart(name string, lo, hi int64) {
	t, ok := c.Tensor(name)
	if !ok || lo < 0 || hi > t.Bytes {
		return
	}
	s := c.shard(t.File)
	if f := s.mapped(); f != nil && !s.moved[name] {
		part := t.Tensor
		part.Offset, part.Bytes = t.Offset+lo, hi-lo
		f.Release(part)
	}
}

// Close unmaps all files. Slices from Data must not be touched any more.
func (c *Checkpoint) Close() error {
	var first error
	for _, s := range c.shards {
		if err := s.close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (c *Checkpoint) shard(name string) *shard {
	i := slices.IndexFunc(c.shards, func(s *shard) bool { return s.name == name })
	return c.shards[i]
}
