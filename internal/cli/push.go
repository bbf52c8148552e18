package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
)

type pushOptions struct {
	dir     string
	id      string
	public  bool
	message string
	results []string
	dryRun  bool
}

func newPush(a *app) *cobra.Command {
	var o pushOptions
	c := &cobra.Command{
		Use:   "push DIR ID",
		Short: "Publish a checkpoint on the Hugging Face hub",
		Long: `Publish a checkpoint directory on the Hugging Face hub as ID, me/name. The
repository is made if there is none, private unless --public is given.

Everything in DIR goes up but hidden files. Large files go first, then all become
one commit. Files that are there already are not sent again, so a push that was
broken off (exit code 3, or 130 after Ctrl-C) goes on, file by file, when the same
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
				return usage("%s: want a directory and an ID, me/name", c.CommandPath()).withHint("%s", useLine(c))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.dir, o.id = args[0], args[1]
			return withRemedy(o.run(c.Context(), a))
		},
	}
	a.workFlags(c)
	f := c.Flags()
	f.BoolVar(&o.public, "public", false, "make a new repository public, or push to one that is")
	f.StringVar(&o.message, "message", "", "title of the commit (default \"Upload DIR with Coppice\")")
	f.StringArrayVar(&o.results, "results", nil, "file of results to show in the card; may be repeated")
	f.BoolVar(&o.dryRun, "dry-run", false, "list the files with their sizes, show the card, and send nothing")
	nonEmpty(c, "message")
	return c
}

func (o pushOptions) run(ctx context.Context, a *app) error {
	repo, err := hub.ParseRepo(hub.Model, o.id)
	if err != nil {
		return usage("%w", err)
	}
	if repo.Revision != "" {
		return usage("%s: a push goes to main", o.id).withHint("leave out the @%s", repo.Revision)
	}
	if err := isDir(o.dir); err != nil {
		return err
	}
	// What others could not load is not published.
	c, err := checkpoint.Open(o.dir)
	if err != nil {
		return err
	}
	_ = c.Close()
	files, err := o.files(repo)
	if err != nil {
		return err
	}
	if o.dryRun {
		return o.show(a, repo, files)
	}
	return o.push(ctx, a, repo, files)
}

// files lists what goes up, the card in its final form among it.
func (o pushOptions) files(repo hub.Repo) ([]hub.Upload, error) {
	files, err := hub.ListUploads(o.dir)
	if err != nil {
		return nil, err
	}
	results := o.results
	if own := filepath.Join(o.dir, "results.json"); !slices.Contains(results, own) {
		if _, err := os.Stat(own); err == nil {
			results = append([]string{own}, results...)
		}
	}
	card, err := pushCard(filepath.Join(o.dir, cardFile), repo.ID, results)
	if err != nil {
		return nil, err
	}
	upload := hub.Upload{Name: cardFile, Content: card, Size: int64(len(card))}
	at, there := slices.BinarySearchFunc(files, cardFile, func(f hub.Upload, name string) int { return strings.Compare(f.Name, name) })
	if there {
		files[at] = upload
		return files, nil
	}
	return slices.Insert(files, at, upload), nil
}

func (o pushOptions) push(ctx context.Context, a *app, repo hub.Repo, files []hub.Upload) error {
	c, err := a.hubClient()
	if err != nil {
		return err
	}
	start := time.Now()
	opt := hub.PushOptions{Public: o.public, Message: o.message, Progress: a.byteProgress("pushing " + repo.ID)}
	if opt.Message == "" {
		opt.Message = fmt.Sprintf("Upload %s with Coppice", filepath.Base(filepath.Clean(o.dir)))
	}
	out, err := c.Push(ctx, repo, files, opt)
	a.stopProgress()
	if err != nil {
		return hubError(err)
	}
	if o.public && out.Private {
		a.warn("%s was private before and stays private; change that at %s/settings", repo.ID, out.URL)
	}
	if a.json {
		return a.line(report.Pushed{ID: repo.ID, URL: out.URL, Commit: out.Commit, Created: out.Created, Private: out.Private,
			Uploaded: out.Uploaded, Skipped: out.Skipped, Bytes: out.Bytes, Seconds: seconds(start)})
	}
	a.note("%s sent (%s), %s there already", plural(out.Uploaded, "file"), report.FormatBytes(out.Bytes), plural(out.Skipped, "file"))
	return a.printf("%s\n", out.URL)
}

// show prints what would go up.
func (o pushOptions) show(a *app, repo hub.Repo, files []hub.Upload) error {
	visibility := "private"
	if o.public {
		visibility = "public"
	}
	t := &report.Table{Header: []string{"file", "bytes"}}
	var total int64
	var card string
	for _, f := range files {
		total += f.Size
		if f.Name == cardFile {
			card = string(f.Content)
		}
		if !a.json {
			t.Add(report.String(f.Name), report.Bytes(f.Size))
		} else if err := a.line(report.File{Name: f.Name, Bytes: f.Size}); err != nil {
			return err
		}
	}
	if a.json {
		return a.line(report.Card{ID: repo.ID, Private: !o.public, Text: card})
	}
	if err := a.table(t); err != nil {
		return err
	}
	a.note("would be pushed to %s (%s if it is new): %s, %s", repo.ID, visibility, plural(len(files), "file"), report.FormatBytes(total))
	return a.printf("\n%s", card)
}
