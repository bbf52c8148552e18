package stage

import (
	"context"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
)

// Pull downloads a model or a dataset from the hub into its cache.
type Pull struct {
	ID       string   `yaml:"id"` // org/name[@revision]
	Revision string   `yaml:"revision"`
	Dataset  bool     `yaml:"dataset"`
	Include  []string `yaml:"include"` // patterns of files instead of those a model needs
	Exclude  []string `yaml:"exclude"` // patterns of files to leave out
}

// repo reads ID and Revision.
func (p Pull) repo() (hub.Repo, error) {
	kind := hub.Model
	if p.Dataset {
		kind = hub.Dataset
	}
	if p.Revision != "" && strings.Contains(p.ID, "@") {
		return hub.Repo{}, wrong("%s names a revision, and so does {revision} %s", p.ID, p.Revision).with("give one of them")
	}
	id := p.ID
	if p.Revision != "" {
		id += "@" + p.Revision
	}
	r, err := hub.ParseRepo(kind, id)
	if err != nil {
		return r, wrong("%w", err)
	}
	return r, nil
}

// Run downloads.
func (p Pull) Run(ctx context.Context, env Env) (out report.Pulled, err error) {
	repo, err := p.repo()
	if err != nil {
		return out, err
	}
	start := time.Now()
	got, err := pull(ctx, env, repo, p.choose)
	if err != nil {
		return out, err
	}
	return report.Pulled{
		ID: repo.ID, Kind: string(repo.Kind), Revision: repo.Revision, Commit: got.info.Commit,
		Path: got.dir, Files: len(got.files), Bytes: got.bytes, Seconds: seconds(start),
	}, nil
}

// List says what would be downloaded.
func (p Pull) List(ctx context.Context, env Env) (files []report.File, err error) {
	repo, err := p.repo()
	if err != nil {
		return nil, err
	}
	c, err := env.Hub()
	if err != nil {
		return nil, err
	}
	info, err := c.Info(ctx, repo)
	if err != nil {
		return nil, hubError(err)
	}
	names, err := p.choose(info)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		f, _ := info.File(name)
		files = append(files, report.File{Name: f.Name, Bytes: f.Size})
	}
	return files, nil
}

// choose picks the files.
func (p Pull) choose(i *hub.Info) ([]string, error) {
	names := i.Names()
	if !p.Dataset && len(p.Include) == 0 {
		var err error
		if names, err = neededFiles(i, hub.NeedAll); err != nil {
			return nil, err
		}
	}
	names = hub.Match(names, p.Include, p.Exclude)
	if len(names) == 0 {
		return nil, failed("%s: no file is left to download", i.Repo).with("it has %s", someNames(i.Names()))
	}
	return names, nil
}
