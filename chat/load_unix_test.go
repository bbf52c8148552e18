//go:build linux || darwin

package chat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Nobody writes to the pipes in the checkpoint: reading them would wait for ever.
func TestPipes(t *testing.T) {
	for _, name := range []string{configName, mapName, templateName, oldName} {
		dir := t.TempDir()
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Skipf("no pipes here: %v", err)
		}
		if _, err := Load(dir, Choice{}); err == nil || !strings.Contains(err.Error(), name+": it is a named pipe") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A template that is named may come through a pipe, as a shell's <(…) gives it.
func TestNamedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "template")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Skipf("no pipes here: %v", err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(path, []byte("{{ messages[0].content }}!"), 0o600) }()
	tmpl, err := Load(t.TempDir(), Choice{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if text, err := tmpl.Render(turns("user", "hi"), Options{}); err != nil || text != "hi!" {
		t.Errorf("%q, %v", text, err)
	}
}
