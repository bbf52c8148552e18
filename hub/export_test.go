package hub

import (
	"encoding/json"
	"net/http"
	"time"
)

// ReadListing reads a page of a listing and checks it.
func ReadListing(raw []byte) ([]File, error) {
	var page []treeEntry
	if err := json.Unmarshal(raw, &page); err != nil {
		return nil, err
	}
	var files []File
	for _, e := range page {
		files = append(files, e.file())
	}
	return files, checkTree(Repo{Kind: Model, ID: "org/model"}, files)
}

// Paths are all the places in a cache that the names of a repository and a file lead to.
func Paths(r Repo, f File, commit string) []string {
	s := &store{repo: r}
	return []string{r.folder(), s.blob(f.ETag()), s.incomplete(f.ETag()), s.lock(f.ETag()), s.ref(r.revision()), s.snapshot(commit) + "/" + f.Name}
}

// IsPortable reports whether a file may be put into a snapshot.
func IsPortable(name string) bool { return isPortable(name) }

// WaitOf reads how long a server asks to wait.
func WaitOf(h http.Header) time.Duration { return time.Duration(waitOf(h)) }
