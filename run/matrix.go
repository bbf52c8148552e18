package run

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/coppice-ml/coppice/run/rundir"
)

// Matrix are the axes of a recipe, in its order.
type Matrix []Axis

// Axis is what trials differ in.
type Axis struct {
	Name   string
	Values []Value
	line   int
}

// Value is one value of an axis: an overlay, or a value for one key.
type Value struct {
	Name string // in the names of trials
	Text string // as the recipe has it, for exclude and include
	over func(root *yaml.Node) *yaml.Node
	node *yaml.Node
}

// metricAxis is the axis whose plain values are metrics that order the layers.
const metricAxis = "metric"

// UnmarshalYAML reads a mapping of axes.
func (m *Matrix) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return at(n, "matrix: want axes with their values")
	}
	for i := 0; i < len(n.Content); i += 2 {
		a, err := readAxis(n.Content[i], n.Content[i+1])
		if err != nil {
			return err
		}
		*m = append(*m, a)
	}
	return nil
}

func at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d, column %d: %s", n.Line, n.Column, fmt.Sprintf(format, args...))
}

func readAxis(key, n *yaml.Node) (Axis, error) {
	a := Axis{Name: key.Value, line: key.Line}
	path, list := "", n
	if n.Kind == yaml.MappingNode {
		if p := value(n, "set"); p != nil {
			path = p.Value
		}
		list = value(n, "values")
		if path == "" || list == nil || len(n.Content) != 4 {
			return a, at(n, "axis %s: want a list, or {set: KEY, values: […]}", a.Name)
		}
	}
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		return a, at(list, "axis %s: want a list of values", a.Name)
	}
	for _, item := range list.Content {
		v, err := readValue(a.Name, path, item)
		if err != nil {
			return a, err
		}
		if err := checkName(v.Name); err != nil {
			return a, at(item, "axis %s: %q: %v", a.Name, v.Name, err)
		}
		for _, other := range a.Values {
			if strings.EqualFold(other.Name, v.Name) {
				return a, at(item, "axis %s: %q and %q would be one directory where names are told apart regardless of case", a.Name, other.Name, v.Name)
			}
		}
		a.Values = append(a.Values, v)
	}
	return a, nil
}

// readValue reads one value of an axis; path is what plain ones are set at.
func readValue(axis, path string, n *yaml.Node) (Value, error) {
	if path == "" && axis == metricAxis && n.Kind == yaml.ScalarNode {
		path = "prune.by"
	} else if path != "" && n.Kind == yaml.ScalarNode {
		v := keyed(path, n)
		v.Name = axis + "=" + n.Value
		return v, nil
	}
	if path != "" && n.Kind != yaml.MappingNode {
		return keyed(path, n), nil
	}
	name := value(n, "name")
	if n.Kind != yaml.MappingNode || name == nil {
		return Value{}, at(n, "axis %s: want {name: …} with what it changes, or {set: KEY, values: […]} around plain values", axis)
	}
	over := clone(n)
	remove(over, "name")
	if err := decode(over, new(Settings), ""); err != nil {
		return Value{}, fmt.Errorf("axis %s: %w", axis, err)
	}
	return Value{Name: name.Value, Text: name.Value, node: n, over: func(*yaml.Node) *yaml.Node { return over }}, nil
}

// keyed is a plain value for a key.
func keyed(path string, n *yaml.Node) Value {
	return Value{Name: n.Value, Text: n.Value, node: n, over: func(root *yaml.Node) *yaml.Node { return nested(root, path, n) }}
}

// Combination is a set of axes' values, and in include what else is set there.
type Combination struct {
	Axes  map[string]string
	over  *yaml.Node
	where *yaml.Node
}

// UnmarshalYAML reads axes and settings beside each other.
func (c *Combination) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return at(n, "want axes with their values")
	}
	c.Axes, c.where, c.over = map[string]string{}, n, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Column: n.Column}
	settings := slices.Concat(stageKeys(), []string{"keep", "seeds", "engine"})
	for i := 0; i < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		switch {
		case slices.Contains(settings, key.Value):
			set(c.over, key, v)
		case v.Kind == yaml.ScalarNode:
			c.Axes[key.Value] = v.Value
		default:
			return at(v, "axis %s: want one value", key.Value)
		}
	}
	return decode(c.over, new(Settings), "")
}

// Trial is a combination for one model, with its settings resolved.
type Trial struct {
	Name     string
	Model    Model
	Axes     []rundir.Axis
	Seed     uint64
	Seeds    int // how many the settings have
	Settings Settings
	node     *yaml.Node // the settings as a recipe has them
}

// picked is a value of an axis.
type picked struct {
	axis string
	v    Value
}

// Trials expands the matrix, in the order of models and axes.
func (l *Loaded) Trials() ([]Trial, error) {
	r := &l.Recipe
	if len(r.Models) == 0 {
		return nil, &Error{File: l.File, What: "of which model?", Remedy: "coppice run MODEL, or models: in the recipe"}
	}
	combinations, err := r.combinations()
	if err != nil {
		return nil, &Error{File: l.File, What: err.Error()}
	}
	var out []Trial
	for _, m := range r.Models {
		for _, c := range combinations {
			if slices.ContainsFunc(r.Exclude, func(x Combination) bool { return x.matches(m, c) }) {
				continue
			}
			some, err := l.trials(m, c)
			if err != nil {
				return nil, err
			}
			out = append(out, some...)
		}
	}
	if len(out) == 0 {
		return nil, &Error{File: l.File, What: "exclude leaves no trial"}
	}
	return out, unique(out)
}

// combinations multiplies the axes; those that go along with each other count as one.
func (r *Recipe) combinations() ([][]picked, error) {
	out := [][]picked{nil}
	zipped, err := r.zipped()
	if err != nil {
		return nil, err
	}
	for _, group := range zipped {
		var next [][]picked
		for _, c := range out {
			for i := range group[0].Values {
				row := slices.Clone(c)
				for _, a := range group {
					row = append(row, picked{a.Name, a.Values[i]})
				}
				next = append(next, row)
			}
		}
		out = next
	}
	for _, x := range r.Include {
		if added, ok := x.alone(r.Matrix, out); ok {
			out = append(out, added)
		}
	}
	return out, nil
}

// zipped are the axes, in groups that go along with each other.
func (r *Recipe) zipped() (groups [][]Axis, err error) {
	with := map[string]int{}
	for i, names := range r.Zip {
		for _, name := range names {
			if !slices.ContainsFunc(r.Matrix, func(a Axis) bool { return a.Name == name }) {
				return nil, fmt.Errorf("zip: there is no axis %s", name)
			}
			with[name] = i + 1
		}
	}
	place := map[int]int{}
	for _, a := range r.Matrix {
		group, zips := with[a.Name]
		if at, seen := place[group]; zips && seen {
			if n := len(groups[at][0].Values); n != len(a.Values) {
				return nil, fmt.Errorf("zip: axis %s has %d values, and %s has %d", groups[at][0].Name, n, a.Name, len(a.Values))
			}
			groups[at] = append(groups[at], a)
			continue
		}
		place[group] = len(groups)
		groups = append(groups, []Axis{a})
	}
	return groups, nil
}

// matches says whether a combination has the named values.
func (x Combination) matches(m Model, c []picked) bool {
	for axis, want := range x.Axes {
		ok := axis == "model" && (want == m.Name || want == m.From)
		for _, p := range c {
			ok = ok || p.axis == axis && (same(p.v.Text, want) || p.v.Name == want)
		}
		if !ok {
			return false
		}
	}
	return true
}

// alone is the combination that an entry of include adds, where none has its values.
func (x Combination) alone(axes Matrix, have [][]picked) ([]picked, bool) {
	for _, c := range have {
		if x.matches(Model{Name: x.Axes["model"]}, c) {
			return nil, false
		}
	}
	var out []picked
	for _, a := range axes {
		text, named := x.Axes[a.Name]
		if !named {
			continue
		}
		at := slices.IndexFunc(a.Values, func(v Value) bool { return same(v.Text, text) || v.Name == text })
		v := Value{Name: text, Text: text, over: func(*yaml.Node) *yaml.Node { return nil }}
		if at >= 0 {
			v = a.Values[at]
		}
		out = append(out, picked{a.Name, v})
	}
	return out, len(out) > 0
}

// same compares values as written, numbers by what they are.
func same(a, b string) bool {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return a == b || errX == nil && errY == nil && x == y
}

// trials are those of one combination, one for each seed.
func (l *Loaded) trials(m Model, c []picked) ([]Trial, error) {
	node := l.settings()
	t := Trial{Model: m}
	parts := []string{m.Name}
	for _, p := range c {
		if over := p.v.over(node); over != nil {
			node = merged(node, over, "")
		}
		t.Axes = append(t.Axes, rundir.Axis{Name: p.axis, Value: p.v.Text})
		parts = append(parts, p.v.Name)
	}
	for _, x := range l.Recipe.Include {
		if x.matches(m, c) {
			node = merged(node, x.over, "")
		}
	}
	t.Name = strings.Join(parts, "/")
	if err := decode(node, &t.Settings, l.File); err != nil {
		return nil, err
	}
	if t.node = l.Recipe.Limits.over(node, t.Settings); t.node != node {
		if err := decode(t.node, &t.Settings, l.File); err != nil {
			return nil, err
		}
	}
	seeds := t.Settings.Seeds
	if len(seeds) == 0 {
		seeds = []uint64{42}
	}
	var out []Trial
	for _, s := range seeds {
		one := t
		if one.Seed, one.Seeds = s, len(seeds); len(seeds) > 1 {
			one.Name += fmt.Sprintf("/seed-%d", s)
		}
		out = append(out, one)
	}
	return out, nil
}

// settings are those that all trials begin with.
func (l *Loaded) settings() *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i < len(l.root.Content); i += 2 {
		if k := l.root.Content[i]; slices.Contains(append(stageKeys(), "keep", "seeds", "engine"), k.Value) {
			set(out, k, clone(l.root.Content[i+1]))
		}
	}
	return out
}

// Resolved are a trial's settings as values, for its file.
func (t Trial) Resolved() (map[string]any, error) {
	out := map[string]any{}
	return out, t.node.Decode(&out)
}

func unique(trials []Trial) error {
	seen := map[string]string{}
	for _, t := range trials {
		low := strings.ToLower(t.Name)
		if other, twice := seen[low]; twice {
			return &Error{What: fmt.Sprintf("the trials %q and %q would be one directory", other, t.Name), Remedy: "give models and values names that differ in more than case"}
		}
		seen[low] = t.Name
	}
	return nil
}

// axisNames lists the axes.
func (m Matrix) axisNames() []string {
	names := map[string]bool{"model": true}
	for _, a := range m {
		names[a.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}
