package sapling

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/coppice-ml/coppice/internal/wholefile"
)

// What Make writes, below its directory.
const (
	ModelDir     = "model"
	TaskDir      = "tasks" // YAML files, for eval --task-dir
	DataDir      = "data"  // a directory for each task, for eval --data-dir
	Instructions = "instructions.json"
	Calibration  = "calibration.txt"
	Validation   = "validation.txt"
)

// Group is the name of all tasks together.
const Group = "sapling"

// Tasks are the names of the tasks, in the order of results.
func Tasks() []string {
	return []string{
		"sapling_piqa", "sapling_hellaswag", "sapling_winogrande", "sapling_arc_easy", "sapling_arc_challenge", "sapling_openbookqa", "sapling_mmlu",
	}
}

//go:embed files
var embedded embed.FS

// Files are Sapling's, as Make writes them.
func Files() fs.FS {
	files, err := fs.Sub(embedded, "files")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// Make writes Sapling to dir, which is created if need be. It always writes the
// same bytes; files of these names that are there are replaced, each at once. The
// weights come last: by them an unfinished copy is known.
func Make(dir string) error {
	var names []string
	err := fs.WalkDir(Files(), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(names, func(a, b string) int { return weights(a) - weights(b) })
	for _, name := range names {
		data, err := fs.ReadFile(Files(), name)
		if err == nil {
			err = wholefile.Write(filepath.Join(dir, filepath.FromSlash(name)), func(f *os.File) error { _, err := f.Write(data); return err })
		}
		if err != nil {
			return fmt.Errorf("write Sapling to %s: %w", dir, err)
		}
	}
	return nil
}

// weights is 1 for the file of weights, 0 for others.
func weights(name string) int {
	if path.Ext(name) == ".safetensors" {
		return 1
	}
	return 0
}
