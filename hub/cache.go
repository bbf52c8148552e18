package hub

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// store is a repository's part of the cache. All access goes through an
// os.Root: whatever names a server sends and whatever links lie about, nothing
// outside of the cache is read or written.
type store struct {
	root    *os.Root
	repo    Repo
	noLinks bool
}

// openStore opens the cache, and makes it if create is set.
func (c *Client) openStore(r Repo, create bool) (*store, error) {
	if create {
		if err := os.MkdirAll(c.Cache, 0o777); err != nil {
			return nil, fmt.Errorf("make the hub's cache: %w", err)
		}
	}
	root, err := os.OpenRoot(c.Cache)
	if err != nil {
		return nil, fmt.Errorf("open the hub's cache: %w", err)
	}
	return &store{root: root, repo: r, noLinks: c.NoLinks}, nil
}

func (s *store) close() { _ = s.root.Close() }

func (s *store) blob(etag string) string { return path.Join(s.repo.folder(), "blobs", etag) }

func (s *store) incomplete(etag string) string { return s.blob(etag) + ".incomplete" }

func (s *store) lock(etag string) string { return path.Join(".locks", s.repo.folder(), etag+".lock") }

func (s *store) ref(revision string) string { return path.Join(s.repo.folder(), "refs", revision) }

func (s *store) treeFile(commit string) string {
	return path.Join(s.repo.folder(), "trees", commit+".json")
}

func (s *store) snapshot(commit string) string {
	return path.Join(s.repo.folder(), "snapshots", commit)
}

// stat looks at a file through links. A link that leads out of the cache is an
// error of kind ErrUnsafe; what is not there is fs.ErrNotExist.
func (s *store) stat(name string) (fs.FileInfo, error) {
	info, err := s.root.Stat(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return info, err
	}
	return nil, s.unsafe(name, err)
}

// unsafe tells os.Root's refusal from other errors: it exports no error for it,
// so the name is looked at again without its protection.
func (s *store) unsafe(name string, err error) error {
	root, rootErr := filepath.EvalSymlinks(s.root.Name())
	for at := name; rootErr == nil && at != "."; at = path.Dir(at) {
		full := filepath.Join(s.root.Name(), filepath.FromSlash(at))
		target, err := filepath.EvalSymlinks(full)
		if err != nil {
			continue // it leads nowhere, or lies below the link that is looked for
		}
		if rel, err := filepath.Rel(root, target); err == nil && filepath.IsLocal(rel) {
			break
		}
		return &Error{Kind: ErrUnsafe, Text: fmt.Sprintf("%s is a link out of the cache, to %s: refused", full, target),
			Remedy: "remove the link; to keep the cache elsewhere, set HF_HUB_CACHE"}
	}
	return err
}

// has says whether a snapshot holds the file in full.
func (s *store) has(commit string, f File) (bool, error) {
	info, err := s.stat(path.Join(s.snapshot(commit), f.Name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	return info.Mode().IsRegular() && (f.Size < 0 || info.Size() == f.Size), nil
}

// write replaces a small file at once.
func (s *store) write(name string, content []byte) error {
	if err := s.root.MkdirAll(path.Dir(name), 0o777); err != nil {
		return s.unsafe(path.Dir(name), err)
	}
	tmp := fmt.Sprintf("%s.%s.tmp", name, rand.Text()[:8])
	err := s.root.WriteFile(tmp, content, 0o666)
	if err == nil {
		err = s.root.Rename(tmp, name)
	}
	if err != nil {
		_ = s.root.Remove(tmp)
	}
	return err
}

// remember notes which commit a branch or tag stands for, and what is in it.
func (s *store) remember(i *Info) error {
	_ = s.tag()
	if old, err := s.root.ReadFile(s.treeFile(i.Commit)); err != nil || len(old) == 0 {
		if err := s.write(s.treeFile(i.Commit), encodeTree(i.Files)); err != nil {
			return err
		}
	}
	revision := i.Repo.revision()
	if revision == i.Commit {
		return nil
	}
	if old, err := s.root.ReadFile(s.ref(revision)); err == nil && string(old) == i.Commit {
		return nil
	}
	return s.write(s.ref(revision), []byte(i.Commit))
}

// tag tells backup programs that this is a cache (bford.info/cachedir).
func (s *store) tag() error {
	const name = "CACHEDIR.TAG"
	if _, err := s.root.Lstat(name); err == nil {
		return nil
	}
	return s.write(name, []byte("Signature: 8a477f597d28d172789f06886806bc55\n# This is the cache of the Hugging Face hub.\n"))
}

// link makes the snapshot's entry for a blob: a relative link, or where links
// cannot be made the file itself. The blob's lock is held.
func (s *store) link(commit string, f File, fresh bool) error {
	entry := path.Join(s.snapshot(commit), f.Name)
	if err := s.root.MkdirAll(path.Dir(entry), 0o777); err != nil {
		return s.unsafe(path.Dir(entry), err)
	}
	tmp := fmt.Sprintf("%s.%s.tmp", entry, rand.Text()[:8])
	if !s.noLinks {
		target := strings.Repeat("../", strings.Count(f.Name, "/")+2) + "blobs/" + f.ETag()
		if err := s.root.Symlink(filepath.FromSlash(target), tmp); err == nil {
			return s.settle(tmp, entry)
		}
	}
	if fresh {
		return s.root.Rename(s.blob(f.ETag()), entry)
	}
	if err := s.copy(s.blob(f.ETag()), tmp); err != nil {
		_ = s.root.Remove(tmp)
		return err
	}
	return s.settle(tmp, entry)
}

// settle gives a finished entry its name.
func (s *store) settle(tmp, entry string) error {
	err := s.root.Rename(tmp, entry)
	if err != nil {
		_ = s.root.Remove(tmp)
	}
	return err
}

func (s *store) copy(from, to string) error {
	in, err := s.root.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := s.root.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// treeFile is huggingface_hub's listing of a commit.
type treeFile struct {
	Version int                 `json:"format_version"`
	Files   map[string]treeLine `json:"files"`
}

type treeLine struct {
	Size   int64  `json:"size"`
	Blob   string `json:"blob_id"`
	SHA256 string `json:"lfs_sha256,omitempty"`
	// LFSSize repeats the size of files in large file storage.
	LFSSize int64 `json:"lfs_size,omitempty"`
}

func encodeTree(files []File) []byte {
	t := treeFile{Version: 1, Files: map[string]treeLine{}}
	for _, f := range files {
		line := treeLine{Size: f.Size, Blob: f.Blob, SHA256: f.SHA256}
		if f.SHA256 != "" {
			line.LFSSize = f.Size
		}
		t.Files[f.Name] = line
	}
	raw, _ := json.MarshalIndent(t, "", " ") // strings and numbers always encode
	return raw
}

// readTree reads the listing of a commit that has been seen before. One that
// cannot be used counts as none.
func (c *Client) readTree(r Repo, commit string) ([]File, bool) {
	s, err := c.openStore(r, false)
	if err != nil {
		return nil, false
	}
	defer s.close()
	return s.readTree(commit)
}

func (s *store) readTree(commit string) ([]File, bool) {
	var t treeFile
	raw, err := s.root.ReadFile(s.treeFile(commit))
	if err != nil || json.Unmarshal(raw, &t) != nil || t.Version != 1 {
		return nil, false
	}
	files := make([]File, 0, len(t.Files))
	for name, line := range t.Files {
		files = append(files, File{Name: name, Size: line.Size, Blob: line.Blob, SHA256: line.SHA256})
	}
	return files, checkTree(s.repo, files) == nil
}

// hasRef says whether the cache knows the revision, so that one failed try of
// asking the hub is enough.
func (c *Client) hasRef(r Repo) bool {
	s, err := c.openStore(r, false)
	if err != nil {
		return false
	}
	defer s.close()
	_, err = s.commit(r.revision())
	return err == nil
}

// commit finds what a revision stood for when it was last seen.
func (s *store) commit(revision string) (string, error) {
	if isCommit(revision) {
		_, err := s.stat(s.snapshot(revision))
		return revision, err
	}
	raw, err := s.root.ReadFile(s.ref(revision))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		return "", s.unsafe(s.ref(revision), err)
	}
	commit := strings.TrimSpace(string(raw))
	if !isCommit(commit) {
		return "", fmt.Errorf("%s: %w", s.ref(revision), fs.ErrNotExist)
	}
	return commit, nil
}

// cachedInfo answers from the cache, or with the error given.
func (c *Client) cachedInfo(r Repo, otherwise error) (*Info, error) {
	s, err := c.openStore(r, false)
	if err != nil {
		return nil, otherwise
	}
	defer s.close()
	commit, err := s.commit(r.revision())
	if errors.Is(err, ErrUnsafe) {
		return nil, err
	}
	if err != nil {
		return nil, otherwise
	}
	info := &Info{Repo: r, Commit: commit, Cached: true}
	if files, ok := s.readTree(commit); ok {
		info.Files = files
		return info, nil
	}
	if info.Files, err = s.walk(commit); errors.Is(err, fs.ErrNotExist) {
		return nil, otherwise
	}
	return info, err
}

// walk lists the files of a snapshot that somebody else made.
func (s *store) walk(commit string) ([]File, error) {
	base := s.snapshot(commit)
	var files []File
	err := fs.WalkDir(s.root.FS(), base, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := s.stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a link to a blob that has been cleared away
		}
		if err != nil {
			return err
		}
		f := File{Name: strings.TrimPrefix(name, base+"/"), Size: info.Size()}
		if target, err := s.root.Readlink(name); err == nil {
			f.name(path.Base(filepath.ToSlash(target)))
		}
		files = append(files, f)
		return nil
	})
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return files, err
}

// name sets the hash that a blob is named after.
func (f *File) name(etag string) {
	switch {
	case isHex(etag, 64):
		f.SHA256 = etag
	case isHex(etag, 40):
		f.Blob = etag
	}
}
