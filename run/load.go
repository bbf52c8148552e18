package run

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/internal/nearest"
	"github.com/coppice-ml/coppice/internal/strictyaml"
)

// What a recipe file may be.
const (
	mostBytes   = 1 << 20
	mostNodes   = 100_000 // once its aliases are written out
	mostExtends = 16
)

// Error is what is wrong with a recipe.
type Error struct {
	File   string // "" where it is no file's
	What   string
	Remedy string
}

func (e *Error) Error() string {
	if e.File == "" {
		return e.What
	}
	return e.File + ": " + e.What
}

// Loaded is a recipe with what it extends merged in.
type Loaded struct {
	Recipe Recipe
	File   string // that it was read from; "" for a shipped one
	root   *yaml.Node
}

// Load reads a shipped recipe, or a file, whose name ends in .yaml or .yml.
func Load(name string) (*Loaded, error) {
	n, file, err := load(name, "", nil)
	if err != nil {
		return nil, err
	}
	return finish(n, file)
}

// finish decodes a merged recipe.
func finish(n *yaml.Node, file string) (*Loaded, error) {
	l := &Loaded{File: file, root: n}
	remove(n, "extends")
	if err := decode(n, &l.Recipe, file); err != nil {
		return nil, err
	}
	return l, l.Recipe.check(file)
}

// IsFile says that a recipe's name is that of a file.
func IsFile(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	return ext == ".yaml" || ext == ".yml"
}

// load reads a recipe and all that it extends; chain are the files on the way.
func load(name, dir string, chain []string) (*yaml.Node, string, error) {
	raw, file, err := source(name, dir)
	if err != nil {
		return nil, "", err
	}
	here := cmp.Or(file, name)
	if slices.Contains(chain, here) || len(chain) >= mostExtends {
		return nil, "", &Error{File: file, What: "extends itself: " + strings.Join(append(chain, here), " > ")}
	}
	shown := file
	if file == "" {
		shown = "shipped recipe " + name
	}
	n, err := parse(raw, shown)
	if err != nil {
		return nil, "", err
	}
	if file != "" {
		dir = filepath.Dir(file)
		anchor(n, dir)
	}
	base := value(n, "extends")
	if base == nil {
		return n, file, nil
	}
	under, _, err := load(base.Value, dir, append(chain, here))
	if err != nil {
		return nil, "", err
	}
	return merged(under, n, ""), file, nil
}

// source is the text of a recipe, and its file: "" for a shipped one.
func source(name, dir string) ([]byte, string, error) {
	if !IsFile(name) {
		raw, err := shipped(name)
		return raw, "", err
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, "", err
	}
	f, _, err := mmap.OpenNamed(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", &Error{File: name, What: "there is no such recipe", Remedy: "coppice run --list shows those that come with Coppice"}
	}
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err == nil && len(raw) > mostBytes {
		err = &Error{File: name, What: "more than 1 MB: that is no recipe"}
	}
	return raw, path, err
}

// parse reads one document and checks its keys and the kinds of its values.
func parse(raw []byte, file string) (*yaml.Node, error) {
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &Error{File: file, What: "is empty"}
		}
		return nil, &Error{File: file, What: strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, &Error{File: file, What: "more than one document: a recipe is one"}
	}
	left := mostNodes
	n, err := spelledOut(doc.Content[0], &left)
	if err != nil {
		return nil, &Error{File: file, What: err.Error()}
	}
	if n.Kind != yaml.MappingNode {
		return nil, &Error{File: file, What: fmt.Sprintf("line %d: a recipe is a mapping of keys to values", n.Line)}
	}
	if v := value(n, "coppice"); v == nil || v.Value != fmt.Sprint(Format) {
		e := &Error{File: file, What: "coppice: 1, the version of the format, is missing", Remedy: "put it on the first line"}
		if v != nil {
			e.What, e.Remedy = fmt.Sprintf("line %d: format %s, and this version reads format %d", v.Line, v.Value, Format), "use the version of Coppice that it was written for"
		}
		return nil, e
	}
	return n, decode(n, new(Recipe), file)
}

// spelledOut writes aliases out; left is how many nodes there may still be.
func spelledOut(n *yaml.Node, left *int) (*yaml.Node, error) {
	if *left--; *left < 0 {
		return nil, fmt.Errorf("line %d: more than %d values once aliases are written out", n.Line, mostNodes)
	}
	if n.Kind == yaml.AliasNode {
		return spelledOut(n.Alias, left)
	}
	out := *n
	out.Anchor, out.Content = "", nil
	for _, c := range n.Content {
		x, err := spelledOut(c, left)
		if err != nil {
			return nil, err
		}
		out.Content = append(out.Content, x)
	}
	return &out, nil
}

// decode checks keys and kinds of values.
func decode(n *yaml.Node, into any, file string) error {
	rules := strictyaml.Rules{Columns: true, Own: func(t reflect.Type) bool {
		ours := t == reflect.TypeFor[Model]() || t == reflect.TypeFor[Heal]() // which only add to what their keys say
		return !ours && reflect.PointerTo(t).Implements(reflect.TypeFor[yaml.Unmarshaler]())
	}}
	if err := strictyaml.Decode(withoutNone(n), into, rules); err != nil {
		return &Error{File: file, What: err.Error()}
	}
	return nil
}

// anchor makes relative paths that exist beside the recipe independent of where it
// is run.
func anchor(n *yaml.Node, dir string) {
	paths := []string{"from", "data", "train_tokens", "validation_data", "template", "task_dir", "data_dir", "plan", "lora_init", "init_from", "models"}
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		v := n.Content[i+1]
		if slices.Contains(paths, n.Content[i].Value) {
			anchorValue(v, dir)
		}
		anchor(v, dir)
	}
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			anchor(c, dir)
		}
	}
}

func anchorValue(v *yaml.Node, dir string) {
	if v.Kind == yaml.SequenceNode {
		for _, c := range v.Content {
			anchorValue(c, dir)
		}
	}
	if v.Kind != yaml.ScalarNode || v.Value == "" || filepath.IsAbs(v.Value) || strings.HasPrefix(v.Value, embeddedPrefix) {
		return
	}
	name, _, _ := strings.Cut(v.Value, ":") // :WEIGHT, :config/split
	if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
		v.Value = filepath.Join(dir, name) + strings.TrimPrefix(v.Value, name)
	}
}

// Change is a value to set in a recipe: heal.lr, 1e-4.
type Change struct{ Path, Value string }

// ParseChange reads KEY=VALUE.
func ParseChange(text string) (Change, error) {
	path, v, ok := strings.Cut(text, "=")
	if !ok || path == "" {
		return Change{}, &Error{What: fmt.Sprintf("--set %s: want KEY=VALUE, such as heal.lr=1e-4", text)}
	}
	return Change{path, v}, nil
}

// With is the recipe with changes, and with other models where any are given.
func (l *Loaded) With(models []string, changes []Change) (*Loaded, error) {
	root := clone(l.root)
	for _, c := range changes {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(c.Value), &doc); err != nil || len(doc.Content) != 1 {
			return nil, &Error{What: fmt.Sprintf("--set %s=%s: this is no value of YAML", c.Path, c.Value)}
		}
		left := mostNodes
		v, err := spelledOut(doc.Content[0], &left)
		if err != nil {
			return nil, &Error{What: err.Error()}
		}
		over := nested(root, c.Path, v)
		if over == nil {
			return nil, &Error{What: fmt.Sprintf("--set %s: the recipe has removed that stage", c.Path)}
		}
		if err := decode(over, new(Recipe), "--set "+c.Path); err != nil {
			return nil, err
		}
		root = merged(root, over, "")
	}
	if len(models) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, m := range models {
			list.Content = append(list.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: m})
		}
		set(root, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "models"}, list)
	}
	return finish(root, l.File)
}

// DirName is what a run directory of the recipe is called where nobody says.
func (l *Loaded) DirName() string {
	name := cmp.Or(l.Recipe.Name, "run")
	if len(l.Recipe.Models) == 1 && l.Recipe.Models[0].Name != name {
		name += "-" + l.Recipe.Models[0].Name
	}
	return name
}

// YAML is the recipe as it was resolved. It runs to the same stages.
func (l *Loaded) YAML() ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(l.root); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// unknownName is the error of a shipped recipe that there is none of.
func unknownName(name string) error {
	remedy := "coppice run --list shows those that there are; a file's name ends in .yaml"
	if meant := nearest.DidYouMean(name, Shipped()); meant != "" {
		remedy = meant + " " + remedy
	}
	return &Error{What: fmt.Sprintf("there is no recipe %q", name), Remedy: remedy}
}
