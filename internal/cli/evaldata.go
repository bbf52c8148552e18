package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/hub"
)

// taskData finds the documents of tasks: in a directory, or on the hub.
type taskData struct {
	a      *app
	dir    string // empty: the hub
	client *hub.Client
	infos  map[string]*hub.Info
}

func newTaskData(a *app, dir string) *taskData {
	return &taskData{a: a, dir: dir, infos: map[string]*hub.Info{}}
}

// describe says where a task's documents come from.
func (d *taskData) describe(t *eval.Task) string {
	if d.dir != "" {
		return d.dir
	}
	return hubName(t)
}

func hubName(t *eval.Task) string {
	if t.Metadata.Revision == "" {
		return t.DatasetPath
	}
	return t.DatasetPath + "@" + t.Metadata.Revision
}

// docs reads a split.
func (d *taskData) docs(ctx context.Context, t *eval.Task, split string) ([]eval.Doc, error) {
	if d.dir != "" {
		docs, err := eval.Dir(d.dir).Docs(t, split)
		if err != nil {
			return nil, failed("%w", err).withHint("--data-dir holds a directory for each dataset, such as %s", filepath.Join(d.dir, filepath.Base(t.DatasetPath)))
		}
		return docs, nil
	}
	paths, err := d.fetch(ctx, t, split)
	if err != nil {
		return nil, unreachable(t, err)
	}
	return eval.ReadDocs(t, paths)
}

// unreachable adds what else can be done to an error of the hub.
func unreachable(t *eval.Task, err error) error {
	err = hubError(fmt.Errorf("task %s: dataset %s: %w", t.Name, t.DatasetPath, err))
	const offline = "files that are here already are read with --data-dir"
	var h *hinted
	if errors.As(err, &h) {
		h.hint = strings.TrimPrefix(h.hint+"; "+offline, "; ")
		return err
	}
	return failed("%w", err).withHint(offline)
}

// fetch brings a split's files from the hub.
func (d *taskData) fetch(ctx context.Context, t *eval.Task, split string) ([]string, error) {
	info, err := d.info(ctx, hubName(t))
	if err != nil {
		return nil, err
	}
	names := t.FilesOf(split, info.Names())
	if names == nil {
		if names, err = discover(t, split, info); err != nil {
			return nil, err
		}
	}
	dir, err := d.client.Download(ctx, info, names, nil)
	if err != nil {
		return nil, err
	}
	paths := make([]string, len(names))
	for i, n := range names {
		paths[i] = filepath.Join(dir, filepath.FromSlash(n))
	}
	return paths, nil
}

// discover finds a split as the hub lays datasets out, where the task pins no files.
func discover(t *eval.Task, split string, info *hub.Info) ([]string, error) {
	layout, err := data.Discover(t.DatasetPath, info.Names(), nil)
	if err != nil {
		return nil, err
	}
	for _, c := range layout.Configs {
		if t.DatasetName != "" && c.Name != t.DatasetName && len(layout.Configs) > 1 || t.DatasetName == "" && !c.Default && len(layout.Configs) > 1 {
			continue
		}
		for _, s := range c.Splits {
			if s.Name == split {
				return s.Files, nil
			}
		}
	}
	return nil, fmt.Errorf("no split %q of the config %q", split, t.DatasetName)
}

func (d *taskData) info(ctx context.Context, name string) (*hub.Info, error) {
	if info, ok := d.infos[name]; ok {
		return info, nil
	}
	if d.client == nil {
		client, err := d.a.hubClient()
		if err != nil {
			return nil, err
		}
		d.client = client
	}
	repo, err := hub.ParseRepo(hub.Dataset, name)
	if err != nil {
		return nil, err
	}
	info, err := d.client.Info(ctx, repo)
	if err != nil {
		return nil, err
	}
	d.infos[name] = info
	return info, nil
}

// build reads the documents of tasks and makes their requests.
func (d *taskData) build(ctx context.Context, tasks []*eval.Task, opt eval.BuildOptions) ([]*eval.Asked, error) {
	var out []*eval.Asked
	for _, t := range tasks {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		docs, err := d.docs(ctx, t, t.Split())
		if err != nil {
			return nil, err
		}
		var examples []eval.Doc
		if t.Shots(opt.Shots) > 0 && t.Fewshot.Samples == nil {
			if examples, err = d.docs(ctx, t, t.FewshotFrom()); err != nil {
				return nil, err
			}
		}
		a, err := eval.Build(t, docs, examples, opt)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// splitNames splits a comma-separated list.
func splitNames(list string) []string {
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}
