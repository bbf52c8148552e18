package cli

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/internal/sapling"
)

func newSapling(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "sapling DIR",
		Short: "Write Sapling, a small trained model, with its tasks and data",
		Long: `Write Sapling to DIR: a Llama of 12 layers and 2.3 million parameters that was trained
for this program, with seven tasks in the shapes of well-known benchmarks, instructions
to heal it with and texts to score it on. Nothing is downloaded, and everything takes
seconds: see what pruning costs and what healing brings back.

  coppice eval s/model --tasks sapling --task-dir s/tasks --data-dir s/data
  coppice eval s/model --drop 9-11 --tasks sapling --task-dir s/tasks --data-dir s/data
  coppice heal s/model --drop 9-11 --out healed --data s/instructions.json \
    --max-length 128 --lr 1e-3`,
		Example: `  coppice sapling s
  coppice sapling ~/sapling --quiet`,
		Args: oneArg("a directory to write"),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := args[0]
			if err := sapling.Make(dir); err != nil {
				return err
			}
			a.note("wrote %s: model, tasks, data, %s, %s, %s", filepath.Clean(dir), sapling.Instructions, sapling.Calibration, sapling.Validation)
			return nil
		},
	}
	a.outputFlags(c)
	return c
}
