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

	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/internal/pyjson"
	"github.com/coppice-ml/coppice/safetensors"
)

// What is read of a stranger's directory is bounded. The largest published models
// have indexes of 9 MB, 200 files and 100,000 tensors.
const (
	maxConfig  = 16 << 20
	maxIndex   = 64 << 20
	maxShards  = 4096
	maxTensors = 1 << 18
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
	return openConfig(&Checkpoint{dir: dir})
}

// OpenConfigFile is OpenConfig by the path of a config.json, which may have another
// name, or by that of its directory.
func OpenConfigFile(path string) (*Checkpoint, error) {
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return OpenConfig(path)
	}
	return openConfig(&Checkpoint{dir: filepath.Dir(path), configFile: filepath.Base(path)})
}

func openConfig(c *Checkpoint) (*Checkpoint, error) {
	problems := c.readConfig()
	if err := joined(problems); err != nil {
		return nil, err
	}
	c.files = listFiles(c.dir)
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
	path := filepath.Join(c.dir, cmp.Or(c.configFile, configName))
	raw, err := mmap.ReadRegular(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return []Problem{c.noConfig(path)}
	}
	if err != nil {
		return []Problem{problemOf(path, err)}
	}
	if what := safetensors.NotWeights(raw[:min(len(raw), 256)]); what != "" {
		return []Problem{{Path: path, Message: "this is not a config", Remedy: what}}
	}
	var object map[string]json.RawMessage
	if err := pyjson.Unmarshal(raw, &object); err != nil || object == nil {
		return []Problem{{Path: path, Message: fmt.Sprintf("not a JSON object (at byte %d: %v)", jsonOffset(err), cmp.Or(err, errNoObject)),
			Remedy: "correct it, or get the file again", Err: err}}
	}
	c.config = raw
	return nil
}

var errNoObject = errors.New("it does not begin with {")

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

func (c *Checkpoint) readIndex(form form) []Problem {
	path := filepath.Join(c.dir, form.index)
	raw, err := mmap.ReadRegular(path, maxIndex)
	if err != nil {
		return []Problem{problemOf(path, err)}
	}
	if what := safetensors.NotWeights(raw[:min(len(raw), 256)]); what != "" {
		return []Problem{{Path: path, Message: "this is not an index", Remedy: what}}
	}
	if c.index, err = parseIndex(raw, path, form.extension); err != nil {
		return []Problem{problemOf(path, err)}
	}
	c.sharded = true
	names := slices.Compact(slices.Sorted(maps.Values(c.index.files)))
	switch {
	case len(names) == 0:
		return []Problem{{Path: path, Message: "the index lists no tensors", Remedy: getAgain, Err: ErrNoWeights}}
	case len(names) > maxShards:
		return []Problem{{Path: path, Message: fmt.Sprintf("the index spreads the weights over %d files, over the limit of %d", len(names), maxShards)}}
	}
	var problems []Problem
	tensors := 0
	for _, name := range names {
		problems = append(problems, c.addShard(name)...)
		if n := len(c.shards); n > 0 && c.shards[n-1].name == name {
			tensors += len(c.shards[n-1].tensors)
		}
		if tensors > maxTensors {
			return append(problems, Problem{Path: c.dir, Message: fmt.Sprintf("the files hold more tensors than the limit of %d", maxTensors)})
		}
	}
	c.compareIndex(path)
	return problems
}

// addShard reads a shard's header and adds it to the checkpoint.
func (c *Checkpoint) addShard(name string) []Problem {
	s := &shard{name: name, path: filepath.Join(c.dir, name)}
	if err := s.read(); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return []Problem{problemOf(s.path, err)}
		}
		p := Problem{Path: s.path, Message: "this file of the weights is missing", Remedy: getAgain, Err: err}
		if present(c.dir, name) {
			p.Message = "this link leads to a file that is missing"
		}
		return []Problem{p}
	}
	if len(s.tensors) > maxTensors {
		return []Problem{{Path: s.path, Message: fmt.Sprintf("it holds more tensors than the limit of %d", maxTensors)}}
	}
	c.shards = append(c.shards, s)
	return nil
}

// compareIndex warns where the index and the shards disagree. The shards are
// right: whoever saved the index listed buffers that are not saved, or moved
// tensors afterwards. What the model needs and no shard holds is found later.
func (c *Checkpoint) compareIndex(path string) {
	held := make(map[string]bool) // true: by the file that the index names
	var absent, moved, unlisted []string
	for _, s := range c.shards {
		for _, t := range s.tensors {
			file, listed := c.index.files[t.Name]
			if _, twice := held[t.Name]; !listed && !twice {
				unlisted = append(unlisted, t.Name)
			}
			held[t.Name] = held[t.Name] || file == s.name
		}
	}
	for name := range c.index.files {
		if there, ok := held[name]; !ok {
			absent = append(absent, name)
		} else if !there {
			moved = append(moved, name)
		}
	}
	for _, w := range []struct {
		names []string
		what  string
	}{
		{absent, "the index lists %s that no file holds: %s"},
		{moved, "the index lists %s in another file than the one that holds it: %s"},
		{unlisted, "the index leaves out %s: %s"},
	} {
		if len(w.names) > 0 {
			slices.Sort(w.names)
			c.warnings = append(c.warnings, Problem{Path: path, Message: fmt.Sprintf(w.what, counted(len(w.names), "tensor"), some(w.names))})
		}
	}
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// some lists the first few names.
func some(names []string) string {
	const few = 4
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// gather lists the tensors of all shards by name. One that is in two of them counts
// once where the two are the same, with a warning, and is a problem where they are not.
func (c *Checkpoint) gather() []Problem {
	var problems []Problem
	type held struct {
		safetensors.Tensor
		by *shard
	}
	holder := make(map[string]held)
	for _, s := range c.shards {
		s.tensors = slices.DeleteFunc(s.tensors, func(t safetensors.Tensor) bool {
			first, twice := holder[t.Name]
			if !twice {
				holder[t.Name] = held{t, s}
				c.tensors = append(c.tensors, TensorInfo{Tensor: t, File: s.name})
				return false
			}
			p := Problem{Path: s.path, Tensor: t.Name, Message: fmt.Sprintf("it is in %s too", first.by.name)}
			switch same, err := sameValues(first.by, first.Tensor, s, t); {
			case err != nil:
				problems = append(problems, problemOf(s.path, err))
			case same:
				p.Message += ", with the same values"
				c.warnings = append(c.warnings, p)
			default:
				p.Remedy = "one of the two files belongs to another model or version"
				problems = append(problems, p)
			}
			return true
		})
	}
	slices.SortFunc(c.tensors, func(a, b TensorInfo) int { return cmp.Compare(a.Name, b.Name) })
	c.byName = make(map[string]int, len(c.tensors))
	for i, t := range c.tensors {
		c.byName[t.Name] = i
	}
	return problems
}

// sameValues compares two tensors, byte by byte.
func sameValues(a *shard, s safetensors.Tensor, b *shard, t safetensors.Tensor) (bool, error) {
	if s.DType != t.DType || !slices.Equal(s.Shape, t.Shape) {
		return false, nil
	}
	f, err := a.find(s)
	if err != nil {
		return false, err
	}
	g, err := b.find(t)
	if err != nil {
		return false, err
	}
	defer f.Release(s)
	defer g.Release(t)
	return bytes.Equal(f.Data(s), g.Data(t)), nil
}

// isObject says whether raw is one JSON object.
func isObject(raw []byte) bool {
	return json.Valid(pyjson.Strict(raw)) && strings.HasPrefix(string(bytes.TrimSpace(raw)), "{")
}
