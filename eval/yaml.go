package eval

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/coppice-ml/coppice/internal/strictyaml"
)

// file reads task files of one directory.
type files struct {
	fs   fs.FS
	name string // of the directory, for errors; empty for those that come with Coppice
}

func (d files) path(name string) string {
	if d.name == "" {
		return "built-in " + name
	}
	return path.Join(d.name, name)
}

// documents returns the YAML documents of a file, what they include put in.
func (d files) documents(name string) ([]*yaml.Node, error) {
	return d.include(name, nil)
}

// maxIncludes ends a chain of files that include each other.
const maxIncludes = 16

func (d files) include(name string, chain []string) ([]*yaml.Node, error) {
	if len(chain) > maxIncludes {
		return nil, &TaskError{File: d.path(chain[0]), What: "includes itself: " + strings.Join(chain, " > ")}
	}
	raw, err := fs.ReadFile(d.fs, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.path(name), err)
	}
	var out []*yaml.Node
	for dec := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var doc yaml.Node
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, &TaskError{File: d.path(name), What: strings.TrimPrefix(err.Error(), "yaml: ")}
		}
		if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
			continue
		}
		n := doc.Content[0]
		if n.Kind != yaml.MappingNode {
			return nil, &TaskError{File: d.path(name), What: fmt.Sprintf("line %d: want keys and values", n.Line)}
		}
		if n, err = d.merge(n, name, chain); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
}

// merge puts the keys of included files under those of n: its own win, then
// those of files named first.
func (d files) merge(n *yaml.Node, name string, chain []string) (*yaml.Node, error) {
	var list stringList
	if at := find(n, "include"); at >= 0 {
		if err := n.Content[at+1].Decode(&list); err != nil {
			return nil, &TaskError{File: d.path(name), What: "include: " + err.Error()}
		}
		n.Content = slices.Delete(n.Content, at, at+2)
	}
	for _, inner := range list {
		inner = path.Join(path.Dir(name), inner)
		docs, err := d.include(inner, append(chain, name))
		if err != nil {
			return nil, fmt.Errorf("%s includes: %w", d.path(name), err)
		}
		if len(docs) != 1 {
			return nil, &TaskError{File: d.path(name), What: fmt.Sprintf("includes %s, which holds %d documents, not one", inner, len(docs))}
		}
		for i := 0; i < len(docs[0].Content); i += 2 {
			if key := docs[0].Content[i]; find(n, key.Value) < 0 {
				n.Content = append(n.Content, key, docs[0].Content[i+1])
			}
		}
	}
	return n, nil
}

func find(n *yaml.Node, key string) int {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// strict decodes a mapping and refuses keys that the type does not have.
func strict(n *yaml.Node, into any) error {
	return strictyaml.Decode(n, into, strictyaml.Rules{
		Refused: map[string]string{ // the schema's, which need what is not here
			"class":        "Python classes do not run here; write the task as YAML",
			"use_prompt":   "promptsource is Python; write the prompt as doc_to_text",
			"doc_to_image": "models here read text only",
		},
		Own: func(t reflect.Type) bool { return t == reflect.TypeFor[Field]() },
	})
}
