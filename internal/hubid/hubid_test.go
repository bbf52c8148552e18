package hubid

import "testing"

func TestIs(t *testing.T) {
	for id, want := range map[string]bool{
		"org/name": true, "o/n-1.5_x": true, "Org_1/a": true,
		"name": false, "a/b/c": false, "./name": false, "../name": false, "org/": false, "org/.name": false, "org/name.": false,
		"org/a--b": false, "org/a..b": false, "org/a.git": false, "org/name@main": false, "org/a b": false, "": false,
	} {
		if got := Is(id); got != want {
			t.Errorf("Is(%q) = %v", id, got)
		}
	}
}
