package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
)

// corpus is where texts come from.
type corpus struct {
	source string // for results: the file, or id@commit:config/split
	files  []string
}

// Stdin in place of a file of texts is the standard input, read as text.
const Stdin = "-"

// openData finds what a field of that name says: a file, a directory, or a data set
// of the hub, which it brings here.
func openData(ctx context.Context, env Env, field, arg string) (corpus, error) {
	if arg == Stdin {
		return corpus{source: "standard input", files: []string{"/dev/stdin"}}, nil
	}
	stat, err := os.Stat(arg)
	if err == nil && !stat.IsDir() {
		return corpus{source: arg, files: []string{arg}}, nil
	}
	if err == nil {
		return localData(env, arg, "")
	}
	if at := strings.LastIndex(arg, ":"); at > 0 {
		if stat, err := os.Stat(arg[:at]); err == nil && stat.IsDir() {
			return localData(env, arg[:at], arg[at+1:])
		}
	}
	id, part, _ := strings.Cut(arg, ":")
	if !errors.Is(err, fs.ErrNotExist) || !hub.IsID(id) || slices.Contains(data.Formats(), strings.ToLower(filepath.Ext(id))) {
		return corpus{}, failed("{"+field+"} %s: %w", arg, reason(err))
	}
	return hubData(ctx, env, id, part)
}

// reason is an error of a file without the operation and the path, for texts that
// have named the path.
func reason(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// localData picks a part of a directory.
func localData(env Env, dir, part string) (corpus, error) {
	l, err := data.DiscoverDir(dir)
	if err != nil {
		return corpus{}, err
	}
	config, split, err := l.Find(part)
	c := corpus{source: dir + ":" + config.Name + "/" + split.Name}
	for _, f := range split.Files {
		c.files = append(c.files, filepath.Join(dir, filepath.FromSlash(f)))
	}
	if left := l.PassedOver(); err == nil && len(left) > 0 {
		env.Talk.Note("data: %s of %s, split %s; passed over: %s", report.Plural(len(split.Files), "file"), dir, split.Name, few(left))
	}
	return c, err
}

// few lists the first names.
func few(names []string) string {
	const most = 4
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// convertedBranch is where the hub keeps its own conversion of data sets to
// Parquet, also of those that a script makes.
const convertedBranch = "refs/convert/parquet"

// hubData pulls the files of one part of a data set.
func hubData(ctx context.Context, env Env, id, part string) (corpus, error) {
	repo, err := hub.ParseRepo(hub.Dataset, id)
	if err != nil {
		return corpus{}, err
	}
	client, err := env.Hub()
	if err != nil {
		return corpus{}, err
	}
	info, layout, err := hubLayout(ctx, client, repo)
	if none := (*data.Error)(nil); errors.As(err, &none) && repo.Revision == "" {
		repo.Revision = convertedBranch
		env.Talk.Detail("%s: %v; looking at %s", id, err, convertedBranch)
		var converted error
		if info, layout, converted = hubLayout(ctx, client, repo); converted == nil {
			err = nil
		}
	}
	if err != nil {
		return corpus{}, hubError(err)
	}
	config, split, err := layout.Find(part)
	if err != nil {
		return corpus{}, err
	}
	env.Talk.Note("data: %s of %s, config %s, split %s", report.Plural(len(split.Files), "file"), info.Repo, config.Name, split.Name)
	dir, err := download(ctx, env, client, info, split.Files)
	if err != nil {
		return corpus{}, hubError(err)
	}
	c := corpus{source: fmt.Sprintf("%s@%s:%s/%s", repo.ID, info.Commit, config.Name, split.Name)}
	for _, f := range split.Files {
		c.files = append(c.files, filepath.Join(dir, filepath.FromSlash(f)))
	}
	return c, nil
}

// hubLayout asks for the names of a data set's files, and reads its card.
func hubLayout(ctx context.Context, client *hub.Client, repo hub.Repo) (*hub.Info, *data.Layout, error) {
	const cardName = "README.md"
	info, err := client.Info(ctx, repo)
	if err != nil {
		return nil, nil, err
	}
	var card []byte
	if _, ok := info.File(cardName); ok {
		dir, err := client.Download(ctx, info, []string{cardName}, nil)
		if err != nil && !errors.Is(err, hub.ErrOffline) {
			return nil, nil, err
		}
		if err == nil {
			if card, err = os.ReadFile(filepath.Join(dir, cardName)); err != nil {
				return nil, nil, err
			}
		}
	}
	layout, err := data.Discover(repo.String(), info.Names(), card)
	return info, layout, err
}
