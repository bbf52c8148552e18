package strictyaml

import (
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type inner struct {
	Depth int `yaml:"depth"`
}

type shared struct {
	Seed int `yaml:"seed"`
}

type outer struct {
	shared `yaml:"-"`
	Name   string  `yaml:"name"`
	Size   int     `yaml:"size"`
	Items  []inner `yaml:"items"`
	Shared shared  `yaml:",inline"`
	Free   free    `yaml:"free"`
}

type free struct {
	Other map[string]any `yaml:",inline"`
}

type twice struct {
	Seed   int    `yaml:"seed"`
	Shared shared `yaml:",inline"`
}

func TestDecode(t *testing.T) {
	for _, c := range []struct{ text, err string }{
		{"name: a\nseed: 3\nitems: [{depth: 1}]\nfree: {anything: 1}", ""},
		{"name: a\nsized: 3", "line 2: unknown key sized; did you mean size?"},
		{"items:\n- {depth: 1}\n- {dept: 1}", "line 3: unknown key items[1].dept; did you mean depth?"},
		{"old: 1", "line 1: old: it went"},
		{"size: many", "line 1: `many`: want a whole number"}, {"items: 3", "line 1: `3`: want a list"}, {"name: [a]", "line 1: a list: want a text"}, {"shared: 1\nsize: {a: 1}", "unknown key shared"},
	} {
		var n yaml.Node
		if err := yaml.Unmarshal([]byte(c.text), &n); err != nil {
			t.Fatal(err)
		}
		o := outer{Size: 7}
		err := Decode(n.Content[0], &o, Rules{Refused: map[string]string{"old": "it went"}})
		if c.err == "" && (err != nil || o.Name != "a" || o.Shared.Seed != 3 || o.Size != 7 || o.Items[0].Depth != 1) {
			t.Errorf("%s: %+v, %v", c.text, o, err)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v, want %q", c.text, err, c.err)
		}
	}
	var n yaml.Node
	if err := yaml.Unmarshal([]byte("seed: 1"), &n); err != nil {
		t.Fatal(err)
	}
	if err := Decode(n.Content[0], &twice{}, Rules{}); err == nil || !strings.Contains(err.Error(), "two keys seed") {
		t.Errorf("%v", err)
	}
	own := Rules{Own: func(t reflect.Type) bool { return t == reflect.TypeFor[shared]() }}
	if err := yaml.Unmarshal([]byte("other: 1"), &n); err != nil {
		t.Fatal(err)
	}
	if err := Decode(n.Content[0], &shared{}, own); err != nil {
		t.Error(err)
	}
}
