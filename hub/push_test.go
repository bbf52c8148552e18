package hub_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/hubtest"
)

// pushFiles has files for every way up: inside the commit, large in one piece,
// large in parts, small but large by name, empty.
func pushFiles() map[string][]byte {
	return map[string][]byte{
		"README.md":                        []byte("# A model\n"),
		"config.json":                      []byte("{}"),
		"empty.txt":                        {},
		"tiny.safetensors":                 content(1, 100),
		"tokenizer.json":                   content(2, 3000),
		"model-00001-of-00002.safetensors": content(3, 50_000),
		"model-00002-of-00002.safetensors": content(4, 12_000),
		"sub/more.txt":                     []byte("more"),
	}
}

func writeFiles(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, raw := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		mkdir(t, filepath.Dir(path))
		if err := os.WriteFile(path, raw, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const mine = hubtest.User + "/pruned"

func push(c *hub.Client, dir string, opt hub.PushOptions) (*hub.Pushed, error) {
	return pushCtx(context.Background(), c, dir, opt)
}

func pushCtx(ctx context.Context, c *hub.Client, dir string, opt hub.PushOptions) (*hub.Pushed, error) {
	files, err := hub.ListUploads(dir)
	if err != nil {
		return nil, err
	}
	opt.Message = "Upload"
	return c.Push(ctx, hub.Repo{Kind: hub.Model, ID: mine}, files, opt)
}

// puts are the requests that sent something to the storage.
func puts(s *hubtest.Server) (n int, bytes int64) {
	for _, q := range s.Log() {
		if q.Method == http.MethodPut {
			n++
			bytes += q.Size
		}
	}
	return n, bytes
}

// arrived compares what is in the repository with what was pushed.
func arrived(t *testing.T, s *hubtest.Server, files map[string][]byte) {
	t.Helper()
	want := maps.Clone(files)
	want[".gitattributes"] = s.Files("model", mine, "main")[".gitattributes"]
	if diff := cmp.Diff(want, s.Files("model", mine, "main")); diff != "" {
		t.Error(diff)
	}
}

func TestPush(t *testing.T) {
	s, files := newServer(t), pushFiles()
	c := newClient(t, s)
	var said []string
	var mu sync.Mutex
	c.Trace = func(text string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, text)
	}
	dir := writeFiles(t, files)
	var done, total int64
	out, err := push(c, dir, hub.PushOptions{Progress: func(d, of int64) { done, total = d, of }})
	if err != nil {
		t.Fatal(err)
	}
	arrived(t, s, files)
	want := &hub.Pushed{Created: true, Private: true, URL: s.URL + "/" + mine, Commit: out.Commit, Uploaded: 8, Bytes: 65116}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	if done != total || total != 65100 {
		t.Errorf("progress %d of %d, want the bytes of large files", done, total)
	}
	if exists, private := s.Has("model", mine); !exists || !private {
		t.Error("the repository is not private")
	}
	if n := s.Commits("model", mine); n != 2 {
		t.Errorf("%d commits, want the first and ours", n)
	}
	// 50 000 bytes in parts of 4000, 12 000 in three, two in one piece.
	if n, bytes := puts(s); n != 13+3+2 || bytes != 65100 {
		t.Errorf("%d uploads of %d bytes", n, bytes)
	}
	for _, q := range s.Log() {
		if "http://"+q.Host != s.URL && q.Auth != "" {
			t.Errorf("the token went to %s", q.Host)
		}
	}
	for _, line := range said {
		if strings.Contains(line, hubtest.Token) || strings.Contains(line, "ignature") {
			t.Errorf("said %q", line)
		}
	}

	// Once more: nothing is new.
	s.Forget()
	again, err := push(c, dir, hub.PushOptions{})
	if err != nil || again.Uploaded != 0 || again.Skipped != 8 || again.Created || again.Commit != out.Commit {
		t.Errorf("%+v, %v", again, err)
	}
	if n, _ := puts(s); n != 0 || s.Commits("model", mine) != 2 {
		t.Errorf("%d uploads, %d commits", n, s.Commits("model", mine))
	}

	// One file of each kind changes.
	files["config.json"], files["tokenizer.json"] = []byte("{ }"), content(9, 3000)
	third, err := push(c, writeFiles(t, files), hub.PushOptions{})
	if err != nil || third.Uploaded != 2 || third.Skipped != 6 {
		t.Errorf("%+v, %v", third, err)
	}
	arrived(t, s, files)
}

// TestPushGoesOn: broken off in the middle of the large files, by an error, a
// closed connection or a signal, and repeated.
func TestPushGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		trouble func(http.ResponseWriter)
		kind    error
		says    []string
	}{
		"503":       {func(w http.ResponseWriter) { http.Error(w, "SlowDown", http.StatusServiceUnavailable) }, hub.ErrServer, []string{"503", "nothing has been committed"}},
		"expired":   {func(w http.ResponseWriter) { http.Error(w, "expired", http.StatusForbidden) }, hub.ErrServer, []string{"403"}},
		"dropped":   {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, hub.ErrUnreachable, []string{"nothing has been committed", "not sent twice"}},
		"cancelled": {nil, context.Canceled, []string{"cancelled", "not sent twice"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, files := newServer(t), pushFiles()
			client := newClient(t, s)
			dir := writeFiles(t, files)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			// The second part of the largest file is where it ends, every time.
			s.Between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method != http.MethodPut || !strings.HasPrefix(r.URL.Path, "/parts/"+hubtest.SHA256(files["model-00001-of-00002.safetensors"])) || !strings.HasSuffix(r.URL.Path, "/13") {
					next.ServeHTTP(w, r)
					return
				}
				if c.trouble == nil {
					_, _ = io.Copy(io.Discard, r.Body) // only then is a closed connection noticed
					cancel()
					<-r.Context().Done()
					return
				}
				c.trouble(w)
			})
			_, err := pushCtx(ctx, client, dir, hub.PushOptions{})
			if !errors.Is(err, c.kind) || !errors.Is(err, hub.ErrPartial) {
				t.Fatalf("%v, want %v", err, c.kind)
			}
			explains(t, err, c.says...)
			if got := s.Files("model", mine, "main"); len(got) != 1 {
				t.Errorf("after the failure there are %v", slices.Sorted(maps.Keys(got)))
			}
			there := s.Objects()
			s.Between(nil)
			s.Forget()
			if _, err := push(client, dir, hub.PushOptions{}); err != nil {
				t.Fatal(err)
			}
			arrived(t, s, files)
			sent := map[string]bool{}
			for _, q := range s.Log() {
				if q.Method == http.MethodPut {
					sent[strings.Split(q.Path, "/")[2][:64]] = true
				}
			}
			if len(sent) != 4-there {
				t.Errorf("%d of 4 large files were there, and %d were sent", there, len(sent))
			}
			if there == 0 {
				t.Log("nothing was there yet: the failure came too early to show anything")
			}
		})
	}
}

func TestPushTriesAgain(t *testing.T) {
	s, files := newServer(t), pushFiles()
	c := newClient(t, s)
	var n atomic.Int32
	s.Between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && n.Add(1)%2 == 1 {
			http.Error(w, "InternalError", http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(w, r)
	})
	c.Retry.Tries = 20
	var most, last int64
	if _, err := push(c, writeFiles(t, files), hub.PushOptions{Progress: func(done, total int64) { last, most = done, max(most, done) }}); err != nil {
		t.Fatal(err)
	}
	arrived(t, s, files)
	if last != 65100 {
		t.Errorf("progress ends at %d", last)
	}
}

func TestPushRefusals(t *testing.T) {
	for _, c := range []struct {
		name    string
		setup   func(*hub.Client, *hubtest.Server)
		opt     hub.PushOptions
		repo    string
		kind    error
		partial bool
		says    []string
	}{
		{name: "no token", setup: func(c *hub.Client, _ *hubtest.Server) { c.Token = "" }, kind: hub.ErrUnauthorized, says: []string{"needs a token", "HF_TOKEN"}},
		{name: "wrong token", setup: func(c *hub.Client, _ *hubtest.Server) { c.Token = "hf_wrong" }, kind: hub.ErrUnauthorized, says: []string{"does not accept the token"}},
		{name: "offline", setup: func(c *hub.Client, _ *hubtest.Server) { c.Offline = true }, kind: hub.ErrOffline, says: []string{"HF_HUB_OFFLINE"}},
		{name: "somebody else's name", repo: "you/pruned", kind: hub.ErrUnauthorized, says: []string{"may not make this repository", "rights", "name of your own"}},
		{name: "public already", setup: func(_ *hub.Client, s *hubtest.Server) { s.Add("model", mine, nil) }, kind: hub.ErrUnauthorized, says: []string{"is public", "--public"}},
		{name: "made public", setup: func(_ *hub.Client, s *hubtest.Server) {
			s.Between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(w, r)
				if r.URL.Path == "/api/repos/create" {
					s.Set("model", mine, func(r *hubtest.Repo) { r.Private = false })
				}
			})
		}, kind: hub.ErrServer, says: []string{"nothing was uploaded", "private"}},
		{name: "overtaken", setup: func(_ *hub.Client, s *hubtest.Server) {
			s.Between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if strings.Contains(r.URL.Path, "/commit/") {
					s.Add("model", mine, map[string][]byte{"other": nil})
				}
				next.ServeHTTP(w, r)
			})
		}, kind: hub.ErrBusy, partial: true, says: []string{"in the meantime", "same command again"}},
		{name: "the commit's answer is lost", setup: func(_ *hub.Client, s *hubtest.Server) {
			s.Between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(w, r)
				if strings.Contains(r.URL.Path, "/commit/") {
					panic(http.ErrAbortHandler)
				}
			})
		}, kind: hub.ErrUnreachable, partial: true, says: []string{"same command again"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			client := newClient(t, s)
			if c.setup != nil {
				c.setup(client, s)
			}
			files, err := hub.ListUploads(writeFiles(t, map[string][]byte{"config.json": []byte("{}"), "big.bin": content(1, 9000)}))
			if err != nil {
				t.Fatal(err)
			}
			id := mine
			if c.repo != "" {
				id = c.repo
			}
			_, err = client.Push(context.Background(), hub.Repo{Kind: hub.Model, ID: id}, files, c.opt)
			if !errors.Is(err, c.kind) || errors.Is(err, hub.ErrPartial) != c.partial {
				t.Errorf("%v (partial %v), want %v", err, errors.Is(err, hub.ErrPartial), c.kind)
			}
			explains(t, err, c.says...)
			if n, _ := puts(s); n > 0 && !c.partial {
				t.Errorf("%d uploads", n)
			}
			if c.partial {
				s.Between(nil)
				if _, err := client.Push(context.Background(), hub.Repo{Kind: hub.Model, ID: id}, files, hub.PushOptions{Public: true}); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestListUploads(t *testing.T) {
	dir := writeFiles(t, map[string][]byte{"config.json": nil, ".git/config": nil, ".cache/x": nil, ".gitattributes": nil, ".hidden": nil,
		"sub/a.jinja": nil, "x.incomplete": nil, "y~": nil, "__pycache__/z.pyc": nil})
	if err := os.Symlink(filepath.Join(dir, "config.json"), filepath.Join(dir, "link.json")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	files, err := hub.ListUploads(dir)
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	if diff := cmp.Diff([]string{".gitattributes", "config.json", "link.json", "sub/a.jinja"}, names); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "broken")); err != nil {
		t.Fatal(err)
	}
	if _, err := hub.ListUploads(dir); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("%v", err)
	}
}
