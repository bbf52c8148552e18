package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/internal/nearest"
)

func newCompletion(*app) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a completion script for a shell: " + strings.Join(shells, ", "),
		Example: `  coppice completion bash > /etc/bash_completion.d/coppice
  coppice completion zsh > "${fpath[1]}/_coppice"
  coppice completion fish > ~/.config/fish/completions/coppice.fish`,
		ValidArgs: shells,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("completion: which shell? want one of %s", strings.Join(shells, ", ")).withHint("%s", useLine(c))
			}
			root, out := c.Root(), c.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return usage("unknown shell %q: want one of %s", args[0], strings.Join(shells, ", ")).withHint("%s", nearest.DidYouMean(args[0], shells))
		},
	}
}
