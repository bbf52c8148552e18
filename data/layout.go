package data

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Layout is how the files of a data set are divided: into configs (the hub
// calls them subsets as well), and each of these into splits.
type Layout struct {
	Configs []Config // in the order of the card, else by name
	name    string   // of the data set, for errors
	files   []string // all that Rows can read
}

// Config is one part of a data set.
type Config struct {
	Name    string
	Default bool // the one that is meant when none is named
	Splits  []Split
}

// Split is a part of a config; its files hold its rows, in this order.
type Split struct {
	Name  string
	Files []string // relative to the data set, with slashes
}

// unnamed is the config of a data set that names none, and the split of one
// that has none, as the hub calls them.
const (
	unnamed    = "default"
	trainSplit = "train"
)

// Discover finds the configs and splits of a data set from the names of its
// files (relative, with slashes) and its card, README.md, which may be nil. It
// follows the hub: the card's configs where it lists any; the layout of the
// branch refs/convert/parquet, CONFIG/SPLIT/0000.parquet; otherwise files such as
// data/train-00000-of-00001.parquet; otherwise train, validation and test, and
// their usual synonyms, as words in the names of directories, then in those of
// files; otherwise all is one split, train. Name is the data set's, for errors,
// which are *Error.
func Discover(name string, files []string, card []byte) (*Layout, error) {
	l := &Layout{name: name}
	for _, f := range files {
		if kind, packed := formatOf(f); slices.Contains(Formats(), kind) && (packed == "" || kind != ".parquet") && !ignored(f) {
			l.files = append(l.files, f)
		}
	}
	slices.Sort(l.files)
	declared, err := cardConfigs(name, card)
	if err != nil {
		return nil, err
	}
	switch {
	case len(l.files) == 0:
		return nil, l.fail("no file that can be read is in it", "want one of "+strings.Join(Formats(), ", "))
	case len(declared) > 0:
		err = l.declare(declared)
	case l.converted():
	default:
		l.Configs = []Config{{Name: unnamed, Splits: splitsOf(l.files)}}
	}
	if err == nil {
		l.pickDefault()
	}
	return l, err
}

// DiscoverDir does so for a directory.
func DiscoverDir(dir string) (*Layout, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	if err != nil {
		return nil, err
	}
	card, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return Discover(dir, names, card)
}

// Find returns the split that part names: CONFIG/SPLIT, or CONFIG or SPLIT
// alone. What is not named is the default config, and the split called train
// or the only one. A directory of the data set counts as a config too.
func (l *Layout) Find(part string) (Config, Split, error) {
	if c, ok := l.named(part); ok {
		return l.only(c)
	}
	preset, ok := l.preset()
	if ok && part == "" {
		return l.only(preset)
	}
	if s, found := preset.split(part); found {
		return preset, s, nil
	}
	if at := strings.LastIndex(part, "/"); at > 0 { // configs may be directories
		if c, ok := l.namedOrDir(part[:at]); ok {
			if s, found := c.split(part[at+1:]); found {
				return c, s, nil
			}
			if len(l.below(part)) == 0 {
				return c, Split{}, l.fail(fmt.Sprintf("config %q has no split %q", c.Name, part[at+1:]), "it has: "+l.parts(c))
			}
		}
	}
	if c, ok := l.namedOrDir(part); ok {
		return l.only(c)
	}
	if part == "" {
		return Config{}, Split{}, l.fail("has several configs, and no default", "name one of them: "+l.configNames())
	}
	remedy := "its configs: " + l.configNames()
	if ok {
		remedy += "; splits of the default: " + l.parts(preset)
	}
	return Config{}, Split{}, l.fail(fmt.Sprintf("has no config or split %q", part), remedy)
}

// only returns the split of a config that is meant when none is named.
func (l *Layout) only(c Config) (Config, Split, error) {
	if s, ok := c.split(trainSplit); ok {
		return c, s, nil
	}
	switch len(c.Splits) {
	case 0:
		return c, Split{}, l.fail(fmt.Sprintf("config %q has no file that can be read", c.Name), "want one of "+strings.Join(Formats(), ", "))
	case 1:
		return c, c.Splits[0], nil
	}
	return c, Split{}, l.fail("has several splits, and no train", "name one of them: "+l.parts(c))
}

func (c Config) split(name string) (Split, bool) {
	at := slices.IndexFunc(c.Splits, func(s Split) bool { return s.Name == name })
	if at < 0 {
		return Split{}, false
	}
	return c.Splits[at], true
}

// preset is the config that is meant when none is named.
func (l *Layout) preset() (Config, bool) {
	at := slices.IndexFunc(l.Configs, func(c Config) bool { return c.Default })
	if at < 0 {
		return Config{}, false
	}
	return l.Configs[at], true
}

// parts lists the splits of a config in the way Find takes them.
func (l *Layout) parts(c Config) string {
	var names []string
	for _, s := range c.Splits {
		if c.Default {
			names = append(names, s.Name)
		} else {
			names = append(names, c.Name+"/"+s.Name)
		}
	}
	return strings.Join(names, ", ")
}

func (l *Layout) named(name string) (Config, bool) {
	at := slices.IndexFunc(l.Configs, func(c Config) bool { return c.Name == name })
	if at < 0 {
		return Config{}, false
	}
	return l.Configs[at], true
}

// namedOrDir finds a config by name, or makes one of a directory.
func (l *Layout) namedOrDir(name string) (Config, bool) {
	if c, ok := l.named(name); ok || name == "" {
		return c, ok
	}
	below := l.below(name)
	return Config{Name: name, Splits: splitsOf(below)}, len(below) > 0
}

func (l *Layout) below(dir string) []string {
	var out []string
	for _, f := range l.files {
		if strings.HasPrefix(f, strings.TrimSuffix(dir, "/")+"/") {
			out = append(out, f)
		}
	}
	return out
}

func (l *Layout) configNames() string {
	var names []string
	for _, c := range l.Configs {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

func (l *Layout) fail(what, remedy string) error {
	return &Error{Path: l.name, What: what, Remedy: remedy}
}

// pickDefault marks the config that is meant when none is named.
func (l *Layout) pickDefault() {
	for i := range l.Configs {
		if l.Configs[i].Default {
			return
		}
	}
	for i, c := range l.Configs {
		if c.Name == unnamed || len(l.Configs) == 1 {
			l.Configs[i].Default = true
			return
		}
	}
}

// converted recognises the branch that the hub converts data sets to:
// CONFIG/SPLIT/0000.parquet, or CONFIG/partial-SPLIT/ where it was too large.
func (l *Layout) converted() bool {
	shape := regexp.MustCompile(`^([^/]+)/(?:partial-)?([^/]+)/\d{4}\.parquet$`)
	var configs []Config
	for _, f := range l.files {
		m := shape.FindStringSubmatch(f)
		if m == nil {
			return false
		}
		if n := len(configs); n == 0 || configs[n-1].Name != m[1] {
			configs = append(configs, Config{Name: m[1]})
		}
		c := &configs[len(configs)-1]
		c.Splits = add(c.Splits, m[2], f)
	}
	l.Configs = configs
	return true
}

// add puts a file into a split.
func add(splits []Split, name, file string) []Split {
	at := slices.IndexFunc(splits, func(s Split) bool { return s.Name == name })
	if at < 0 {
		return append(splits, Split{Name: name, Files: []string{file}})
	}
	splits[at].Files = append(splits[at].Files, file)
	return splits
}

// splitsOf divides files by their names: those of the format that most have, and
// of the others whole splits that those lack.
func splitsOf(files []string) []Split {
	same := oneFormat(files)
	splits := divided(same)
	if len(splits) == 1 && splits[0].Name == trainSplit {
		return splits
	}
	rest := slices.DeleteFunc(slices.Clone(files), func(f string) bool { return slices.Contains(same, f) })
	for _, s := range named(oneFormat(rest)) {
		if !slices.ContainsFunc(splits, func(have Split) bool { return have.Name == s.Name }) {
			splits = append(splits, s)
		}
	}
	return splits
}

// PassedOver lists the files that could be read and are in no split: beside those
// of most files' format, or without a split's name where others have one.
func (l *Layout) PassedOver() []string {
	in := map[string]bool{}
	for _, c := range l.Configs {
		for _, s := range c.Splits {
			for _, f := range s.Files {
				in[f] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(l.files), func(f string) bool { return in[f] })
}

// divided puts files into splits; one where their names say of none.
func divided(files []string) []Split {
	if splits := named(files); len(splits) > 0 || len(files) == 0 {
		return splits
	}
	return []Split{{Name: trainSplit, Files: files}}
}

// named puts files into the splits that their names say.
func named(files []string) []Split {
	for _, divide := range []func([]string) []Split{bySharding, byDirectory, byFileName} {
		if splits := divide(files); len(splits) > 0 {
			return splits
		}
	}
	return nil
}

// bySharding finds data/SPLIT-00000-of-00001.EXT, whatever the split is called.
func bySharding(files []string) []Split {
	shape := regexp.MustCompile(`^data/(\w+(?:\.\w+)*)-\d{5}-of-\d{5}[^/]*\.[^/]*$`)
	var splits []Split
	for _, f := range files {
		if m := shape.FindStringSubmatch(f); m != nil {
			splits = add(splits, m[1], f)
		}
	}
	return splits
}

func byDirectory(files []string) []Split {
	return byWords(files, func(f string) []string {
		if dir := path.Dir(f); dir != "." {
			return strings.Split(dir, "/")
		}
		return nil
	})
}

func byFileName(files []string) []Split {
	return byWords(files, func(f string) []string { return []string{path.Base(f)} })
}

// byWords puts files into the splits whose names are words of the parts.
func byWords(files []string, parts func(file string) []string) []Split {
	var splits []Split
	for _, s := range []struct{ name, words string }{
		{trainSplit, "train|training"},
		{"validation", "validation|valid|dev|val"},
		{"test", "test|testing|eval|evaluation"},
	} {
		word := regexp.MustCompile(`(?:^|[-._ 0-9])(?:` + s.words + `)(?:[-._ 0-9]|$)`)
		for _, f := range files {
			if slices.ContainsFunc(parts(f), word.MatchString) {
				splits = add(splits, s.name, f)
			}
		}
	}
	return splits
}

// oneFormat keeps the files of the format that most have: a data set often has
// notes beside its data.
func oneFormat(files []string) []string {
	family := func(f string) string {
		switch kind, _ := formatOf(f); {
		case kind == ".json", kind == ".jsonl", kind == ".ndjson":
			return "json"
		case isText(kind):
			return "text"
		default:
			return kind
		}
	}
	count := map[string]int{}
	best := ""
	for _, f := range files {
		k := family(f)
		count[k]++
		if best == "" || count[k] > count[best] {
			best = k
		}
	}
	return slices.DeleteFunc(slices.Clone(files), func(f string) bool { return family(f) != best })
}

// ignored files are about the data, or hidden.
func ignored(name string) bool {
	parts := strings.Split(name, "/")
	hidden := func(p string) bool { return strings.HasPrefix(p, ".") }
	special := func(p string) bool { return strings.HasPrefix(p, "__") }
	about := []string{"README.md", "config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "LICENSE.txt"}
	return slices.ContainsFunc(parts, hidden) || slices.ContainsFunc(parts[:len(parts)-1], special) || slices.Contains(about, parts[len(parts)-1])
}
