package run

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/coppice-ml/coppice/stage"
)

// exclusive lists, for a place in a recipe, keys that replace each other: of the keys
// of a group one that is given by what is merged in takes the others away.
func exclusive(place string) [][]string {
	switch place {
	case "prune":
		return [][]string{{"ratio", "count", "params", "iterative", "drop", "keep", "plan"}, {"by", "drop", "keep", "plan"}}
	case "heal":
		return [][]string{{"epochs", "steps"}}
	case "heal.data":
		return [][]string{{"from", "train_tokens"}, {"answers", "train_tokens"}, {"validation", "validation_data"}}
	}
	return nil
}

// merged is a mapping with another one merged over it: maps merge, everything else
// replaces, keys that exclude each other too. Neither argument is changed.
func merged(base, over *yaml.Node, place string) *yaml.Node {
	if base == nil || base.Kind != yaml.MappingNode || over.Kind != yaml.MappingNode {
		return clone(over)
	}
	out := clone(base)
	for _, group := range exclusive(place) {
		if slices.ContainsFunc(group, func(k string) bool { return value(over, k) != nil }) {
			for _, k := range group {
				remove(out, k)
			}
		}
	}
	if place == "heal" {
		leaveMethod(out, over)
	}
	for i := 0; i < len(over.Content); i += 2 {
		key, v := over.Content[i], over.Content[i+1]
		below := strings.TrimPrefix(place+"."+key.Value, ".")
		set(out, key, merged(value(out, key.Value), v, below))
	}
	return out
}

// leaveMethod takes away what only the former method uses, where another is given.
func leaveMethod(out, over *yaml.Node) {
	m := value(over, "method")
	if m == nil {
		return
	}
	h := stage.Heal{Training: stage.DefaultTraining()}
	h.Method = m.Value
	for _, u := range h.Unused() {
		remove(out, u.Field)
	}
}

// value is that of a key of a mapping; nil where there is none.
func value(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// set gives a key of a mapping a value.
func set(n, key, v *yaml.Node) {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key.Value {
			n.Content[i], n.Content[i+1] = clone(key), v
			return
		}
	}
	n.Content = append(n.Content, clone(key), v)
}

// remove takes a key out of a mapping.
func remove(n *yaml.Node, key string) {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		}
	}
}

// clone is a deep copy.
func clone(n *yaml.Node) *yaml.Node {
	out := *n
	out.Content = make([]*yaml.Node, len(n.Content))
	for i, c := range n.Content {
		out.Content[i] = clone(c)
	}
	return &out
}

// isNone says that a stage is removed.
func isNone(n *yaml.Node) bool { return n != nil && n.Kind == yaml.ScalarNode && n.Value == None }

// withoutNone leaves out the stages that are removed, and what else none removes, for
// decoding.
func withoutNone(n *yaml.Node) *yaml.Node {
	out := clone(n)
	for place, keys := range map[string][]string{"": stageKeys(), "measure": {"speed", "sizes", "similarity"}, "heal.data": {"answers"}} {
		in := out
		for _, k := range strings.FieldsFunc(place, func(r rune) bool { return r == '.' }) {
			in = value(in, k)
		}
		for _, k := range keys {
			if isNone(value(in, k)) {
				remove(in, k)
			}
		}
	}
	return out
}

// nested is a mapping with a value at a path such as heal.lr. nil: a stage on the
// way is removed, and there is nothing to set.
func nested(root *yaml.Node, path string, v *yaml.Node) *yaml.Node {
	keys := strings.Split(path, ".")
	if isNone(value(root, keys[0])) && len(keys) > 1 {
		return nil
	}
	out := v
	for _, k := range slices.Backward(keys) {
		out = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: v.Line, Column: v.Column, Content: []*yaml.Node{
			{Kind: yaml.ScalarNode, Tag: "!!str", Value: k, Line: v.Line, Column: v.Column}, out,
		}}
	}
	return out
}
