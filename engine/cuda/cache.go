//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"os"
	"path/filepath"
)

// writeWhole writes a file that appears complete or not at all. A cache that cannot
// be written is none.
func writeWhole(file string, data []byte) {
	if os.MkdirAll(filepath.Dir(file), 0o777) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".cuda-*")
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if closed := f.Close(); err != nil || closed != nil || os.Rename(f.Name(), file) != nil {
		_ = os.Remove(f.Name())
	}
}
