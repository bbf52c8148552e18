package data

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// declaredConfig is an entry of configs in a card's front matter.
type declaredConfig struct {
	Name    string    `yaml:"config_name"`
	Files   dataFiles `yaml:"data_files"`
	Dir     string    `yaml:"data_dir"`
	Default bool      `yaml:"default"`
}

// dataFiles are patterns by split; their split is train where none is named.
type dataFiles []struct {
	split    string
	patterns []string
}

// UnmarshalYAML reads what the hub allows: a pattern, a list of patterns, a map
// from splits to one or the other, or a list of {split, path}.
func (d *dataFiles) UnmarshalYAML(n *yaml.Node) error {
	add := func(split string, value *yaml.Node) error {
		var one string
		var many []string
		if value.Decode(&one) == nil {
			many = []string{one}
		} else if err := value.Decode(&many); err != nil {
			return fmt.Errorf("line %d: want a pattern or a list of patterns", value.Line)
		}
		*d = append(*d, struct {
			split    string
			patterns []string
		}{split, many})
		return nil
	}
	switch {
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if err := add(n.Content[i].Value, n.Content[i+1]); err != nil {
				return err
			}
		}
		return nil
	case n.Kind == yaml.SequenceNode && len(n.Content) > 0 && n.Content[0].Kind == yaml.MappingNode:
		for _, item := range n.Content {
			var entry struct {
				Split string
				Path  yaml.Node
			}
			if err := item.Decode(&entry); err != nil || entry.Split == "" || entry.Path.IsZero() {
				return fmt.Errorf("line %d: want split and path", item.Line)
			}
			if err := add(entry.Split, &entry.Path); err != nil {
				return err
			}
		}
		return nil
	}
	return add(trainSplit, n)
}

// cardConfigs reads the configs of a card; none where it lists none.
func cardConfigs(name string, card []byte) ([]declaredConfig, error) {
	matter, ok := frontMatter(card)
	if !ok {
		return nil, nil
	}
	var head struct {
		Configs []declaredConfig `yaml:"configs"`
	}
	if err := yaml.Unmarshal(matter, &head); err != nil {
		return nil, &Error{Path: path.Join(name, "README.md"), What: "its head: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	for i := range head.Configs {
		if head.Configs[i].Name == "" {
			head.Configs[i].Name = unnamed
		}
	}
	return head.Configs, nil
}

// frontMatter is the YAML between two lines of dashes at the start.
func frontMatter(card []byte) ([]byte, bool) {
	card = bytes.ReplaceAll(bytes.TrimPrefix(card, []byte("\ufeff")), []byte("\r\n"), []byte("\n"))
	rest, ok := bytes.CutPrefix(card, []byte("---\n"))
	if !ok {
		return nil, false
	}
	matter, _, ok := bytes.Cut(append([]byte("\n"), rest...), []byte("\n---"))
	return matter, ok
}

// declare makes configs of what a card declares.
func (l *Layout) declare(declared []declaredConfig) error {
	for _, d := range declared {
		c := Config{Name: d.Name, Default: d.Default}
		dir := path.Clean(d.Dir)
		switch {
		case len(d.Files) == 0 && dir == ".":
			c.Splits = splitsOf(l.files)
		case len(d.Files) == 0:
			c.Splits = splitsOf(l.below(dir))
		}
		for _, files := range d.Files {
			for _, pattern := range files.patterns {
				found, err := l.match(path.Join(dir, pattern))
				if err != nil {
					return err
				}
				for _, f := range found {
					c.Splits = add(c.Splits, files.split, f)
				}
			}
		}
		l.Configs = append(l.Configs, c)
	}
	return nil
}

// match finds the files of a pattern in which ** stands for any directories.
func (l *Layout) match(pattern string) ([]string, error) {
	if strings.Contains(pattern, ":/") {
		return nil, l.fail(fmt.Sprintf("README.md: %s lies elsewhere", pattern), "fetch the file and name it")
	}
	shape, err := globShape(pattern)
	if err != nil {
		return nil, l.fail(fmt.Sprintf("README.md: %q is not a pattern: %v", pattern, err), "")
	}
	return slices.DeleteFunc(slices.Clone(l.files), func(f string) bool { return !shape.MatchString(f) }), nil
}

func globShape(pattern string) (*regexp.Regexp, error) {
	var b strings.Builder
	for rest := pattern; rest != ""; {
		token := regexp.MustCompile(`^(\*\*/|\*\*|\*|\?|\[!?[^]]+\]|.)`).FindString(rest)
		rest = rest[max(len(token), 1):]
		switch {
		case token == "**/":
			b.WriteString(`(?:.*/)?`)
		case token == "**":
			b.WriteString(`.*`)
		case token == "*":
			b.WriteString(`[^/]*`)
		case token == "?":
			b.WriteString(`[^/]`)
		case len(token) > 2 && token[0] == '[':
			b.WriteString(strings.Replace(token, "[!", "[^", 1))
		default:
			b.WriteString(regexp.QuoteMeta(token))
		}
	}
	return regexp.Compile(`(?s)^` + b.String() + `$`)
}
