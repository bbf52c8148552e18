package cli

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/internal/sapling"
)

func newSapling(a *app) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "sapling DIR",
		Short: "Write Sapling, a small trained model, with its tasks and data",
		Long: `Write Sapling to DIR: a Llama of 12 layers and 2.3 million parameters that was trained
for this program, with seven tasks in the shapes of well-known benchmarks, instructions
to heal it with and texts to score it on. Nothing is downloaded, and everything takes
seconds: see what pruning costs and what healing brings back.

  coppice eval s/model --tasks sapling --task-dir s/tasks --data-dir s/data
  coppice eval s/model --drop 9-11 --tasks sapling --task-dir s/tasks \
    --data-dir s/data
  coppice heal s/model --drop 9-11 --out healed --data s/instructions.json \
    --max-length 128 --lr 1e-3`,
		Example: `  coppice sapling s
  coppice sapling ~/sapling --quiet`,
		Args: oneArg("a directory to write"),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := args[0]
			if name := changed(dir); name != "" && !force {
				return failed("%s is there and is not Sapling's", filepath.Join(dir, name)).withHint("name another directory, or replace it with --force")
			}
			if err := sapling.Make(dir); err != nil {
				return err
			}
			a.note("wrote %s: model, tasks, data, %s, %s, %s", filepath.Clean(dir), sapling.Instructions, sapling.Calibration, sapling.Validation)
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "replace files of the same names that hold something else")
	a.outputFlags(c)
	return c
}

// changed is one of Sapling's files that a directory holds with something else in
// it; "" where there is none. Files come whole, so that none is half of Sapling's.
func changed(dir string) (name string) {
	_ = fs.WalkDir(sapling.Files(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		there, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path)))
		if err != nil {
			return nil
		}
		if ours, err := fs.ReadFile(sapling.Files(), path); err != nil || !bytes.Equal(there, ours) {
			name = path
			return fs.SkipAll
		}
		return nil
	})
	return name
}
