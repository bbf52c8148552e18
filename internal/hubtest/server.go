// Package hubtest is a hub for tests: an HTTP server that answers like the
// Hugging Face hub, with a second server, another origin, as the storage behind
// it. It keeps repositories in memory, writes down every request, and lets a
// test come between a request and its answer.
//
// It speaks what hub speaks: revisions, listings in pages, files with the
// redirects and headers of the real one, search; creating repositories, the
// preupload question, large file storage in one piece and in parts, commits. It
// is for tests only and knows nothing of the client.
package hubtest

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Token is the one that the server accepts.
const Token = "hf_ThisIsASecretOfTheTests"

// User owns what is created with the token.
const User = "me"

// Server is a hub and its storage. Its fields may be set before the first
// request.
type Server struct {
	URL     string // of the hub
	Storage string // of the storage, another origin

	LFSSize  int // files of this size and more are in large file storage; 0: 1000
	PartSize int // uploads larger than this go in parts; 0: 4000
	PageSize int // files in a page of a listing; 0: 1000

	mu      sync.Mutex
	repos   map[string]*Repo
	objects map[string][]byte // large file storage, by SHA-256
	parts   map[string]map[int][]byte
	log     []Request
	between func(http.ResponseWriter, *http.Request, http.Handler)
	servers []*httptest.Server
}

// Request is what was asked for.
type Request struct {
	Method, Host, Path, Query string
	Range, IfRange            string
	Auth                      string // the Authorization header
	Size                      int64  // of the body, as announced
}

// Repo is a repository.
type Repo struct {
	Kind, ID string
	Private  bool
	Gated    bool // files need a token with access, which none has
	heads    map[string]string
	commits  map[string]map[string][]byte
}

// New starts the servers; Close ends them.
func New() *Server {
	s := &Server{repos: map[string]*Repo{}, objects: map[string][]byte{}, parts: map[string]map[int][]byte{}}
	hub := httptest.NewServer(s.wrap(http.HandlerFunc(s.hub)))
	storage := httptest.NewServer(s.wrap(http.HandlerFunc(s.storage)))
	s.URL, s.Storage, s.servers = hub.URL, storage.URL, []*httptest.Server{hub, storage}
	return s
}

// Close ends the servers.
func (s *Server) Close() {
	for _, h := range s.servers {
		h.CloseClientConnections()
		h.Close()
	}
}

// Between puts f between requests and their answers; next answers normally.
// It may run at several places at once. nil takes it away.
func (s *Server) Between(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.between = f
}

// Log returns the requests so far.
func (s *Server) Log() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Forget empties the log.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

func (s *Server) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.log = append(s.log, Request{Method: r.Method, Host: r.Host, Path: r.URL.Path, Query: r.URL.RawQuery,
			Range: r.Header.Get("Range"), IfRange: r.Header.Get("If-Range"), Auth: r.Header.Get("Authorization"), Size: r.ContentLength})
		between := s.between
		s.mu.Unlock()
		if between != nil {
			between(w, r, h)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// Limit is a writer that fails after n bytes of the body.
func Limit(w http.ResponseWriter, n int) http.ResponseWriter { return &limited{w, n} }

type limited struct {
	http.ResponseWriter
	left int
}

func (l *limited) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func (l *limited) Write(p []byte) (int, error) {
	if len(p) < l.left {
		l.left -= len(p)
		return l.ResponseWriter.Write(p)
	}
	n, _ := l.ResponseWriter.Write(p[:l.left])
	l.left = 0
	return n, io.ErrShortWrite
}

// Cut is a writer that breaks the connection after n bytes of the body.
func Cut(w http.ResponseWriter, n int) http.ResponseWriter { return cut{Limit(w, n)} }

type cut struct{ http.ResponseWriter }

func (c cut) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c cut) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	if err != nil {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

// Add makes a repository, or a new commit on main of one, with just these files,
// and returns the commit.
func (s *Server) Add(kind, id string, files map[string][]byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[kind+"/"+id]
	if r == nil {
		r = &Repo{Kind: kind, ID: id, heads: map[string]string{}, commits: map[string]map[string][]byte{}}
		s.repos[kind+"/"+id] = r
	}
	return s.commit(r, "main", files)
}

// Tag gives a commit another name: a branch, a tag or a ref.
func (s *Server) Tag(kind, id, name, commit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repos[kind+"/"+id].heads[name] = commit
}

// Set changes a repository.
func (s *Server) Set(kind, id string, f func(*Repo)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.repos[kind+"/"+id])
}

// Has says whether a repository exists, and whether it is private.
func (s *Server) Has(kind, id string) (exists, private bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[kind+"/"+id]
	return r != nil, r != nil && r.Private
}

// Files returns what is at a revision of a repository.
func (s *Server) Files(kind, id, revision string) map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.repos[kind+"/"+id]; r != nil {
		return maps.Clone(r.commits[r.resolve(revision)])
	}
	return nil
}

// Commits is how many commits a repository has.
func (s *Server) Commits(kind, id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.repos[kind+"/"+id].commits)
}

// Objects is how many objects are in large file storage.
func (s *Server) Objects() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.objects)
}

// commit is called with the lock held.
func (s *Server) commit(r *Repo, branch string, files map[string][]byte) string {
	h := sha1.New()
	_, _ = fmt.Fprint(h, r.Kind, r.ID, r.heads[branch])
	for _, name := range slices.Sorted(maps.Keys(files)) {
		_, _ = fmt.Fprintf(h, "%s %d\n%s", name, len(files[name]), files[name])
		if s.isLFS(len(files[name])) {
			s.objects[SHA256(files[name])] = files[name]
		}
	}
	sha := hex.EncodeToString(h.Sum(nil))
	r.commits[sha], r.heads[branch] = maps.Clone(files), sha
	return sha
}

func (s *Server) isLFS(size int) bool {
	if s.LFSSize == 0 {
		return size >= 1000
	}
	return size >= s.LFSSize
}

// resolve returns the commit a revision stands for, or "".
func (r *Repo) resolve(revision string) string {
	if sha, ok := r.heads[revision]; ok {
		return sha
	}
	if _, ok := r.commits[revision]; ok {
		return revision
	}
	return ""
}

// SHA256 is the name of an object in large file storage.
func SHA256(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// BlobSHA1 is git's name of a file.
func BlobSHA1(content []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(content)), content...))
	return hex.EncodeToString(sum[:])
}

// fail answers as the hub does when something is wrong.
func fail(w http.ResponseWriter, status int, code, message string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	w.Header().Set("X-Error-Message", message)
	answer(w, status, map[string]string{"error": message})
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// hub answers below the hub's own address.
func (s *Server) hub(w http.ResponseWriter, r *http.Request) {
	if auth := r.Header.Get("Authorization"); auth != "" && auth != "Bearer "+Token {
		fail(w, http.StatusUnauthorized, "", "Invalid credentials in Authorization header")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := segments(r.URL)
	switch {
	case len(parts) == 3 && parts[0] == "api" && parts[1] == "repos" && parts[2] == "create":
		s.create(w, r)
	case len(parts) == 2 && parts[0] == "api":
		s.search(w, r, strings.TrimSuffix(parts[1], "s"))
	case len(parts) > 4 && parts[0] == "api" && parts[1] == "resolve-cache":
		s.plainFile(w, r, parts[2:])
	case len(parts) >= 4 && parts[0] == "api":
		s.api(w, r, strings.TrimSuffix(parts[1], "s"), parts[2]+"/"+parts[3], parts[4:])
	case len(parts) > 0 && parts[0] == "lfs":
		s.lfs(w, r, parts[1:])
	case len(parts) >= 4:
		kind := "model"
		if parts[0] == "datasets" {
			kind, parts = "dataset", parts[1:]
		}
		s.web(w, r, kind, parts[0]+"/"+parts[1], parts[2:])
	default:
		http.NotFound(w, r)
	}
}

// segments splits a path, whose parts may hold escaped slashes.
func segments(u *url.URL) []string {
	parts := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	for i, p := range parts {
		parts[i], _ = url.PathUnescape(p)
	}
	return parts
}

// find returns a repository that the request may see.
func (s *Server) find(w http.ResponseWriter, r *http.Request, kind, id string) *Repo {
	repo := s.repos[kind+"/"+id]
	signedIn := r.Header.Get("Authorization") != ""
	switch {
	case repo != nil && (!repo.Private || signedIn):
		return repo
	case signedIn:
		fail(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
	default:
		fail(w, http.StatusUnauthorized, "RepoNotFound", "Repository not found")
	}
	return nil
}
