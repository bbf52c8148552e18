package cli

import (
	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newInit(a *app) *cobra.Command {
	o := stage.DefaultInit()
	c := &cobra.Command{
		Use:   "init CONFIG --out DIR",
		Short: "Write a model of random weights to train from nothing",
		Long: `Write a checkpoint with random weights for CONFIG, a config.json or a directory that
holds one: normal with the config's initializer_range (0.02 if it has none), norms
that do nothing yet, biases 0, as transformers begins. A tokenizer beside the config
comes along. The same seed writes the same bytes; "coppice heal --method full"
trains it.`,
		Example: `  coppice init ./config.json --out start
  coppice init ./small --out start --seed 7`,
		Args: oneArg("a config.json or a directory that holds one"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Config = args[0]
			written, err := o.Run(c.Context(), a.env())
			if err != nil {
				return err
			}
			if a.json {
				return a.line(written)
			}
			a.note("wrote %s (%s)", written.Path, report.FormatBytes(written.Bytes))
			return nil
		},
	}
	a.workFlags(c)
	f := c.Flags()
	f.StringVar(&o.Out, "out", "", "directory to write, which must not exist")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "of the weights")
	f.Float64Var(&o.Range, "range", 0, "standard deviation of the weights (default: the config's initializer_range, or 0.02)")
	nonEmpty(c, "out")
	return c
}
