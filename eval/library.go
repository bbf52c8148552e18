package eval

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/coppice-ml/coppice/internal/nearest"
)

//go:embed tasks
var builtin embed.FS

// Group is a set of tasks with metrics of its own.
type Group struct {
	Name      string           `yaml:"group"`
	Alias     string           `yaml:"group_alias"`
	Members   stringList       `yaml:"task"` // tasks, groups and tags
	Aggregate []AggregateRules `yaml:"aggregate_metric_list"`
	Metadata  Metadata         `yaml:"metadata"`
}

// AggregateRules say how a group's metric comes from its tasks'.
type AggregateRules struct {
	Metric       string     `yaml:"metric"`
	Aggregation  string     `yaml:"aggregation"` // mean
	WeightBySize bool       `yaml:"weight_by_size"`
	Filters      stringList `yaml:"filter_list"` // nil: none
	// Over is "tasks" (the default, as in the harness: every task below) or
	// "members", which takes a group among them as one.
	Over string `yaml:"over"`
}

// Library is a set of tasks, groups and tags by name.
type Library struct {
	tasks  map[string]*Task
	groups map[string]*Group
	tags   map[string][]string
}

// Builtin returns the tasks that come with Coppice.
func Builtin() (*Library, error) {
	l := &Library{tasks: map[string]*Task{}, groups: map[string]*Group{}, tags: map[string][]string{}}
	sub, err := fs.Sub(builtin, "tasks")
	if err != nil {
		return nil, err
	}
	return l, l.add(files{fs: sub}, true)
}

// AddDir adds the .yaml and .yml files of a directory and those below. A task
// or group named as one that is there already replaces it.
func (l *Library) AddDir(dir string) error {
	if info, err := os.Stat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s is a file; name the directory of task files", dir)
	}
	before := len(l.tasks) + len(l.groups)
	if err := l.add(files{fs: os.DirFS(dir), name: dir}, false); err != nil {
		return err
	}
	if len(l.tasks)+len(l.groups) == before {
		return fmt.Errorf("%s: no .yaml file there defines a new task or group", dir)
	}
	return nil
}

func (l *Library) add(d files, unique bool) error {
	return fs.WalkDir(d.fs, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !slices.Contains([]string{".yaml", ".yml"}, path.Ext(name)) {
			return err
		}
		docs, err := d.documents(name)
		if err != nil {
			return err
		}
		for _, n := range docs {
			if err := l.define(n, d.path(name), unique); err != nil {
				return err
			}
		}
		return nil
	})
}

// define adds what one YAML document defines. One without a name is there to be included.
func (l *Library) define(n *yaml.Node, source string, unique bool) error {
	group, task := find(n, "group") >= 0, find(n, "task") >= 0
	if group && task && n.Content[find(n, "task")+1].Kind == yaml.SequenceNode {
		return l.defineGroup(n, source)
	}
	if !task {
		return nil
	}
	t := &Task{source: source}
	if err := strict(n, t); err != nil {
		return &TaskError{File: source, Task: t.Name, What: err.Error()}
	}
	if err := n.Decode(&t.config); err != nil {
		return &TaskError{File: source, Task: t.Name, What: err.Error()}
	}
	if err := t.check(); err != nil {
		return err
	}
	if unique && l.tasks[t.Name] != nil {
		return t.fail("is defined twice")
	}
	l.tasks[t.Name] = t
	for _, tag := range t.Tags {
		if !slices.Contains(l.tags[tag], t.Name) {
			l.tags[tag] = append(l.tags[tag], t.Name)
		}
	}
	return nil
}

func (l *Library) defineGroup(n *yaml.Node, source string) error {
	g := &Group{}
	if err := strict(n, g); err != nil {
		return &TaskError{File: source, What: err.Error()}
	}
	for i, a := range g.Aggregate {
		switch {
		case a.Aggregation != "" && a.Aggregation != "mean":
			return &TaskError{File: source, What: fmt.Sprintf("group %s: aggregation %q: want mean", g.Name, a.Aggregation)}
		case a.Over != "" && a.Over != "tasks" && a.Over != "members":
			return &TaskError{File: source, What: fmt.Sprintf("group %s: over %q: want tasks or members", g.Name, a.Over)}
		case a.Metric == "":
			return &TaskError{File: source, What: fmt.Sprintf("group %s: aggregate_metric_list[%d] names no metric", g.Name, i)}
		}
		if a.Filters == nil {
			g.Aggregate[i].Filters = stringList{noFilter}
		}
	}
	l.groups[g.Name] = g
	return nil
}

// Names lists all tasks, groups and tags.
func (l *Library) Names() []string {
	var out []string
	for name := range l.tasks {
		out = append(out, name)
	}
	for name := range l.groups {
		out = append(out, name)
	}
	for name := range l.tags {
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Task returns a task by name.
func (l *Library) Task(name string) (*Task, bool) {
	t, ok := l.tasks[name]
	return t, ok
}

// UnknownError is a name that is no task, group or tag.
type UnknownError struct {
	Name    string
	Nearest []string
}

func (e *UnknownError) Error() string { return fmt.Sprintf("unknown task %q", e.Name) }

// Selection is what a list of names stands for.
type Selection struct {
	Tasks  []*Task
	Groups []Branch // outer groups before the ones in them
}

// Branch is a group with what it holds.
type Branch struct {
	*Group
	Members []string // its own, tags spelled out
	Tasks   []string // all tasks below
	depth   int
}

// Select finds the tasks, groups and tags of the names, which may hold * and ?.
// A task named twice is asked once.
func (l *Library) Select(names []string) (*Selection, error) {
	s := &Selection{}
	for _, name := range names {
		matched, err := l.match(name)
		if err != nil {
			return nil, err
		}
		for _, m := range matched {
			if _, err := l.collect(s, m, nil); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func (l *Library) match(name string) ([]string, error) {
	if !strings.ContainsAny(name, "*?[") {
		return []string{name}, nil
	}
	var out []string
	for _, known := range l.Names() {
		ok, err := path.Match(name, known)
		if err != nil {
			return nil, fmt.Errorf("task pattern %q: %w", name, err)
		}
		if ok {
			out = append(out, known)
		}
	}
	if len(out) == 0 {
		return nil, l.unknown(name)
	}
	return out, nil
}

func (l *Library) unknown(name string) error {
	sorted := nearest.Near(name, l.Names())
	return &UnknownError{Name: name, Nearest: sorted[:min(3, len(sorted))]}
}

// collect adds a name and returns the tasks it stands for.
func (l *Library) collect(s *Selection, name string, above []string) ([]string, error) {
	if slices.Contains(above, name) {
		return nil, fmt.Errorf("group %s holds itself: %s", name, strings.Join(append(above, name), " > "))
	}
	if t, ok := l.tasks[name]; ok {
		if !slices.Contains(s.Tasks, t) {
			s.Tasks = append(s.Tasks, t)
		}
		return []string{name}, nil
	}
	if tagged, ok := l.tags[name]; ok && l.groups[name] == nil {
		return l.collectAll(s, tagged, above)
	}
	g, ok := l.groups[name]
	if !ok {
		return nil, l.unknown(name)
	}
	at := len(s.Groups)
	if i := slices.IndexFunc(s.Groups, func(b Branch) bool { return b.Name == name }); i >= 0 {
		return s.Groups[i].Tasks, nil
	}
	s.Groups = append(s.Groups, Branch{Group: g, Members: l.members(g), depth: len(above)})
	tasks, err := l.collectAll(s, g.Members, append(above, name))
	var unknown *UnknownError
	if errors.As(err, &unknown) {
		return nil, fmt.Errorf("group %s: %w", name, err)
	}
	s.Groups[at].Tasks = tasks
	return tasks, err
}

func (l *Library) collectAll(s *Selection, names, above []string) ([]string, error) {
	var out []string
	for _, name := range names {
		tasks, err := l.collect(s, name, above)
		if err != nil {
			return nil, err
		}
		for _, t := range tasks {
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	return out, nil
}

// members spells out the tags among a group's members.
func (l *Library) members(g *Group) []string {
	var out []string
	for _, m := range g.Members {
		if tagged, ok := l.tags[m]; ok && l.groups[m] == nil && l.tasks[m] == nil {
			out = append(out, tagged...)
			continue
		}
		out = append(out, m)
	}
	return out
}

// Metrics are those of the task or group of this name; nil where the selection has
// none such.
func (s *Selection) Metrics(name string) (out []string) {
	for _, t := range s.Tasks {
		if t.Name == name {
			for _, m := range t.Metrics {
				out = append(out, m.Metric)
			}
		}
	}
	for _, g := range s.Groups {
		if g.Name == name {
			for _, m := range g.Aggregate {
				out = append(out, m.Metric)
			}
		}
	}
	return out
}
