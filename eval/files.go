package eval

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/data"
)

// DataError says that a task's documents could not be found, and what was
// looked for.
type DataError struct {
	Task, Split, Where string
	Looked             []string
}

func (e *DataError) Error() string {
	return fmt.Sprintf("task %s: no file of the split %q in %s; looked for %s", e.Task, e.Split, e.Where, strings.Join(e.Looked, ", "))
}

// formats are the endings of files that hold documents.
func formats() []string { return []string{".parquet", ".jsonl", ".json", ".csv"} }

// configs are the directories a dataset's configuration may lie in; a dataset
// that has one only may have none.
func (t *Task) configs() []string {
	switch t.DatasetName {
	case "":
		return []string{"default", "plain_text", "main", ""}
	case "default", "main":
		return []string{t.DatasetName, ""}
	}
	return []string{t.DatasetName}
}

// patterns are where a split's files may lie in a dataset's directory or
// repository, the pinned files first.
func (t *Task) patterns(split string) []string {
	var out []string
	for _, f := range t.Metadata.Files[split] {
		out = append(out, t.spell(f))
	}
	for _, c := range t.configs() {
		for _, name := range []string{split, split + "-*-of-*", split + "/*"} {
			out = append(out, path.Join(c, name), path.Join("data", c, name))
		}
		if c != "" {
			out = append(out, path.Join("data", split, c), path.Join(split, c))
		} else {
			out = append(out, "*_"+split)
		}
	}
	return out
}

func (t *Task) spell(f string) string {
	return strings.ReplaceAll(f, "{dataset_name}", t.DatasetName)
}

// FilesOf picks a split's files out of a list of paths: all that the first
// pattern finds in one format, in order. It returns nil where none is.
func (t *Task) FilesOf(split string, names []string) []string {
	for _, pattern := range t.patterns(split) {
		for _, ending := range endings(pattern) {
			var found []string
			for _, name := range names {
				if ok, _ := path.Match(pattern+ending, name); ok {
					found = append(found, name)
				}
			}
			if len(found) > 0 {
				slices.Sort(found)
				return found
			}
		}
	}
	return nil
}

// endings are the formats a pattern is tried with, packed too.
func endings(pattern string) []string {
	if slices.Contains(formats(), path.Ext(pattern)) {
		return []string{""}
	}
	var out []string
	for _, f := range formats() {
		out = append(out, f)
		if f != ".parquet" {
			out = append(out, f+".gz", f+".zst")
		}
	}
	return out
}

// Dir is a directory of datasets, each in a directory named as on the hub
// ("allenai/ai2_arc" or "ai2_arc") or, with its authors' own files, NAME_original;
// or the directory of one dataset.
type Dir string

// Docs reads the documents of a split.
func (d Dir) Docs(t *Task, split string) ([]Doc, error) {
	roots := d.roots(t)
	for _, root := range roots {
		names, err := list(root)
		if err != nil {
			return nil, err
		}
		if found := t.FilesOf(split, names); found != nil {
			return ReadDocs(t, under(root, found))
		}
		if docs, err := t.original(root, split, names); docs != nil || err != nil {
			return docs, err
		}
	}
	e := &DataError{Task: t.Name, Split: split, Where: string(d)}
	base := path.Base(t.DatasetPath)
	for _, c := range t.configs() {
		e.Looked = append(e.Looked, path.Join(base, c, split)+".{parquet,jsonl,json,csv}")
	}
	return nil, e
}

func under(root string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = filepath.Join(root, filepath.FromSlash(n))
	}
	return out
}

// roots are the directories that may hold a task's dataset.
func (d Dir) roots(t *Task) []string {
	var out []string
	add := func(root string) {
		if info, err := os.Stat(root); err == nil && info.IsDir() && !slices.Contains(out, root) {
			out = append(out, root)
		}
	}
	for _, name := range append([]string{t.DatasetPath}, t.Metadata.Also...) {
		base := path.Base(name)
		for _, n := range []string{name, base, base + "_original"} {
			add(filepath.Join(string(d), filepath.FromSlash(n)))
			if filepath.Base(string(d)) == path.Base(n) {
				add(string(d))
			}
		}
	}
	return out
}

// maxDepthBelow is how deep files may lie in a dataset's directory.
const maxDepthBelow = 4

// list gives the files below a directory, by their paths with slashes.
func list(root string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if e.IsDir() && strings.Count(name, "/") >= maxDepthBelow {
			return fs.SkipDir
		}
		if !e.IsDir() {
			out = append(out, name)
		}
		return nil
	})
	return out, err
}

// ReadDocs reads the rows of files that hold a task's documents.
func ReadDocs(t *Task, paths []string) ([]Doc, error) {
	var docs []Doc
	for _, p := range paths {
		rows, err := readRows(p, data.RowOptions{})
		if err != nil {
			return nil, fmt.Errorf("task %s: %w", t.Name, err)
		}
		docs = append(docs, rows...)
	}
	return docs, nil
}

func readRows(p string, opt data.RowOptions) ([]Doc, error) {
	var docs []Doc
	for row, err := range data.Rows(p, opt) {
		if err != nil {
			return nil, err
		}
		docs = append(docs, row.Map())
	}
	return docs, nil
}

var errPairs = errors.New("files that belong together have different numbers of rows")
