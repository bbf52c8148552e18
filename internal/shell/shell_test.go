package shell

import (
	"os/exec"
	"testing"
)

// TestCommand: words that need no quotes have none, and a shell reads all of them back.
func TestCommand(t *testing.T) {
	for word, want := range map[string]string{
		"runs/a-b_c.d": "runs/a-b_c.d", "org/name@main": "org/name@main", "--set=a:1,2": "--set=a:1,2",
		"": "''", "a b": "'a b'", "it's": `'it'\''s'`, "größe": "'größe'", "~": "'~'", "$HOME;`id`": "'$HOME;`id`'", "a\nb": "'a\nb'", `"`: `'"'`,
	} {
		if got := Quote(word); got != want {
			t.Errorf("Quote(%q) = %s, want %s", word, got, want)
		}
		sh, err := exec.LookPath("sh")
		if err != nil {
			continue // no POSIX shell here
		}
		if got, err := exec.Command(sh, "-c", Command([]string{"printf", "%s", word})).Output(); err != nil || string(got) != word {
			t.Errorf("sh reads %q back as %q, %v", word, got, err)
		}
	}
}
