package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/safetensors"
)

// Surgery says what a copy of a checkpoint changes. Its zero value changes nothing.
type Surgery struct {
	// Rename returns the name of a tensor in the copy, or keep false to leave
	// it out. It is called once for every tensor; nil keeps all as they are.
	Rename func(name string) (newName string, keep bool)
	// Replace gives tensors other values, by the name they have in the copy. Names
	// that the copy would not have are added to its last file.
	Replace map[string]Tensor
	// Config is the new config.json; nil keeps the old one.
	Config []byte
	// Card is the new README.md; the old one is kept as README.original.md.
	// Empty keeps the old one.
	Card string
	// Metadata is the metadata of every weight file. Nil keeps the "format" of
	// the source file, or sets it to "pt", which transformers asks for.
	Metadata map[string]string
	// Extra holds small files to add or replace, by plain name.
	Extra map[string][]byte
}

// Tensor is a tensor that a copy does not take from its source.
type Tensor struct {
	DType safetensors.DType
	Shape []int
	// Read fills dst with the tensor's bytes from byte at on, row major. It is
	// called in ascending order, from one goroutine at a time.
	Read func(dst []byte, at int64) error
}

// blueprint is the copy before anything is written.
type blueprint struct {
	files   []outFile
	tensors int
	bytes   int64
}

// outFile is a file of the copy: content first, then pieces of source files.
type outFile struct {
	name    string
	content []byte
	pieces  []piece
}

// piece is a range of a source file, or n bytes that read puts in order.
type piece struct {
	path   string
	off, n int64
	read   func(dst []byte, at int64) error
}

// before says whether the file holds q right behind p.
func (p piece) before(q piece) bool {
	return p.read == nil && q.read == nil && p.path == q.path && p.off+p.n == q.off
}

func (f *outFile) size() int64 {
	n := int64(len(f.content))
	for _, p := range f.pieces {
		n += p.n
	}
	return n
}

// kept is a tensor of the copy: of the source, or made by read.
type kept struct {
	source  *shard
	tensor  safetensors.Tensor
	newName string
	read    func(dst []byte, at int64) error
}

// keep is a tensor of a shard as the copy has it.
func (s Surgery) keep(source *shard, t safetensors.Tensor, newName string) kept {
	if r, ok := s.Replace[newName]; ok {
		return kept{source, r.described(newName), newName, r.Read}
	}
	return kept{source, t, newName, source.checked(t, source.gather(t))}
}

func (t Tensor) described(name string) safetensors.Tensor {
	d := safetensors.Tensor{Name: name, DType: t.DType, Shape: t.Shape}
	d.Bytes = d.Elements() * int64(t.DType.Size())
	return d
}

// added lists the tensors that the source has no place for, by name.
func (s Surgery) added(source *shard, there map[string]string) (out group) {
	for _, name := range slices.Sorted(maps.Keys(s.Replace)) {
		if _, ok := there[name]; !ok {
			out = append(out, s.keep(source, safetensors.Tensor{}, name))
		}
	}
	return out
}

// draw works out every file of the copy.
func (c *Checkpoint) draw(s Surgery, maxShard int64) (*blueprint, error) {
	groups, err := c.group(s, maxShard)
	if err != nil {
		return nil, err
	}
	b := &blueprint{}
	for i, g := range groups {
		f, err := g.file(shardName(i, len(groups)), s.Metadata)
		if err != nil {
			return nil, fmt.Errorf("lay out %s: %w", f.name, err)
		}
		b.files = append(b.files, f)
		b.tensors += len(g)
	}
	if len(groups) > 1 {
		raw, err := c.newIndex(groups)
		if err != nil {
			return nil, err
		}
		b.files = append(b.files, outFile{name: safetensorsForm().index, content: raw})
	}
	small, err := c.smallFiles(s)
	if err != nil {
		return nil, err
	}
	b.files = append(b.files, small...)
	for _, f := range b.files {
		b.bytes += f.size()
	}
	return b, nil
}

// group renames the tensors and deals them out to the files of the copy, in the
// order of the source: as the source does, or at most maxShard bytes of data
// each (a larger tensor gets a file of its own).
func (c *Checkpoint) group(surgery Surgery, maxShard int64) ([]group, error) {
	if len(c.shards) == 0 {
		return nil, fmt.Errorf("%s: opened without weights: %w", c.dir, ErrNoWeights)
	}
	origin := make(map[string]string)
	var groups []group
	var open group
	var bytes int64
	flush := func() {
		if len(open) > 0 {
			groups = append(groups, open)
		}
		open, bytes = nil, 0
	}
	for _, s := range c.shards {
		for _, t := range s.tensors {
			newName, keep := t.Name, true
			if surgery.Rename != nil {
				newName, keep = surgery.Rename(t.Name)
			}
			if !keep {
				continue
			}
			if other, taken := origin[newName]; taken {
				return nil, fmt.Errorf("tensors %q and %q would both be named %q", other, t.Name, newName)
			}
			origin[newName] = t.Name
			k := surgery.keep(s, t, newName)
			if maxShard > 0 && bytes > 0 && bytes+k.tensor.Bytes > maxShard {
				flush()
			}
			open = append(open, k)
			bytes += k.tensor.Bytes
		}
		if maxShard == 0 {
			flush()
		}
	}
	flush()
	if len(groups) == 0 {
		return nil, fmt.Errorf("%s: no tensor would be kept", c.dir)
	}
	last := len(groups) - 1
	groups[last] = append(groups[last], surgery.added(groups[last][0].source, origin)...)
	return groups, nil
}

// shardName is the name of file i of n; a lone file needs no index.
func shardName(i, n int) string {
	if n == 1 {
		return safetensorsForm().single
	}
	return fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, n)
}

// group holds the tensors of one file of the copy, in order.
type group []kept

// file lays the group out: a new header and as few ranges as will do, or the
// source file as it is where it would not change.
func (g group) file(name string, metadata map[string]string) (outFile, error) {
	f := outFile{name: name}
	if s := g.unchanged(metadata); s != nil {
		f.pieces = []piece{{path: s.path, n: s.size}}
		return f, nil
	}
	tensors := make([]safetensors.Tensor, len(g))
	for i, k := range g {
		tensors[i] = k.tensor
		tensors[i].Name = k.newName
		next := piece{k.source.path, k.tensor.Offset, k.tensor.Bytes, k.read}
		if last := len(f.pieces) - 1; last >= 0 && f.pieces[last].before(next) {
			f.pieces[last].n += next.n
			continue
		}
		f.pieces = append(f.pieces, next)
	}
	var err error
	f.content, err = safetensors.AppendHeader(nil, tensors, g.metadata(metadata))
	return f, err
}

// unchanged returns the source file that the group equals, or nil.
func (g group) unchanged(metadata map[string]string) *shard {
	s := g[0].source
	if s.isTorch() || len(g) != len(s.tensors) {
		return nil
	}
	for _, k := range g {
		if k.source != s || k.newName != k.tensor.Name || k.read != nil {
			return nil
		}
	}
	if metadata == nil && s.metadata["format"] != "" || metadata != nil && maps.Equal(metadata, s.metadata) {
		return s
	}
	return nil
}

func (g group) metadata(wanted map[string]string) map[string]string {
	if wanted != nil {
		return wanted
	}
	format := g[0].source.metadata["format"]
	if format == "" {
		format = "pt"
	}
	return map[string]string{"format": format}
}

// newIndex maps the new names to the new files. Of the source's metadata it keeps
// all but the counts, which it makes right or leaves out.
func (c *Checkpoint) newIndex(groups []group) ([]byte, error) {
	x := &index{metadata: make(map[string]json.RawMessage), files: make(map[string]string)}
	var bytes, elements int64
	for i, g := range groups {
		for _, k := range g {
			x.files[k.newName] = shardName(i, len(groups))
			bytes += k.tensor.Bytes
			elements += k.tensor.Elements()
		}
	}
	if c.index != nil {
		maps.Copy(x.metadata, c.index.metadata)
		const parameters = "total_parameters"
		// Counted differently (shared weights, buffers), it cannot be corrected.
		if string(x.metadata[parameters]) == strconv.FormatInt(c.elements(), 10) {
			x.metadata[parameters] = strconv.AppendInt(nil, elements, 10)
		} else {
			delete(x.metadata, parameters)
		}
	}
	x.metadata["total_size"] = strconv.AppendInt(nil, bytes, 10)
	return x.encode()
}

func (c *Checkpoint) elements() int64 {
	var n int64
	for _, t := range c.tensors {
		n += t.Elements()
	}
	return n
}

// smallFiles returns config, card, extras and what is carried along, by name.
func (c *Checkpoint) smallFiles(s Surgery) ([]outFile, error) {
	files := make(map[string]outFile)
	for _, f := range c.files {
		if f.carried() {
			files[f.Name] = c.carry(f)
		}
	}
	config := c.config
	if s.Config != nil {
		config = s.Config
	}
	if !isObject(config) {
		return nil, errors.New("the new config.json is not a JSON object")
	}
	files[configName] = outFile{name: configName, content: config}
	if s.Card != "" {
		// A second pruning keeps the card of the model it all began with.
		if old, ok := files[cardName]; ok && files[originalCard].name == "" {
			old.name = originalCard
			files[originalCard] = old
		}
		files[cardName] = outFile{name: cardName, content: []byte(s.Card)}
	}
	for name, content := range s.Extra {
		if err := checkExtra(name, s.Card != ""); err != nil {
			return nil, err
		}
		files[name] = outFile{name: name, content: content}
	}
	out := make([]outFile, 0, len(files))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		out = append(out, files[name])
	}
	return out, nil
}

func (c *Checkpoint) carry(f FileInfo) outFile {
	return outFile{name: f.Name, pieces: []piece{{path: filepath.Join(c.dir, filepath.FromSlash(f.Name)), n: f.Size}}}
}

// checkExtra keeps extra files from replacing what the copy is made of.
func checkExtra(name string, card bool) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, `/\:`+"\x00"):
		return fmt.Errorf("extra file %q: give a plain file name", name)
	case name == configName, name == safetensorsForm().index, strings.HasSuffix(name, ".safetensors"), name == cardName && card:
		return fmt.Errorf("extra file %q: that name is taken", name)
	}
	return nil
}
