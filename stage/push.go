package stage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
)

// Push publishes a checkpoint on the hub, its results in the model card.
type Push struct {
	Dir     string   `yaml:"dir"`
	ID      string   `yaml:"id"` // me/name
	Public  bool     `yaml:"public"`
	Message string   `yaml:"message"` // title of the commit; "": one that names Dir
	Results []string `yaml:"results"` // files of results to show in the card, beside Dir/results.json
}

// Upload is what a push sends.
type Upload struct {
	Repo  hub.Repo
	Files []hub.Upload
	Card  string
}

// Prepare lists what goes up, the card in its final form among it, and asks nobody.
func (p Push) Prepare(ctx context.Context, env Env) (*Upload, error) {
	repo, err := hub.ParseRepo(hub.Model, p.ID)
	if err != nil {
		return nil, wrong("%w", err)
	}
	if repo.Revision != "" {
		return nil, wrong("%s: a push goes to main", p.ID).with("leave out the @%s", repo.Revision)
	}
	if err := isDir(p.Dir); err != nil {
		return nil, failed("%s", err).with("name the directory of a checkpoint, such as prune writes")
	}
	// What others could not load is not published.
	c, err := checkpoint.Open(p.Dir, checkpoint.WithHashCache(env.Cache))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	files, err := hub.ListUploads(p.Dir)
	if err != nil {
		return nil, err
	}
	results := p.Results
	if own := filepath.Join(p.Dir, "results.json"); !slices.Contains(results, own) {
		if _, err := os.Stat(own); err == nil {
			results = append([]string{own}, results...)
		}
	}
	shown, err := readResults(ctx, env, c, results)
	if err != nil {
		return nil, err
	}
	card, err := pushCard(filepath.Join(p.Dir, cardFile), repo.ID, shown)
	if err != nil {
		return nil, err
	}
	upload := hub.Upload{Name: cardFile, Content: card, Size: int64(len(card))}
	at, there := slices.BinarySearchFunc(files, cardFile, func(f hub.Upload, name string) int { return strings.Compare(f.Name, name) })
	if there {
		files[at] = upload
	} else {
		files = slices.Insert(files, at, upload)
	}
	return &Upload{Repo: repo, Files: files, Card: string(card)}, nil
}

// Run sends what Prepare lists.
func (p Push) Run(ctx context.Context, env Env) (out report.Pushed, err error) {
	up, err := p.Prepare(ctx, env)
	if err != nil {
		return out, err
	}
	c, err := env.Hub()
	if err != nil {
		return out, err
	}
	start := time.Now()
	tell, end := env.Talk.Progress("pushing "+up.Repo.ID, Bytes)
	defer end()
	opt := hub.PushOptions{Public: p.Public, Message: p.Message, Progress: tell}
	if opt.Message == "" {
		opt.Message = fmt.Sprintf("Upload %s with Coppice", filepath.Base(filepath.Clean(p.Dir)))
	}
	got, err := c.Push(ctx, up.Repo, up.Files, opt)
	if err != nil {
		return out, hubError(err)
	}
	if p.Public && got.Private {
		env.Talk.Warn("%s was private before and stays private; change that at %s/settings", up.Repo.ID, got.URL)
	}
	return report.Pushed{ID: up.Repo.ID, URL: got.URL, Commit: got.Commit, Created: got.Created, Private: got.Private,
		Uploaded: got.Uploaded, Skipped: got.Skipped, Bytes: got.Bytes, Seconds: seconds(start)}, nil
}
