package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// File is one file of a repository.
type File struct {
	Name string // relative to the repository, with slashes
	Size int64
	// Blob is the git blob SHA-1. SHA256 is set for files in large file storage,
	// whose Blob is that of a pointer. Both are empty where a cache that holds
	// copies instead of links does not tell.
	Blob   string
	SHA256 string
}

// ETag names the file's content in the cache: the SHA-256, or else the SHA-1.
func (f File) ETag() string { return first(f.SHA256, f.Blob) }

// Info is a repository at one commit.
type Info struct {
	Repo    Repo
	Commit  string
	Private bool
	Files   []File // sorted by name
	// Cached is set when the hub was not asked, or not to be reached: what is
	// known comes from the cache, and what it lacks cannot be had.
	Cached bool
}

// Names lists the files.
func (i *Info) Names() []string {
	names := make([]string, len(i.Files))
	for k, f := range i.Files {
		names[k] = f.Name
	}
	return names
}

// File returns a file by name.
func (i *Info) File(name string) (File, bool) {
	at, ok := slices.BinarySearchFunc(i.Files, name, func(f File, n string) int { return strings.Compare(f.Name, n) })
	if !ok {
		return File{}, false
	}
	return i.Files[at], true
}

// Info asks the hub which commit a revision stands for and what files are in
// it. A commit that has been seen before is answered from the cache. Errors are
// of kind ErrNotFound, ErrRevision, ErrGated, ErrUnauthorized, ErrUnreachable,
// ErrServer, ErrUnsafe or, offline, ErrOffline.
func (c *Client) Info(ctx context.Context, r Repo) (*Info, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if c.Offline {
		return c.cachedInfo(r, &Error{Kind: ErrOffline,
			Text:   fmt.Sprintf("%s is not in the cache %s, and HF_HUB_OFFLINE is set", r, c.Cache),
			Remedy: "unset HF_HUB_OFFLINE, or copy its directory here and name that"})
	}
	if isCommit(r.Revision) {
		if files, ok := c.readTree(r, r.Revision); ok {
			return &Info{Repo: r, Commit: r.Revision, Files: files}, nil
		}
	}
	head, err := c.head(ctx, r, c.hasRef(r))
	if err != nil {
		return c.infoWithout(ctx, r, err)
	}
	info := &Info{Repo: r, Commit: head.SHA, Private: head.Private}
	if info.Files, err = c.tree(ctx, r, head.SHA); err != nil {
		return nil, c.explain(r, err)
	}
	return info, nil
}

// head is what the hub says of a revision.
type head struct {
	SHA     string `json:"sha"`
	Private bool   `json:"private"`
}

func (c *Client) head(ctx context.Context, r Repo, once bool) (head, error) {
	var h head
	if _, err := c.get(ctx, r.api()+"/revision/"+url.PathEscape(r.revision()), once, &h); err != nil {
		return h, err
	}
	if !isCommit(h.SHA) {
		return h, &Error{Kind: ErrServer, Text: fmt.Sprintf("%s: %s answers without a commit", r, c.Endpoint),
			Remedy: "see that HF_ENDPOINT names a hub"}
	}
	return h, nil
}

// infoWithout answers from the cache when there is no answer from the hub, and
// explains otherwise, with the names that may have been meant.
func (c *Client) infoWithout(ctx context.Context, r Repo, err error) (*Info, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	failure := c.explain(r, err)
	if errors.Is(failure, ErrUnreachable) || errors.Is(failure, ErrServer) {
		info, missing := c.cachedInfo(r, failure)
		if missing == nil {
			c.note("%v; using what is in the cache", failure)
		}
		return info, missing
	}
	return nil, c.suggest(ctx, r, failure)
}

// treeEntry is a line of the hub's listing.
type treeEntry struct {
	Type string `json:"type"`
	Path string `json:"path"`
	Size int64  `json:"size"`
	OID  string `json:"oid"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
}

// maxPages bounds a listing; a page holds about a thousand files.
const maxPages = 2000

// tree lists the files of a commit, from the cache if it is known there.
func (c *Client) tree(ctx context.Context, r Repo, commit string) ([]File, error) {
	if files, ok := c.readTree(r, commit); ok {
		return files, nil
	}
	var files []File
	next := c.Endpoint + r.api() + "/tree/" + commit + "?recursive=true&expand=false"
	for range maxPages {
		var page []treeEntry
		header, err := c.call(ctx, request{method: http.MethodGet, url: next}, &page)
		if err != nil {
			return nil, err
		}
		for _, e := range page {
			if e.Type == "file" {
				files = append(files, e.file())
			}
		}
		if next = nextPage(header); next == "" {
			return files, checkTree(r, files)
		}
		next = c.here(next)
	}
	return nil, &Error{Kind: ErrUnsafe, Text: fmt.Sprintf("%s: the list of its files does not end", r)}
}

func (e treeEntry) file() File {
	f := File{Name: e.Path, Size: e.Size, Blob: e.OID}
	if e.LFS != nil {
		f.SHA256, f.Size = e.LFS.OID, e.LFS.Size
	}
	return f
}

// nextPage reads Link: <address>; rel="next".
func nextPage(h http.Header) string {
	m := regexp.MustCompile(`<([^>]*)>\s*;\s*rel="?next"?`).FindStringSubmatch(strings.Join(h.Values("Link"), ","))
	if m == nil {
		return ""
	}
	return m[1]
}

// maxFile is more than any file a hub takes.
const maxFile = 1 << 40

// checkTree sorts a listing and refuses what no honest one holds: names that
// lead out of the repository, which git does not allow either, sizes and hashes
// that are none.
func checkTree(r Repo, files []File) error {
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	refuse := func(f File, why string) error {
		return &Error{Kind: ErrUnsafe, Text: fmt.Sprintf("%s: file %q of the listing %s: refused", r, f.Name, why),
			Remedy: "do not trust this repository or this hub"}
	}
	for i, f := range files {
		switch {
		case !isInside(f.Name):
			return refuse(f, "has a name that leads out of the repository")
		case i > 0 && files[i-1].Name == f.Name:
			return refuse(f, "stands twice")
		case f.Size < 0 || f.Size > maxFile:
			return refuse(f, fmt.Sprintf("is said to have %d bytes", f.Size))
		case f.SHA256 != "" && !isHex(f.SHA256, 64), !isHex(f.Blob, 40):
			return refuse(f, "has a hash that is none")
		}
	}
	return nil
}

// isInside accepts the names that a git tree can hold.
func isInside(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.EqualFold(part, ".git") {
			return false
		}
	}
	return !strings.Contains(name, "\x00") && len(name) < 4096
}

// isPortable accepts the names that are the same file on every system.
func isPortable(name string) bool {
	return isInside(name) && filepath.IsLocal(filepath.FromSlash(name)) &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || strings.ContainsRune(`\:*?"<>|`, r) })
}
