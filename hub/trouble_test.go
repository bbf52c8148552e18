package hub_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/hubtest"
)

// sound wants every blob that looks finished to be what its name says, and
// every entry of a snapshot to lead to one.
func sound(t *testing.T, cache string) {
	t.Helper()
	err := filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		dir := filepath.Base(filepath.Dir(path))
		switch {
		case d.IsDir():
			return nil
		case strings.Contains(filepath.ToSlash(path), "/snapshots/"):
			if _, err := os.Stat(path); err != nil {
				t.Errorf("an entry leads nowhere: %v", err)
			}
		case dir == "blobs" && !strings.HasSuffix(path, ".incomplete"):
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if name := filepath.Base(path); name != hubtest.SHA256(raw) && name != hubtest.BlobSHA1(raw) {
				t.Errorf("blob %s is not what its name says", name)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// isObject recognises requests of the storage for a file.
func isObject(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/objects/")
}

type between = func(http.ResponseWriter, *http.Request, http.Handler)

// objects makes a between that concerns files of the storage only; n counts
// them from 1.
func objects(f func(n int, w http.ResponseWriter, r *http.Request, next http.Handler)) between {
	var count atomic.Int32
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !isObject(r) {
			next.ServeHTTP(w, r)
			return
		}
		f(int(count.Add(1)), w, r, next)
	}
}

// always answers every request for a file of the storage alike.
func always(f http.HandlerFunc) between {
	return objects(func(_ int, w http.ResponseWriter, r *http.Request, _ http.Handler) { f(w, r) })
}

const bigSize = 200_000

// TestTrouble: a repository of one large file, and everything that can happen
// to it on the way.
func TestTrouble(t *testing.T) {
	big, other := content(9, bigSize), content(10, bigSize)
	send := func(raw []byte, announced int) between {
		return always(func(w http.ResponseWriter, r *http.Request) {
			if announced >= 0 {
				w.Header().Set("Content-Length", strconv.Itoa(announced))
			}
			_, _ = w.Write(raw)
			_ = http.NewResponseController(w).Flush()
		})
	}
	status := func(code int, header ...string) between {
		return always(func(w http.ResponseWriter, r *http.Request) {
			if len(header) > 0 {
				w.Header().Set(header[0], header[1])
			}
			http.Error(w, "trouble", code)
		})
	}
	page := func(announced bool) between {
		return always(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			if announced {
				w.Header().Set("Content-Length", "21")
			}
			_, _ = w.Write([]byte("<html>log in</html>\r\n"))
			_ = http.NewResponseController(w).Flush()
		})
	}
	firstCut := func(f http.HandlerFunc) between {
		return objects(func(n int, w http.ResponseWriter, r *http.Request, next http.Handler) {
			if n == 1 {
				next.ServeHTTP(hubtest.Cut(w, 50_000), r)
				return
			}
			f(w, r)
		})
	}
	for _, c := range []struct {
		name    string
		between between
		kind    error    // nil: it ends well
		partial bool     // and what has arrived is kept
		says    []string // in the message or the remedy
		left    int64    // bytes of the .incomplete file; -1: none
		once    bool     // and it is not asked for again
	}{
		{name: "5xx once", between: objects(func(n int, w http.ResponseWriter, r *http.Request, next http.Handler) {
			if n == 1 {
				http.Error(w, "", http.StatusBadGateway)
				return
			}
			next.ServeHTTP(w, r)
		})},
		{name: "5xx for ever", between: status(503), kind: hub.ErrServer, partial: true, says: []string{"503", "same command again"}, left: 0},
		{name: "429 with Retry-After", between: objects(func(n int, w http.ResponseWriter, r *http.Request, next http.Handler) {
			if n == 1 {
				w.Header().Set("Retry-After", "1")
				http.Error(w, "", http.StatusTooManyRequests)
				return
			}
			next.ServeHTTP(w, r)
		})},
		{name: "429 that asks for an hour", between: status(429, "Retry-After", "3600"), kind: hub.ErrServer, partial: true, says: []string{"429", "same command again"}, left: 0},
		{name: "403 of the storage", between: status(403), kind: hub.ErrServer, says: []string{"403", "/objects/"}, left: 0},
		{name: "dropped once", between: firstCut(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "bytes=50000-" || r.Header.Get("If-Range") == "" {
				http.Error(w, "wrong range", http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Range", "bytes 50000-199999/200000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(big[50_000:])
		})},
		{name: "dropped for ever", between: firstCut(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
			kind: hub.ErrUnreachable, partial: true, says: []string{"50000 of 200005 bytes", "EOF", "goes on where"}, left: 50_000},
		{name: "no ranges", between: firstCut(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(big) })},
		{name: "416", between: firstCut(func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "", http.StatusRequestedRangeNotSatisfiable)
		}),
			kind: hub.ErrCorrupt, says: []string{"416", "listing"}, left: -1},
		{name: "another range than asked for", between: firstCut(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-199999/200000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(big)
		}), kind: hub.ErrCorrupt, says: []string{"range"}, left: -1},
		{name: "changed between two ranges, and the storage says so", between: firstCut(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"other"`)
			_, _ = w.Write(other) // If-Range did not match: the whole of the new file
		}), kind: hub.ErrCorrupt, says: []string{"its hash is"}, left: -1},
		{name: "changed between two ranges, and If-Range is ignored", between: firstCut(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"other"`)
			w.Header().Set("Content-Range", "bytes 50000-199999/200000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(other[50_000:])
		}), kind: hub.ErrCorrupt, says: []string{"changed between two ranges"}, left: -1},
		{name: "changed between two ranges, and nobody says so", between: firstCut(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 50000-199999/200000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(other[50_000:])
		}), kind: hub.ErrCorrupt, says: []string{"its hash is"}, left: -1},
		{name: "ends early", between: send(big[:1000], bigSize), kind: hub.ErrUnreachable, partial: true, says: []string{"EOF"}, left: 1000},
		{name: "ends early, of unknown length", between: send(big[:1000], -1), kind: hub.ErrServer, partial: true, says: []string{"after 1000 bytes, early"}, left: 1000, once: true},
		{name: "a page of known length", between: page(true), kind: hub.ErrServer, partial: true, says: []string{"a web page (text/html) of 21 bytes", "200000", "proxy"}, left: 0, once: true},
		{name: "a page of unknown length", between: page(false), kind: hub.ErrServer, partial: true, says: []string{"a web page (text/html) of 21 bytes", "proxy"}, left: 0, once: true},
		{name: "packed", between: always(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(big)
		}), kind: hub.ErrServer, partial: true, says: []string{`packed ("gzip")`, "proxy"}, left: 0, once: true},
		{name: "redirects to ftp", between: always(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "ftp://example.org/big.safetensors")
			w.WriteHeader(http.StatusFound)
		}), kind: hub.ErrServer, says: []string{`redirects to "ftp:", which is not http: refused`}, left: 0, once: true},
		{name: "redirects to a file", between: always(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}), kind: hub.ErrServer, says: []string{`redirects to "file:"`}, left: 0, once: true},
		{name: "announced shorter", between: send(big[:1000], 1000), kind: hub.ErrServer, partial: true, says: []string{"1000 bytes are announced", "200000", "proxy"}, left: 0, once: true},
		{name: "announced longer", between: send(append(big, 1), bigSize+1), kind: hub.ErrServer, partial: true, says: []string{"200001 bytes are announced"}, left: 0, once: true},
		{name: "longer, of unknown length", between: send(append(big, 1), -1), kind: hub.ErrCorrupt, says: []string{"more than its 200000 bytes"}, left: -1},
		{name: "wrong hash", between: send(other, bigSize), kind: hub.ErrCorrupt, says: []string{"big.safetensors", "its hash is " + hubtest.SHA256(other)}, left: -1},
		{name: "redirects in a circle", between: always(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), http.StatusFound) }),
			kind: nil, says: []string{"redirects"}, left: 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			commit := s.Add("model", modelID, map[string][]byte{"big.safetensors": big, "small.txt": []byte("small")})
			client := newClient(t, s)
			client.Parallel = 1
			var asked atomic.Int32
			s.Between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if isObject(r) {
					asked.Add(1)
				}
				c.between(w, r, next)
			})
			dir, err := pull(client, repo(""))
			sound(t, client.Cache)
			if n := asked.Load(); c.once && n != 1 {
				t.Errorf("asked %d times", n)
			}
			if c.kind == nil && c.says == nil {
				if err != nil {
					t.Fatal(err)
				}
				same(t, dir, s.Files("model", modelID, "main"))
				return
			}
			if err == nil || c.kind != nil && !errors.Is(err, c.kind) || errors.Is(err, hub.ErrPartial) != c.partial {
				t.Errorf("%v (partial %v), want %v (partial %v)", err, errors.Is(err, hub.ErrPartial), c.kind, c.partial)
			}
			explains(t, err, c.says...)
			if _, err := os.Lstat(filepath.Join(client.Cache, "models--org--model", "snapshots", commit, "big.safetensors")); err == nil {
				t.Error("the snapshot has an entry")
			}
			incomplete(t, client, hubtest.SHA256(big), c.left)
			// Whatever was left does no harm once all is well.
			s.Between(nil)
			if dir, err = pull(client, repo("")); err != nil {
				t.Fatal(err)
			}
			same(t, dir, s.Files("model", modelID, "main"))
		})
	}
}

// explains wants texts in an error's message or remedy, and no secrets.
func explains(t *testing.T, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	text := err.Error()
	var e *hub.Error
	if errors.As(err, &e) {
		text += " | " + e.Remedy
	}
	for _, want := range says {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
	for _, secret := range []string{hubtest.Token, "a-secret-signature"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q tells a secret", text)
		}
	}
}

func incomplete(t *testing.T, c *hub.Client, etag string, want int64) {
	t.Helper()
	path := filepath.Join(c.Cache, "models--org--model", "blobs", etag)
	if _, err := os.Stat(path); err == nil {
		t.Error("there is a finished blob")
	}
	info, err := os.Stat(path + ".incomplete")
	switch {
	case want < 0 && err == nil:
		t.Errorf("%d bytes are left, want none", info.Size())
	case want >= 0 && err != nil:
		t.Errorf("%v, want %d bytes", err, want)
	case want >= 0 && info.Size() != want:
		t.Errorf("%d bytes are left, want %d", info.Size(), want)
	}
}

func TestRefusals(t *testing.T) {
	const signIn = "/settings/tokens"
	for _, c := range []struct {
		name  string
		token string
		setup func(*hubtest.Server)
		repo  hub.Repo
		files []string
		kind  error
		says  []string
	}{
		{name: "401 of an unknown name", repo: hub.Repo{Kind: hub.Model, ID: "org/modle"}, kind: hub.ErrNotFound, says: []string{"org/modle", "did you mean org/model", "private", "HF_TOKEN", signIn}},
		{name: "404 of an unknown name", token: hubtest.Token, repo: hub.Repo{Kind: hub.Model, ID: "org/modle"}, kind: hub.ErrNotFound, says: []string{"did you mean org/model", "token of HF_TOKEN"}},
		{name: "404 of an unknown owner", repo: hub.Repo{Kind: hub.Model, ID: "orgs/model"}, kind: hub.ErrNotFound, says: []string{"did you mean org/model"}},
		{name: "404 of a data set", repo: hub.Repo{Kind: hub.Dataset, ID: "org/model"}, kind: hub.ErrNotFound, says: []string{"no such dataset"}},
		{name: "private", setup: func(s *hubtest.Server) { s.Set("model", modelID, func(r *hubtest.Repo) { r.Private = true }) },
			repo: repo(""), kind: hub.ErrNotFound, says: []string{"private", "HF_TOKEN"}},
		{name: "a token that is none", token: "hf_wrong", repo: repo(""), kind: hub.ErrUnauthorized, says: []string{"token of HF_TOKEN", signIn}},
		{name: "gated, not signed in", setup: gate, repo: repo(""), kind: hub.ErrGated, says: []string{"licence", "accept it at http://", "/org/model", "HF_TOKEN"}},
		{name: "gated, not accepted", token: hubtest.Token, setup: gate, repo: repo(""), kind: hub.ErrGated, says: []string{"licence", "accept it at http://", "/org/model", "account"}},
		{name: "unknown revision", repo: repo("v1.1"), kind: hub.ErrRevision, says: []string{`"v1.1"`, "did you mean v1.0"}},
		{name: "unknown file", repo: repo(""), files: []string{"confg.json"}, kind: hub.ErrEntry, says: []string{`"confg.json"`, "did you mean config.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			s.Tag("model", modelID, "v1.0", s.Add("model", modelID, modelFiles()))
			if c.setup != nil {
				c.setup(s)
			}
			client := newClient(t, s)
			client.Token = c.token
			_, err := pull(client, c.repo, c.files...)
			if !errors.Is(err, c.kind) || errors.Is(err, hub.ErrPartial) {
				t.Errorf("%v, want %v", err, c.kind)
			}
			explains(t, err, c.says...)
			sound(t, client.Cache)
			if lines := matching(layout(t, mkdir(t, client.Cache)), "blobs/"); len(lines) > 0 && matching(lines, ".incomplete") == nil {
				t.Errorf("left behind: %v", lines)
			}
		})
	}
}

func gate(s *hubtest.Server) {
	s.Set("model", modelID, func(r *hubtest.Repo) { r.Gated = true })
}

func mkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAPITrouble(t *testing.T) {
	const silence = "silence"
	for _, c := range []struct {
		name string
		f    http.HandlerFunc
		kind error
		says []string
	}{
		{"500", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusInternalServerError) }, hub.ErrServer, []string{"500", "out of order"}},
		{"429", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("RateLimit", `"api";r=0;t=7200`)
			http.Error(w, "", http.StatusTooManyRequests)
		}, hub.ErrServer, []string{"slow down (429)", "wait 2h0m1s"}},
		{"a login page", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, hub.ErrUnreachable, []string{"not what the hub's API gives", "HF_ENDPOINT"}},
		{"no commit", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"sha":"../../x"}`)) }, hub.ErrServer, []string{"without a commit"}},
		{"echoes the token", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Error-Message", "bad "+r.Header.Get("Authorization"))
			w.WriteHeader(http.StatusForbidden)
		}, hub.ErrUnauthorized, []string{"bad Bearer [token]"}},
		{silence, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(time.Minute):
			}
		}, hub.ErrUnreachable, []string{"nothing arrived for too long"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			s.Between(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { c.f(w, r) })
			client := newClient(t, s)
			if c.name == silence { // others may answer as late as a busy machine does
				client.Retry.Stall = 50 * time.Millisecond
			}
			_, err := client.Info(context.Background(), repo(""))
			if !errors.Is(err, c.kind) {
				t.Errorf("%v, want %v", err, c.kind)
			}
			explains(t, err, c.says...)
		})
	}
}
