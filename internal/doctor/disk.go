package doctor

import (
	"os"
	"path/filepath"
)

// disk describes the file system of a path, or of the nearest directory above
// it that exists.
func disk(purpose, path string) Disk {
	d := Disk{Purpose: purpose, Path: path}
	here, err := filepath.Abs(path)
	if err != nil {
		return d
	}
	for {
		if _, err := os.Stat(here); err == nil || here == filepath.Dir(here) {
			break
		}
		here = filepath.Dir(here)
	}
	d.Free, d.Total = diskSpace(here)
	return d
}
