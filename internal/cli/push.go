package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newPush(a *app) *cobra.Command {
	var o stage.Push
	var dryRun bool
	c := &cobra.Command{
		Use:   "push DIR ID",
		Short: "Publish a checkpoint on the Hugging Face hub",
		Long: `Publish a checkpoint directory on the Hugging Face hub as ID, me/name. The
repository is made if there is none, private unless --public is given.

Everything in DIR goes up but hidden files. Large files go first, then all become
one commit. Files that are there already are not sent again, so a push that was
broken off (exit code 3) goes on, file by file, when the same
command is run again.

The model card is DIR's README.md, which prune writes: what was cut from what, and
how to do it again. Results are put into it as a table: those of DIR/results.json,
and of every --results FILE that eval or ppl --json wrote. --dry-run shows the
files and the card, and asks nobody.

HF_TOKEN or the hub's token file must hold a token with write access.`,
		Example: `  coppice push smaller me/smaller --dry-run
  coppice push smaller me/smaller --results results.json --public`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage("%s: want a directory and an ID, me/name", c.Name()).withHint("%s", useLine(c))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.Dir, o.ID = args[0], args[1]
			if dryRun {
				return showPush(c.Context(), a, o)
			}
			return runPush(c.Context(), a, o)
		},
	}
	a.workFlags(c)
	f := c.Flags()
	f.BoolVar(&o.Public, "public", false, "make a new repository public, or push to one that is")
	f.StringVar(&o.Message, "message", "", "title of the commit (default \"Upload DIR with Coppice\")")
	f.StringArrayVar(&o.Results, "results", nil, "file of results to show in the card; may be repeated")
	f.BoolVar(&dryRun, "dry-run", false, "list the files with their sizes, show the card, and send nothing")
	nonEmpty(c, "message")
	return c
}

func runPush(ctx context.Context, a *app, o stage.Push) error {
	out, err := o.Run(ctx, a.env())
	if err != nil {
		return err
	}
	if a.json {
		return a.line(out)
	}
	a.note("%s sent (%s), %s there already", report.Plural(out.Uploaded, "file"), report.FormatBytes(out.Bytes), report.Plural(out.Skipped, "file"))
	return a.printf("%s\n", out.URL)
}

// showPush prints what would go up.
func showPush(ctx context.Context, a *app, o stage.Push) error {
	up, err := o.Prepare(ctx, a.env())
	if err != nil {
		return err
	}
	var files []report.File
	var total int64
	for _, f := range up.Files {
		total += f.Size
		files = append(files, report.File{Name: f.Name, Bytes: f.Size})
	}
	if err := printFiles(a, files); err != nil {
		return err
	}
	if a.json {
		return a.line(report.Card{ID: up.Repo.ID, Private: !o.Public, Text: up.Card})
	}
	visibility := "private"
	if o.Public {
		visibility = "public"
	}
	a.note("would be pushed to %s (%s if it is new): %s, %s", up.Repo.ID, visibility, report.Plural(len(files), "file"), report.FormatBytes(total))
	return a.printf("\n%s", up.Card)
}
