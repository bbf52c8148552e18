//go:build linux || darwin

package generate

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Nobody writes to the pipe: reading it would wait for ever.
func TestStopTokensOfAPipe(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "generation_config.json"), 0o600); err != nil {
		t.Skipf("no pipes here: %v", err)
	}
	if _, err := StopTokens(dir, nil); err == nil || !strings.Contains(err.Error(), "it is a named pipe") {
		t.Errorf("a pipe: %v", err)
	}
}
