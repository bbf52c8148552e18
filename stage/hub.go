package stage

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

// find returns the directory of a model: the argument itself where there is one,
// or else the snapshot in the hub's cache of org/name[@revision], into which it
// downloads what of it is needed and not there yet.
func find(ctx context.Context, env Env, arg string, need hub.Need) (string, error) {
	if !isRemote(arg) {
		return arg, isDir(arg)
	}
	repo, err := hub.ParseRepo(hub.Model, arg)
	if err != nil {
		return "", err
	}
	got, err := pull(ctx, env, repo, func(i *hub.Info) ([]string, error) { return neededFiles(i, need) })
	if errors.Is(err, hub.ErrNotFound) || errors.Is(err, hub.ErrUnreachable) || errors.Is(err, hub.ErrOffline) {
		err = hubError(fmt.Errorf("there is no directory %s; %w", arg, err))
	}
	return got.dir, err
}

// isDir refuses a model that is not there, before anything else is tried.
func isDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failed("%s: there is no such directory", dir).with("check the path; a model of the hub is named org/name[@revision]")
	case err != nil:
		return err
	case !info.IsDir():
		return failed("%s is a file", dir).with("name the directory that holds config.json")
	}
	return nil
}

// isRemote says whether a model is to be looked for on the hub: it has the form
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
		return nil, failed("%s has no files of a model: %s", i.Repo, someNames(i.Names())).with("MODEL needs config.json, weights and a tokenizer in the form of transformers; `coppice pull` fetches other files")
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

// pull brings the files that choose picks into the hub's cache.
func pull(ctx context.Context, env Env, repo hub.Repo, choose func(*hub.Info) ([]string, error)) (pulled, error) {
	c, err := env.Hub()
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
	got.dir, err = download(ctx, env, c, got.info, got.files)
	if err == nil {
		env.Talk.Detail("%s: commit %s, %s, %s in %s", repo, got.info.Commit, report.Plural(len(got.files), "file"), report.FormatBytes(got.bytes), got.dir)
	}
	return got, hubError(err)
}

// download brings files of a repository into the cache, and says how far it is.
func download(ctx context.Context, env Env, c *hub.Client, info *hub.Info, names []string) (dir string, err error) {
	tell, end := env.Talk.Progress("pulling "+info.Repo.ID, Bytes)
	defer end()
	return c.Download(ctx, info, names, tell)
}

// hubError makes problems of the hub's errors.
func hubError(err error) error {
	var e *hub.Error
	var p *Problem
	if !errors.As(err, &e) || errors.As(err, &p) {
		return err
	}
	out := failed("%w", err).with("%s", e.Remedy)
	switch {
	case e.Partial:
		out.Kind = ErrPartial
	case errors.Is(err, context.Canceled):
		out.Kind = ErrCancelled
	}
	return out
}
