package cli

import "github.com/spf13/cobra"

// newDemo is the run of the recipe sapling under a name of its own.
func newDemo(a *app) *cobra.Command {
	o := runOptions{recipe: "sapling", parallel: 1}
	c := &cobra.Command{
		Use:   "demo [--out DIR]",
		Short: "Prune and heal the small model that ships with it",
		Long: `Do what coppice run does with a model of yours, on the small trained one inside the
program: drop the last quarter of its layers, train what is left, and measure it
whole, cut and healed. It is coppice run --recipe sapling: nothing is downloaded, it
takes a minute, and a second one finds everything done.`,
		Example: `  coppice demo
  coppice demo --out ./demo`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context(), a, nil) },
	}
	a.workFlags(c)
	c.Flags().StringVar(&o.out, "out", "", "the run directory (default runs/sapling)")
	nonEmpty(c, "out")
	return c
}
