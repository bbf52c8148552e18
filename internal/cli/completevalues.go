package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/stage"
)

// completeValues offers the values of flags that have a list of them, whichever
// command they stand at.
func completeValues(root *cobra.Command) {
	for _, c := range root.Commands() {
		for name, values := range flagValues(c.Name()) {
			if c.Flags().Lookup(name) != nil {
				_ = c.RegisterFlagCompletionFunc(name, valuesOf(values, slices.Contains([]string{"metric", "tasks", "show", "targets"}, name)))
			}
		}
		for _, name := range []string{"adapter", "data-dir", "task-dir", "dir", "lora-init", "init-from"} {
			if c.Flags().Lookup(name) != nil {
				_ = c.MarkFlagDirname(name)
			}
		}
	}
}

// flagValues are the values of a command's flags, looked up when they are wanted.
func flagValues(command string) map[string]func() []string {
	these := func(values ...string) func() []string { return func() []string { return values } }
	v := map[string]func() []string{
		"metric": func() []string { return append(stage.MetricNames(), "all") }, "by": stage.MetricNames, "order": stage.MetricNames,
		"dtype": these("auto", "bfloat16", "float32"), "device": stage.Devices, "add-bos": these("auto", "true", "false"),
		"tasks": stage.TaskNames, "show": stage.TaskNames, "shape": stage.BenchShapes, "what": stage.BenchWhats,
		"chat-template": stage.ChatTemplates, "cka-rows": these("token", "sequence"), "save-dtype": these("original", "float32"),
		"method": these("partial", "lora", "full"), "schedule": these("linear", "cosine", "constant"), "moments": these("float32", "bfloat16"),
		"compute": these("needed", "all"), "train-on": these("assistant", "last", "all"), "targets": these("q", "k", "v", "o", "gate", "up", "down", "all"),
	}
	switch command {
	case "heal":
		v["keep"] = these("best", "last")
	case "compare":
		v["metric"] = these("acc", "acc_norm", "exact_match", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")
	}
	return v
}

// valuesOf completes one of the values, or with list the last of several that
// commas separate.
func valuesOf(values func() []string, list bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := ""
		if at := strings.LastIndexByte(typed, ','); list && at >= 0 {
			before = typed[:at+1]
		}
		var out []string
		for _, v := range values() {
			if strings.HasPrefix(v, typed[len(before):]) {
				out = append(out, before+v)
			}
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		if len(out) == 0 { // a file of the user's
			directive = cobra.ShellCompDirectiveDefault
		}
		return out, directive
	}
}
