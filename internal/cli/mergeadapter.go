package cli

import (
	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/stage"
)

func newMergeAdapter(a *app) *cobra.Command {
	var o stage.MergeAdapter
	c := &cobra.Command{
		Use:   "merge-adapter MODEL --adapter DIR --out DIR",
		Short: "Fold a PEFT adapter into the weights it belongs to",
		Long: `Write a checkpoint whose linear maps have a LoRA adapter added to them. The adapter
is one in PEFT's files, of this model: another base, rank or number of layers is
refused with the first tensor that disagrees. All other tensors keep their bytes.`,
		Example: `  coppice merge-adapter smaller --adapter adapter --out merged
  coppice merge-adapter smaller --adapter adapter --out merged --save-dtype float32`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.Model = args[0]
			written, err := o.Run(c.Context(), a.env())
			if err != nil {
				return err
			}
			return a.wrote(written)
		},
	}
	a.workFlags(c)
	c.Flags().StringVar(&o.Adapter, "adapter", "", "directory of the adapter")
	c.Flags().StringVar(&o.Out, "out", "", "directory to write")
	c.Flags().StringVar(&o.SaveDType, "save-dtype", "original", "of the written weights: original or float32")
	c.Flags().BoolVar(&o.Force, "force", false, "replace an output that exists")
	nonEmpty(c, "adapter", "out", "save-dtype")
	return c
}
