package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
)

type pullOptions struct {
	id       string
	revision string
	dataset  bool
	include  []string
	exclude  []string
	dryRun   bool
}

func newPull(a *app) *cobra.Command {
	var o pullOptions
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
stopped when the same command is run again (exit code 3, or 130 after Ctrl-C).
HF_TOKEN or the hub's token file give access to what is not public; HF_ENDPOINT
names another hub; with HF_HUB_OFFLINE=1 only the cache is used.

Commands that take MODEL pull by themselves.`,
		Example: `  coppice pull Qwen/Qwen2.5-0.5B
  coppice pull Qwen/Qwen2.5-0.5B@main --dry-run
  coppice pull --dataset Salesforce/wikitext --include 'wikitext-2-raw-v1/*'`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("%s: want one ID, org/name", c.CommandPath()).withHint("%s", useLine(c))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.id = args[0]
			return withRemedy(o.run(c.Context(), a))
		},
	}
	a.workFlags(c)
	f := c.Flags()
	f.StringVar(&o.revision, "revision", "", "branch, tag or commit (default main)")
	f.BoolVar(&o.dataset, "dataset", false, "ID is a dataset")
	f.StringArrayVar(&o.include, "include", nil, "files to download instead of those a model needs, such as '*.json'; may be repeated")
	f.StringArrayVar(&o.exclude, "exclude", nil, "files to leave out; may be repeated")
	f.BoolVar(&o.dryRun, "dry-run", false, "list the files and their sizes, and download nothing")
	nonEmpty(c, "revision")
	return c
}

// repo reads ID and --revision.
func (o pullOptions) repo() (hub.Repo, error) {
	kind := hub.Model
	if o.dataset {
		kind = hub.Dataset
	}
	if o.revision != "" && strings.Contains(o.id, "@") {
		return hub.Repo{}, usage("%s names a revision, and so does --revision %s", o.id, o.revision).withHint("give one of them")
	}
	id := o.id
	if o.revision != "" {
		id += "@" + o.revision
	}
	r, err := hub.ParseRepo(kind, id)
	if err != nil {
		return r, usage("%w", err)
	}
	return r, nil
}

func (o pullOptions) run(ctx context.Context, a *app) error {
	repo, err := o.repo()
	if err != nil {
		return err
	}
	if o.dryRun {
		return o.list(ctx, a, repo)
	}
	start := time.Now()
	got, err := a.pull(ctx, repo, o.choose)
	if err != nil {
		return err
	}
	if !a.json {
		return a.printf("%s\n", got.dir)
	}
	return a.line(report.Pulled{
		ID: repo.ID, Kind: string(repo.Kind), Revision: repo.Revision, Commit: got.info.Commit,
		Path: got.dir, Files: len(got.files), Bytes: got.bytes, Seconds: seconds(start),
	})
}

// choose picks the files.
func (o pullOptions) choose(i *hub.Info) ([]string, error) {
	names := i.Names()
	if !o.dataset && len(o.include) == 0 {
		var err error
		if names, err = neededFiles(i, hub.NeedAll); err != nil {
			return nil, err
		}
	}
	names = hub.Match(names, o.include, o.exclude)
	if len(names) == 0 {
		return nil, failed("%s: no file is left to download", i.Repo).withHint("it has %s", someNames(i.Names()))
	}
	return names, nil
}

// list prints what would be downloaded.
func (o pullOptions) list(ctx context.Context, a *app, repo hub.Repo) error {
	c, err := a.hubClient()
	if err != nil {
		return err
	}
	info, err := c.Info(ctx, repo)
	if err != nil {
		return hubError(err)
	}
	names, err := o.choose(info)
	if err != nil {
		return err
	}
	t := &report.Table{Header: []string{"file", "bytes"}}
	for _, name := range names {
		f, _ := info.File(name)
		if !a.json {
			t.Add(report.String(f.Name), report.Bytes(f.Size))
		} else if err := a.line(report.File{Name: f.Name, Bytes: f.Size}); err != nil {
			return err
		}
	}
	if a.json {
		return nil
	}
	return a.table(t)
}
