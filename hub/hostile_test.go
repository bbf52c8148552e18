package hub_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/hubtest"
)

// TestHostileListings: names, sizes and hashes that no honest hub sends.
func TestHostileListings(t *testing.T) {
	const sha = "0123456789abcdef0123456789abcdef01234567"
	for name, line := range map[string]string{
		"parent":          `{"type":"file","path":"../evil","size":1,"oid":"` + sha + `"}`,
		"deep parent":     `{"type":"file","path":"a/../../evil","size":1,"oid":"` + sha + `"}`,
		"absolute":        `{"type":"file","path":"/etc/evil","size":1,"oid":"` + sha + `"}`,
		"empty":           `{"type":"file","path":"","size":1,"oid":"` + sha + `"}`,
		"git":             `{"type":"file","path":".git/config","size":1,"oid":"` + sha + `"}`,
		"backslash":       `{"type":"file","path":"..\\evil","size":1,"oid":"` + sha + `"}`,
		"drive":           `{"type":"file","path":"C:evil","size":1,"oid":"` + sha + `"}`,
		"control":         `{"type":"file","path":"evil\u001b[2J","size":1,"oid":"` + sha + `"}`,
		"zero byte":       `{"type":"file","path":"evil\u0000.txt","size":1,"oid":"` + sha + `"}`,
		"negative size":   `{"type":"file","path":"evil","size":-1,"oid":"` + sha + `"}`,
		"absurd size":     `{"type":"file","path":"evil","size":9000000000000000000,"oid":"` + sha + `"}`,
		"absurd LFS size": `{"type":"file","path":"evil","size":1,"oid":"` + sha + `","lfs":{"oid":"` + sha + sha[:24] + `","size":2000000000000000}}`,
		"hash is a path":  `{"type":"file","path":"evil","size":1,"oid":"../../../../../../evil"}`,
		"LFS hash":        `{"type":"file","path":"evil","size":1,"oid":"` + sha + `","lfs":{"oid":"../../evil","size":1}}`,
		"twice":           `{"type":"file","path":"evil","size":1,"oid":"` + sha + `"},{"type":"file","path":"evil","size":1,"oid":"` + sha + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.Add("model", modelID, modelFiles())
			s.Between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if strings.Contains(r.URL.Path, "/tree/") {
					_, _ = w.Write([]byte("[" + line + "]"))
					return
				}
				next.ServeHTTP(w, r)
			})
			client := newClient(t, s)
			_, err := pull(client, repo(""))
			if !errors.Is(err, hub.ErrUnsafe) {
				t.Errorf("%v, want it refused", err)
			}
			explains(t, err, "refused", "org/model")
			for _, q := range s.Log() {
				if strings.Contains(q.Path, "/resolve/") {
					t.Errorf("asked for %s", q.Path)
				}
			}
			top := filepath.Dir(client.Cache)
			for _, l := range layout(t, top) {
				if strings.Contains(l, "evil") || strings.Contains(l, "blobs") {
					t.Errorf("left behind: %s", l)
				}
			}
		})
	}
}

func TestHostileLists(t *testing.T) {
	s := newServer(t)
	s.Between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/tree/") {
			w.Header().Set("Link", "<"+s.URL+r.URL.Path+`>; rel="next"`)
			_, _ = w.Write([]byte("[]"))
			return
		}
		next.ServeHTTP(w, r)
	})
	s.Add("model", modelID, modelFiles())
	if _, err := newClient(t, s).Info(context.Background(), repo("")); !errors.Is(err, hub.ErrUnsafe) {
		t.Errorf("%v: a list without an end", err)
	}
}

// TestMoreThanTheDiskHolds: the hub says that a file has 900 GiB.
func TestMoreThanTheDiskHolds(t *testing.T) {
	s := newServer(t)
	s.Add("model", modelID, modelFiles())
	c := newClient(t, s)
	info, err := c.Info(context.Background(), repo(""))
	if err != nil {
		t.Fatal(err)
	}
	for i := range info.Files {
		info.Files[i].Size = 1 << 40
	}
	_, err = c.Download(context.Background(), info, nil, nil)
	if !errors.Is(err, hub.ErrNoSpace) {
		t.Errorf("%v", err)
	}
	explains(t, err, "has room for", "free some space")
	if lines := matching(layout(t, c.Cache), "blobs"); len(lines) > 0 {
		t.Errorf("left behind: %v", lines)
	}
}

// TestLinksOutOfTheCache: a cache that somebody has prepared.
func TestLinksOutOfTheCache(t *testing.T) {
	files := modelFiles()
	for name, link := range map[string]func(base, commit string) string{
		"entry":     func(base, commit string) string { return filepath.Join(base, "snapshots", commit, "config.json") },
		"snapshot":  func(base, commit string) string { return filepath.Join(base, "snapshots", commit) },
		"snapshots": func(base, commit string) string { return filepath.Join(base, "snapshots") },
		"blobs":     func(base, commit string) string { return filepath.Join(base, "blobs") },
		"blob": func(base, commit string) string {
			return filepath.Join(base, "blobs", hubtest.BlobSHA1(files["config.json"]))
		},
		"incomplete": func(base, commit string) string {
			return filepath.Join(base, "blobs", hubtest.BlobSHA1(files["config.json"])+".incomplete")
		},
		"repository": func(base, commit string) string { return base },
		"refs":       func(base, commit string) string { return filepath.Join(base, "refs") },
		"locks":      func(base, commit string) string { return filepath.Join(filepath.Dir(base), ".locks") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			commit := s.Add("model", modelID, files)
			c := newClient(t, s)
			outside := t.TempDir()
			secret := filepath.Join(outside, "config.json")
			if err := os.WriteFile(secret, files["config.json"], 0o666); err != nil {
				t.Fatal(err)
			}
			at, target := link(filepath.Join(c.Cache, "models--org--model"), commit), outside
			if name == "entry" || name == "blob" || name == "incomplete" {
				target = secret
			}
			if err := os.MkdirAll(filepath.Dir(at), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, at); err != nil {
				t.Skip("no symbolic links here:", err)
			}
			_, err := pull(c, repo(""), "config.json", "sub/folder/with space & more.txt")
			if !errors.Is(err, hub.ErrUnsafe) {
				t.Errorf("%v, want it refused", err)
			}
			explains(t, err, "out of the cache", outside)
			if lines := layout(t, outside); len(lines) != 1 {
				t.Errorf("outside there is now %v", lines)
			}
			if raw, _ := os.ReadFile(secret); string(raw) != string(files["config.json"]) {
				t.Error("the file outside was changed")
			}
		})
	}
}
