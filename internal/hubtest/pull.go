package hubtest

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// api answers below /api/KINDs/ORG/NAME.
func (s *Server) api(w http.ResponseWriter, r *http.Request, kind, id string, rest []string) {
	repo := s.find(w, r, kind, id)
	if repo == nil {
		return
	}
	what, revision := "revision", "main"
	if len(rest) > 0 {
		what = rest[0]
	}
	if len(rest) > 1 {
		revision = rest[1]
	}
	if what == "refs" {
		s.refs(w, repo)
		return
	}
	commit := repo.resolve(revision)
	if commit == "" && len(repo.commits) > 0 {
		fail(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	switch what {
	case "revision":
		answer(w, http.StatusOK, map[string]any{"id": id, "sha": commit, "private": repo.Private, "gated": repo.Gated})
	case "tree":
		s.tree(w, r, repo.commits[commit])
	case "preupload":
		s.preupload(w, r, repo.commits[commit])
	case "commit":
		s.push(w, r, repo, revision)
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) refs(w http.ResponseWriter, repo *Repo) {
	type ref struct {
		Name   string `json:"name"`
		Target string `json:"targetCommit"`
	}
	branches, tags := []ref{}, []ref{}
	for _, name := range slices.Sorted(maps.Keys(repo.heads)) {
		if strings.HasPrefix(name, "v") {
			tags = append(tags, ref{name, repo.heads[name]})
		} else if !strings.HasPrefix(name, "refs/") {
			branches = append(branches, ref{name, repo.heads[name]})
		}
	}
	answer(w, http.StatusOK, map[string]any{"branches": branches, "tags": tags, "converts": []ref{}})
}

func (s *Server) tree(w http.ResponseWriter, r *http.Request, files map[string][]byte) {
	size := s.PageSize
	if size == 0 {
		size = 1000
	}
	names := slices.Sorted(maps.Keys(files))
	at, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	entries := []map[string]any{}
	if at == 0 {
		entries = append(entries, map[string]any{"type": "directory", "path": "a-folder", "oid": strings.Repeat("0", 40), "size": 0})
	}
	for _, name := range names[at:min(at+size, len(names))] {
		content := files[name]
		e := map[string]any{"type": "file", "path": name, "size": len(content), "oid": BlobSHA1(content)}
		if s.isLFS(len(content)) {
			e["oid"] = BlobSHA1([]byte("pointer to " + SHA256(content)))
			e["lfs"] = map[string]any{"oid": SHA256(content), "size": len(content), "pointerSize": 130}
		}
		entries = append(entries, e)
	}
	if at+size < len(names) {
		next := *r.URL
		q := next.Query()
		q.Set("cursor", strconv.Itoa(at+size))
		next.RawQuery = q.Encode()
		w.Header().Set("Link", fmt.Sprintf(`<%s%s>; rel="next"`, s.URL, next.String()))
	}
	answer(w, http.StatusOK, entries)
}

func (s *Server) search(w http.ResponseWriter, r *http.Request, kind string) {
	q := r.URL.Query()
	found := []map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(s.repos)) {
		repo := s.repos[key]
		org, name, _ := strings.Cut(repo.ID, "/")
		if repo.Kind == kind && !repo.Private && (!q.Has("author") || q.Get("author") == org) && strings.Contains(name, q.Get("search")) {
			found = append(found, map[string]any{"id": repo.ID})
		}
	}
	answer(w, http.StatusOK, found)
}

// web answers below /ORG/NAME and /datasets/ORG/NAME.
func (s *Server) web(w http.ResponseWriter, r *http.Request, kind, id string, rest []string) {
	if len(rest) == 4 && rest[0] == "info" && rest[1] == "lfs" {
		s.batch(w, r)
		return
	}
	repo := s.find(w, r, kind, id)
	switch {
	case repo == nil:
		return
	case len(rest) < 3 || rest[0] != "resolve":
		http.NotFound(w, r)
		return
	case repo.Gated && r.Header.Get("Authorization") == "":
		fail(w, http.StatusUnauthorized, "GatedRepo", "Access to "+kind+" "+id+" is restricted. You must have access to it and be authenticated to access it. Please log in.")
		return
	case repo.Gated:
		fail(w, http.StatusForbidden, "GatedRepo", "Access to "+kind+" "+id+" is restricted and you are not in the authorized list. Visit "+s.URL+"/"+id+" to ask for access.")
		return
	}
	commit, name := repo.resolve(rest[1]), strings.Join(rest[2:], "/")
	content, ok := repo.commits[commit][name]
	switch {
	case commit == "":
		fail(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+rest[1])
		return
	case !ok:
		w.Header().Set("X-Repo-Commit", commit)
		fail(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	w.Header().Set("Accept-Ranges", "bytes")
	if s.isLFS(len(content)) {
		oid := SHA256(content)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(content)))
		w.Header().Set("X-Linked-Etag", `"`+oid+`"`)
		w.Header().Set("Location", s.Storage+"/objects/"+oid+"?Signature=a-secret-signature")
		w.WriteHeader(http.StatusFound)
		return
	}
	w.Header().Set("X-Linked-Size", strconv.Itoa(len(content)))
	w.Header().Set("X-Linked-Etag", `"`+BlobSHA1(content)+`"`)
	w.Header().Set("Location", "/api/resolve-cache/"+kind+"s/"+id+"/"+commit+"/"+url.PathEscape(name))
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// plainFile serves a file that is not in large file storage.
func (s *Server) plainFile(w http.ResponseWriter, r *http.Request, rest []string) {
	repo := s.find(w, r, strings.TrimSuffix(rest[0], "s"), rest[1]+"/"+rest[2])
	if repo == nil {
		return
	}
	content := repo.commits[rest[3]][strings.Join(rest[4:], "/")]
	w.Header().Set("X-Repo-Commit", rest[3])
	serve(w, r, BlobSHA1(content), content)
}

// serve knows ranges, If-Range and 416.
func serve(w http.ResponseWriter, r *http.Request, etag string, content []byte) {
	w.Header().Set("ETag", `"`+etag+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// storage answers below the storage's address. It refuses what carries the
// hub's token, as S3 does with a signature beside another.
func (s *Server) storage(w http.ResponseWriter, r *http.Request) {
	parts := segments(r.URL)
	switch {
	case r.Header.Get("Authorization") != "":
		http.Error(w, "Only one auth mechanism allowed", http.StatusBadRequest)
	case !strings.Contains(r.URL.RawQuery, "Signature="):
		http.Error(w, "AccessDenied", http.StatusForbidden)
	case r.Method == http.MethodGet && parts[0] == "objects":
		s.mu.Lock()
		content, ok := s.objects[parts[1]]
		s.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		serve(w, r, "storage-"+parts[1][:16], content)
	case r.Method == http.MethodPut:
		s.upload(w, r, parts)
	default:
		http.NotFound(w, r)
	}
}
