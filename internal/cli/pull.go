package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newPull(a *app) *cobra.Command {
	var o stage.Pull
	var dryRun bool
	c := &cobra.Command{
		Use:   "pull ID",
		Short: "Download a model or dataset from the Hugging Face hub into its cache",
		Long: `Download a model, or with --dataset a dataset, from the Hugging Face hub, and
print the directory it lies in. ID is org/name[@revision].

The files go into the hub's own cache (HF_HUB_CACHE, HF_HOME), which transformers
and others use too. Of a model, what is needed to run it comes along: config,
tokenizer, licence, code and the weights in one form, safetensors if there are
any. --include PATTERN names other files instead, --exclude PATTERN leaves some
out; * and ? in a pattern also match slashes.

Every file is checked against its hash. An interrupted pull goes on where it
stopped when the same command is run again (exit code 3).
HF_TOKEN or the hub's token file give access to what is not public; HF_ENDPOINT
names another hub; with HF_HUB_OFFLINE=1 only the cache is used.

Commands that take MODEL pull by themselves.`,
		Example: `  coppice pull Qwen/Qwen2.5-0.5B
  coppice pull Qwen/Qwen2.5-0.5B@main --dry-run
  coppice pull --dataset Salesforce/wikitext --include 'wikitext-2-raw-v1/*'`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("%s: want one ID, org/name", c.Name()).withHint("%s", useLine(c))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.ID = args[0]
			if dryRun {
				return listPull(c.Context(), a, o)
			}
			got, err := o.Run(c.Context(), a.env())
			if err != nil {
				return err
			}
			if a.json {
				return a.line(got)
			}
			return a.printf("%s\n", got.Path)
		},
	}
	a.workFlags(c)
	f := c.Flags()
	f.StringVar(&o.Revision, "revision", "", "branch, tag or commit (default main)")
	f.BoolVar(&o.Dataset, "dataset", false, "ID is a dataset")
	f.StringArrayVar(&o.Include, "include", nil, "files to download instead of those a model needs, such as '*.json'; may be repeated")
	f.StringArrayVar(&o.Exclude, "exclude", nil, "files to leave out; may be repeated")
	f.BoolVar(&dryRun, "dry-run", false, "list the files and their sizes, and download nothing")
	nonEmpty(c, "revision")
	return c
}

// listPull prints what would be downloaded.
func listPull(ctx context.Context, a *app, o stage.Pull) error {
	files, err := o.List(ctx, a.env())
	if err != nil {
		return err
	}
	return printFiles(a, files)
}

// printFiles prints names and sizes.
func printFiles(a *app, files []report.File) error {
	t := &report.Table{Header: []string{"file", "bytes"}}
	for _, f := range files {
		if !a.json {
			t.Add(report.String(f.Name), report.Bytes(f.Bytes))
		} else if err := a.line(f); err != nil {
			return err
		}
	}
	if a.json {
		return nil
	}
	return a.table(t)
}
