// Package strictyaml decodes YAML into structs and refuses keys that they do not
// have, naming the nearest one that they do.
//
// What the keys mean, and where the YAML comes from, is the callers' business.
package strictyaml

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/coppice-ml/coppice/internal/nearest"
)

// Rules are exceptions.
type Rules struct {
	Refused map[string]string       // keys that somebody may expect, and why there are none such
	Own     func(reflect.Type) bool // types that look at their keys themselves; may be nil
	Columns bool                    // say in which column an unknown key stands, too
}

// Decode decodes a mapping into a struct. What has no key stays as it is.
func Decode(n *yaml.Node, into any, r Rules) error {
	if err := r.check(n, reflect.TypeOf(into).Elem(), ""); err != nil {
		return err
	}
	if err := n.Decode(into); err != nil {
		return plain(err)
	}
	return nil
}

// plain is an error of the YAML package without its name and the names of Go's types.
func plain(err error) error {
	var wrong *yaml.TypeError
	if !errors.As(err, &wrong) {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	kind := regexp.MustCompile("cannot unmarshal !!([a-z]+)(?: (`.*`))? into (.+)$")
	var out []string
	for _, line := range wrong.Errors {
		if m := kind.FindStringSubmatch(line); m != nil {
			found := cmp.Or(m[2], map[string]string{"seq": "a list", "map": "a mapping"}[m[1]], m[1])
			line = strings.TrimSuffix(line, m[0]) + found + ": want " + expected(m[3])
		}
		out = append(out, line)
	}
	return errors.New(strings.Join(out, "; "))
}

// expected says in words of YAML what a type of Go reads.
func expected(of string) string {
	switch of = strings.TrimLeft(of, "*"); {
	case strings.HasPrefix(of, "[]"):
		return "a list"
	case strings.HasPrefix(of, "float"):
		return "a number"
	case strings.HasPrefix(of, "int"), strings.HasPrefix(of, "uint"):
		return "a whole number"
	case of == "bool":
		return "true or false"
	case of == "string":
		return "a text"
	}
	return "keys with values"
}

// check looks at the keys of a node and of those in it.
func (r Rules) check(n *yaml.Node, t reflect.Type, place string) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Map && n.Kind == yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			if err := r.check(n.Content[i+1], t.Elem(), place+n.Content[i].Value+"."); err != nil {
				return err
			}
		}
		return nil
	case t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode && t.Elem().Kind() == reflect.Struct:
		for i, item := range n.Content {
			if err := r.check(item, t.Elem(), fmt.Sprintf("%s[%d].", strings.TrimSuffix(place, "."), i)); err != nil {
				return err
			}
		}
		return nil
	case t.Kind() != reflect.Struct || n.Kind != yaml.MappingNode || r.Own != nil && r.Own(t):
		return nil
	}
	k := keys{known: map[string]reflect.Type{}}
	if err := k.add(t); err != nil {
		return err
	}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		field, ok := k.known[key.Value]
		if !ok && !k.open {
			return r.unknown(key, place, k.known)
		}
		if ok {
			if err := r.check(n.Content[i+1], field, place+key.Value+"."); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r Rules) unknown(key *yaml.Node, place string, known map[string]reflect.Type) error {
	line := fmt.Sprintf("line %d", key.Line)
	if r.Columns {
		line += fmt.Sprintf(", column %d", key.Column)
	}
	if why, ok := r.Refused[key.Value]; ok {
		return fmt.Errorf("%s: %s%s: %s", line, place, key.Value, why)
	}
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	if near := nearest.Near(key.Value, names); len(near) > 0 {
		return fmt.Errorf("%s: unknown key %s%s; did you mean %s?", line, place, key.Value, near[0])
	}
	return fmt.Errorf("%s: unknown key %s%s; known are %s", line, place, key.Value, strings.Join(names, ", "))
}

// keys are a struct's keys; open says that others may stand beside them.
type keys struct {
	known map[string]reflect.Type
	open  bool
}

// add takes in the keys of a struct, those of the structs in it that are inline
// too. One that stands twice is a mistake of the program.
func (k *keys) add(t reflect.Type) error {
	for i := range t.NumField() {
		f := t.Field(i)
		name, opt, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case opt == "inline" && f.Type.Kind() == reflect.Struct:
			if err := k.add(f.Type); err != nil {
				return err
			}
		case opt == "inline":
			k.open = true
		case name != "" && name != "-":
			if k.known[name] != nil {
				return fmt.Errorf("%v has two keys %s", t, name)
			}
			k.known[name] = f.Type
		}
	}
	return nil
}
