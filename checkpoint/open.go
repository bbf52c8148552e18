package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Open opens a checkpoint directory and reads the header of every shard. The
// error lists all that is wrong, each a Problem; errors.Is finds ErrNoConfig,
// ErrNoWeights and fs.ErrNotExist in it.
func Open(dir string, opts ...Option) (*Checkpoint, error) {
	c, problems := survey(dir, opts)
	if err := joined(problems); err != nil {
		return nil, err
	}
	return c, nil
}

// OpenConfig opens only config.json; the directory needs no weights, and the
// checkpoint has no tensors.
func OpenConfig(dir string) (*Checkpoint, error) {
	c := &Checkpoint{dir: dir}
	problems := c.readConfig()
	if err := joined(problems); err != nil {
		return nil, err
	}
	c.files = listFiles(dir)
	return c, nil
}

// survey opens as much of a directory as can be opened and collects what is
// wrong with the rest.
func survey(dir string, opts []Option) (*Checkpoint, []Problem) {
	c := &Checkpoint{dir: dir}
	for _, opt := range opts {
		opt(c)
	}
	problems := c.readConfig()
	if len(problems) > 0 && problems[0].Path == dir {
		return c, problems
	}
	problems = append(problems, c.readWeights()...)
	problems = append(problems, c.gather()...)
	c.files = listFiles(dir)
	for i, f := range c.files {
		if slices.ContainsFunc(c.shards, func(s *shard) bool { return s.name == f.Name }) {
			c.files[i].Role = RoleWeights
		}
	}
	return c, problems
}

// readConfig checks the directory and reads config.json.
func (c *Checkpoint) readConfig() []Problem {
	info, err := os.Stat(c.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Problem{{Path: c.dir, Message: "there is no such directory", Remedy: "check the path, or pull the model first", Err: err}}
	case err != nil:
		return []Problem{problemOf(c.dir, err)}
	case !info.IsDir():
		return []Problem{{Path: c.dir, Message: "this is a file", Remedy: "name the directory that holds config.json"}}
	}
	path := filepath.Join(c.dir, configName)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return []Problem{{Path: path, Message: "there is no config.json", Err: ErrNoConfig,
			Remedy: "name a Hugging Face checkpoint directory, or download it again"}}
	}
	if err != nil {
		return []Problem{problemOf(path, err)}
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil || object == nil {
		return []Problem{{Path: path, Message: fmt.Sprintf("not a JSON object (at byte %d)", jsonOffset(err)),
			Remedy: downloadAgain, Err: err}}
	}
	c.config = raw
	return nil
}

// readWeights finds the weights and reads the headers. Where both a single file
// and an index exist, the single file counts, as it does for transformers.
func (c *Checkpoint) readWeights() []Problem {
	for _, f := range forms() {
		switch {
		case present(c.dir, f.single):
			return c.addShard(f.single)
		case present(c.dir, f.index):
			return c.readIndex(f)
		}
	}
	return []Problem{c.noWeights()}
}

// noWeights says what the directory holds instead.
func (c *Checkpoint) noWeights() Problem {
	p := Problem{Path: c.dir, Err: ErrNoWeights}
	for _, f := range forms() {
		if shards := matching(c.dir, f.shards); len(shards) > 0 {
			p.Message = fmt.Sprintf("%s is missing, though there are shards such as %s", f.index, shards[0])
			p.Remedy = downloadAgain
			return p
		}
	}
	for _, pattern := range []string{"*.safetensors", "*.bin", "*.pth", "*.pt", "*.gguf"} {
		if others := matching(c.dir, pattern); len(others) > 0 {
			p.Message = fmt.Sprintf("there is %s, but neither model.safetensors nor pytorch_model.bin, nor an index of either", others[0])
			p.Remedy = "get the model in one of these forms, as transformers saves it"
			return p
		}
	}
	p.Message = "neither model.safetensors nor pytorch_model.bin is there, nor an index of either"
	p.Remedy = downloadAgain
	return p
}

func (c *Checkpoint) readIndex(form form) []Problem {
	path := filepath.Join(c.dir, form.index)
	raw, err := os.ReadFile(path)
	if err != nil {
		return []Problem{problemOf(path, err)}
	}
	if c.index, err = parseIndex(raw, path, form.extension); err != nil {
		return []Problem{problemOf(path, err)}
	}
	c.sharded = true
	if len(c.index.files) == 0 {
		return []Problem{{Path: path, Message: "the index lists no tensors", Remedy: downloadAgain, Err: ErrNoWeights}}
	}
	var problems []Problem
	for _, name := range slices.Compact(slices.Sorted(maps.Values(c.index.files))) {
		problems = append(problems, c.addShard(name)...)
	}
	return append(problems, c.compareIndex(path)...)
}

// addShard reads a shard's header and adds it to the checkpoint.
func (c *Checkpoint) addShard(name string) []Problem {
	s := &shard{name: name, path: filepath.Join(c.dir, name)}
	if err := s.read(); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return []Problem{problemOf(s.path, err)}
		}
		p := Problem{Path: s.path, Message: "this file of the weights is missing", Remedy: downloadAgain, Err: err}
		if present(c.dir, name) {
			p.Message = "this link leads to a file that is missing"
		}
		return []Problem{p}
	}
	c.shards = append(c.shards, s)
	return nil
}

// compareIndex reports where the index and the shards that could be read
// disagree. A tensor in two shards is left to gather.
func (c *Checkpoint) compareIndex(path string) []Problem {
	var problems []Problem
	for _, s := range c.shards {
		here := make(map[string]bool, len(s.tensors))
		for _, t := range s.tensors {
			here[t.Name] = true
			if _, listed := c.index.files[t.Name]; !listed {
				problems = append(problems, Problem{Path: s.path, Tensor: t.Name,
					Message: "the index does not list it", Remedy: "download index and shards again"})
			}
		}
		for _, name := range slices.Sorted(maps.Keys(c.index.files)) {
			if c.index.files[name] == s.name && !here[name] {
				problems = append(problems, Problem{Path: path, Tensor: name,
					Message: fmt.Sprintf("the index promises it in %s, which lacks it", s.name), Remedy: "download index and shards again"})
			}
		}
	}
	return problems
}

// gather lists the tensors of all shards by name and reports those in two.
func (c *Checkpoint) gather() []Problem {
	var problems []Problem
	holder := make(map[string]*shard)
	for _, s := range c.shards {
		for _, t := range s.tensors {
			if first := holder[t.Name]; first != nil {
				problems = append(problems, Problem{Path: s.path, Tensor: t.Name,
					Message: fmt.Sprintf("it is in %s too", first.name), Remedy: "download index and shards again"})
				continue
			}
			holder[t.Name] = s
			c.tensors = append(c.tensors, TensorInfo{Tensor: t, File: s.name})
		}
	}
	slices.SortFunc(c.tensors, func(a, b TensorInfo) int { return cmp.Compare(a.Name, b.Name) })
	c.byName = make(map[string]int, len(c.tensors))
	for i, t := range c.tensors {
		c.byName[t.Name] = i
	}
	return problems
}

// isObject says whether raw is one JSON object.
func isObject(raw []byte) bool {
	return json.Valid(raw) && strings.HasPrefix(string(bytes.TrimSpace(raw)), "{")
}
