package report

import (
	"slices"
	"strings"
	"testing"
)

func TestOutline(t *testing.T) {
	names := strings.Fields("mean mmlu stem piqa alone physics algebra law")
	members := map[string][]string{"mean": {"piqa", "mmlu"}, "mmlu": {"stem", "law"}, "stem": {"physics", "algebra"}}
	for _, c := range []struct {
		all  bool
		want string
	}{{false, "alone piqa mmlu mean"}, {true, "alone piqa physics algebra stem law mmlu mean"}} {
		if got := strings.Join(Outline(names, members, c.all), " "); got != c.want {
			t.Errorf("all %t: %s, want %s", c.all, got, c.want)
		}
	}
	if got := Outline([]string{"b", "a"}, nil, false); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("no groups: %v", got)
	}
	// A group in itself is listed once, and ends.
	if got := Outline([]string{"top", "a"}, map[string][]string{"top": {"a"}, "a": {"a"}}, true); !slices.Equal(got, []string{"a", "top"}) {
		t.Errorf("a loop: %v", got)
	}
}
