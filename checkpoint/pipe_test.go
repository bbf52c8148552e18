//go:build linux || darwin

package checkpoint_test

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coppice-ml/coppice/checkpoint"
)

// Whatever file is a pipe, opening does not wait for its writer.
func TestPipes(t *testing.T) {
	for _, name := range []string{"config.json", "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "model-00001-of-00001.safetensors"} {
		files := map[string]string{"config.json": "{}"}
		if strings.HasPrefix(name, "model-") {
			files["model.safetensors.index.json"] = indexOf(t, map[string]string{"a": name})
		}
		delete(files, name)
		dir := makeDir(t, files)
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Skipf("no pipes here: %v", err)
		}
		_, err := checkpoint.Open(dir)
		if err == nil || !strings.Contains(err.Error(), name+": cannot be read: it is a named pipe") {
			t.Errorf("%s: %v", name, err)
		}
		checkpoint.Check(t.Context(), dir, true, nil)
	}
}
