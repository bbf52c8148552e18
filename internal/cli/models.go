package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
)

// findModel returns the directory of MODEL: MODEL itself where there is one, or
// else the snapshot in the hub's cache of org/name[@revision], into which it
// downloads what of it is needed and not there yet.
func (a *app) findModel(ctx context.Context, arg string, need hub.Need) (string, error) {
	if !isRemote(arg) {
		return arg, isDir(arg)
	}
	repo, err := hub.ParseRepo(hub.Model, arg)
	if err != nil {
		return "", err
	}
	got, err := a.pull(ctx, repo, func(i *hub.Info) ([]string, error) { return neededFiles(i, need) })
	if errors.Is(err, hub.ErrNotFound) || errors.Is(err, hub.ErrUnreachable) || errors.Is(err, hub.ErrOffline) {
		err = hubError(fmt.Errorf("there is no directory %s; %w", arg, err))
	}
	return got.dir, err
}

// isRemote says whether MODEL is to be looked for on the hub: it has the form
// of an id, and no file is in its place.
func isRemote(arg string) bool {
	if _, err := os.Stat(arg); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	return hub.IsID(arg)
}

// modelName is what a model is called in a card: its id on the hub, for a name
// and for a snapshot in the hub's cache. Empty for other directories.
func modelName(arg string) string {
	if isRemote(arg) {
		id, _, _ := strings.Cut(arg, "@")
		return id
	}
	abs, err := filepath.Abs(arg)
	if err != nil {
		return ""
	}
	snapshots, folder := filepath.Split(filepath.Dir(abs))
	id, ok := strings.CutPrefix(filepath.Base(filepath.Clean(snapshots)), "models--")
	id = strings.Replace(id, "--", "/", 1)
	if folder != "snapshots" || !ok || !hub.IsID(id) {
		return ""
	}
	return id
}

// neededFiles are the files of a model that are needed.
func neededFiles(i *hub.Info, need hub.Need) ([]string, error) {
	names := hub.ModelFiles(i.Files, need)
	if len(names) == 0 {
		return nil, failed("%s has no files of a model: %s", i.Repo, someNames(i.Names())).withHint("MODEL needs config.json, weights and a tokenizer in the form of transformers; `coppice pull` fetches other files")
	}
	return names, nil
}

func someNames(names []string) string {
	const most = 5
	if len(names) == 0 {
		return "it is empty"
	}
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// pulled is what pull brought, or found in the cache.
type pulled struct {
	info  *hub.Info
	dir   string
	files []string
	bytes int64 // of all the files
}

// pull brings the files that choose picks into the hub's cache, with a bar.
func (a *app) pull(ctx context.Context, repo hub.Repo, choose func(*hub.Info) ([]string, error)) (pulled, error) {
	c, err := a.hubClient()
	if err != nil {
		return pulled{}, err
	}
	got := pulled{}
	if got.info, err = c.Info(ctx, repo); err != nil {
		return got, hubError(err)
	}
	if got.files, err = choose(got.info); err != nil {
		return got, err
	}
	for _, name := range got.files {
		f, _ := got.info.File(name)
		got.bytes += f.Size
	}
	got.dir, err = c.Download(ctx, got.info, got.files, a.byteProgress("pulling "+repo.ID))
	a.stopProgress()
	if err == nil {
		a.detail("%s: commit %s, %s, %s in %s", repo, got.info.Commit, plural(len(got.files), "file"), report.FormatBytes(got.bytes), got.dir)
	}
	return got, hubError(err)
}

// hubClient is the client that the environment describes.
func (a *app) hubClient() (*hub.Client, error) {
	c, err := hub.FromEnv(a.sys.Getenv)
	if err != nil {
		return nil, err
	}
	c.UserAgent = "coppice/" + version().Version
	c.Note = func(text string) { a.note("%s", text) }
	c.Trace = func(text string) { a.detail("%s", text) }
	if a.sys.Hub != nil {
		a.sys.Hub(c)
	}
	return c, nil
}

// hubError gives the hub's errors their hint and their exit code.
func hubError(err error) error {
	var e *hub.Error
	var h *hinted
	if !errors.As(err, &e) || errors.As(err, &h) {
		return err
	}
	out := &hinted{err: err, hint: e.Remedy}
	switch {
	case errors.Is(err, context.Canceled):
		out.kind = errCancelled
	case e.Partial:
		out.kind = errPartial
	}
	return out
}
