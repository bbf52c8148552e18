package hub

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/internal/hubid"
)

// Kind is what a repository holds.
type Kind string

// The kinds of repositories.
const (
	Model   Kind = "model"
	Dataset Kind = "dataset"
)

// defaultRevision is the branch that stands for no revision.
const defaultRevision = "main"

// Repo names a repository at a revision.
type Repo struct {
	Kind Kind
	ID   string // org/name
	// Revision is a branch, a tag, a commit or a ref such as
	// refs/convert/parquet. Empty means main.
	Revision string
}

// ParseRepo reads org/name or org/name@revision.
func ParseRepo(kind Kind, s string) (Repo, error) {
	id, revision, at := strings.Cut(s, "@")
	if at && revision == "" {
		return Repo{}, fmt.Errorf("%q: no revision follows the @; write org/name@revision", s)
	}
	r := Repo{Kind: kind, ID: id, Revision: revision}
	return r, r.check()
}

// IsID reports whether s has the form org/name or org/name@revision.
func IsID(s string) bool {
	_, err := ParseRepo(Model, s)
	return err == nil
}

// String is the id, with the revision where it is not the default.
func (r Repo) String() string {
	if r.Revision == "" || r.Revision == defaultRevision {
		return r.ID
	}
	return r.ID + "@" + r.Revision
}

// check refuses names that the hub does not allow, and with them all that
// would not be plain file names in the cache.
func (r Repo) check() error {
	if r.Kind != Model && r.Kind != Dataset {
		return fmt.Errorf("%q is not a kind of repository: want model or dataset", r.Kind)
	}
	if err := hubid.Check(r.ID); err != nil {
		return err
	}
	if !isRevision(r.revision()) {
		return fmt.Errorf("%q is not a revision: want a branch, a tag or a commit", r.Revision)
	}
	return nil
}

// cutID splits org/name.
func cutID(id string) (org, name string) {
	org, name, _ = strings.Cut(id, "/")
	return org, name
}

// isRevision follows git's rules for refs, and keeps out what would be another
// file than refs/REVISION in the cache.
func isRevision(s string) bool {
	return filepath.IsLocal(s) && len(s) <= 200 && !strings.HasPrefix(s, "-") &&
		!strings.Contains(s, "..") && !strings.Contains(s, "//") && !strings.HasSuffix(s, "/") &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`\:*?"<>|~^[`, r) })
}

// isCommit recognises a whole commit hash.
func isCommit(s string) bool { return isHex(s, 40) }

// isHex reports whether s is n lower-case hexadecimal digits.
func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

func (r Repo) revision() string {
	if r.Revision == "" {
		return defaultRevision
	}
	return r.Revision
}

// folder is the repository's directory in the cache.
func (r Repo) folder() string {
	return string(r.Kind) + "s--" + strings.ReplaceAll(r.ID, "/", "--")
}

// api is the path below the endpoint of the repository's API.
func (r Repo) api() string { return "/api/" + string(r.Kind) + "s/" + r.ID }

// web is the path of the repository's page, below which lie its files.
func (r Repo) web() string {
	if r.Kind == Dataset {
		return "/datasets/" + r.ID
	}
	return "/" + r.ID
}

// resolve is the path of a file at a commit.
func (r Repo) resolve(commit, name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return r.web() + "/resolve/" + commit + "/" + strings.Join(parts, "/")
}
