package hub_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/hubtest"
)

// TestMain is a process that pulls when the environment says so: tests of what
// processes do to each other start themselves anew.
func TestMain(m *testing.M) {
	if os.Getenv("COPPICE_TEST_PULL") == "" {
		os.Exit(m.Run())
	}
	c, err := hub.FromEnv(os.Getenv)
	if err == nil {
		c.Retry = quick()
		_, err = pull(c, repo(""))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// puller is another process that pulls the model into c's cache.
func puller(t *testing.T, c *hub.Client) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "COPPICE_TEST_PULL=1", "HF_ENDPOINT="+c.Endpoint, "HF_HUB_CACHE="+c.Cache, "HF_TOKEN="+c.Token)
	return cmd
}

// TestTwoProcessesDownloadOnce: both end well, and every file crosses the line
// once.
func TestTwoProcessesDownloadOnce(t *testing.T) {
	s, files := newServer(t), modelFiles()
	s.Add("model", modelID, files)
	c := newClient(t, s)
	// Nothing is sent before both have asked which commit it is, and then
	// slowly enough for both to want the same files.
	var asked sync.WaitGroup
	asked.Add(2)
	s.Between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/revision/main") {
			asked.Done()
			asked.Wait()
		}
		if isObject(r) {
			time.Sleep(200 * time.Millisecond)
		}
		next.ServeHTTP(w, r)
	})
	var out [2]strings.Builder
	var cmds [2]*exec.Cmd
	for i := range cmds {
		cmds[i] = puller(t, c)
		cmds[i].Stderr = &out[i]
		if err := cmds[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range cmds {
		if err := cmds[i].Wait(); err != nil {
			t.Errorf("%v: %s", err, out[i].String())
		}
	}
	gets := map[string]int{}
	for _, q := range s.Log() {
		if strings.HasPrefix(q.Path, "/objects/") || strings.Contains(q.Path, "/resolve-cache/") {
			gets[q.Path]++
		}
	}
	if want := len(files) - 1; len(gets) != want { // an empty file needs no request
		t.Errorf("%d files were asked for, want %d", len(gets), want)
	}
	for path, n := range gets {
		if n != 1 {
			t.Errorf("%s was downloaded %d times", path, n)
		}
	}
	s.Between(nil)
	dir, err := pull(c, repo(""))
	if err != nil {
		t.Fatal(err)
	}
	same(t, dir, files)
}

// trickle sends a random number of bytes of the file and, when they are written down
// over there, keeps still until the client is gone; stopped is told when. After rounds
// of that it sends all.
type trickle struct {
	rounds  int32
	most    int64
	written string // where the client keeps what has arrived
	stopped chan struct{}
	n       atomic.Int32
}

func newTrickle(c *hub.Client, raw []byte) *trickle {
	written := filepath.Join(c.Cache, "models--org--model", "blobs", hubtest.SHA256(raw)+".incomplete")
	return &trickle{rounds: 10, most: 500_000, written: written, stopped: make(chan struct{})}
}

func (k *trickle) between(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if !isObject(r) || k.n.Add(1) > k.rounds {
		next.ServeHTTP(w, r)
		return
	}
	var from int64
	_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
	n := 1 + rand.Int64N(k.most)
	next.ServeHTTP(&slowWriter{w, r, k, n, from + n}, r)
}

type slowWriter struct {
	http.ResponseWriter
	r        *http.Request
	k        *trickle
	left, to int64
}

func (w *slowWriter) Write(p []byte) (int, error) {
	if int64(len(p)) < w.left {
		w.left -= int64(len(p))
		return w.ResponseWriter.Write(p)
	}
	_, _ = w.ResponseWriter.Write(p[:w.left])
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	for w.r.Context().Err() == nil {
		if info, err := os.Stat(w.k.written); err == nil && info.Size() >= w.to {
			break
		}
		time.Sleep(time.Millisecond)
	}
	w.k.stopped <- struct{}{}
	<-w.r.Context().Done()
	return 0, io.ErrClosedPipe
}

// TestKilledAtTenRandomPlaces: processes that are killed without warning, and
// one that finishes what they left.
func TestKilledAtTenRandomPlaces(t *testing.T) {
	s := newServer(t)
	files := map[string][]byte{"model.safetensors": content(5, 6_000_000), "config.json": []byte("{}")}
	s.Add("model", modelID, files)
	c := newClient(t, s)
	k := newTrickle(c, files["model.safetensors"])
	s.Between(k.between)
	for range k.rounds {
		cmd := puller(t, c)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-k.stopped
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		sound(t, c.Cache)
	}
	dir, err := pull(c, repo(""))
	if err != nil {
		t.Fatal(err)
	}
	same(t, dir, files)
	resumed := 0
	for _, q := range s.Log() {
		if strings.HasPrefix(q.Path, "/objects/") && q.Range != "" {
			resumed++
		}
	}
	if resumed != 10 {
		t.Errorf("%d of 10 interrupted downloads went on where they stopped", resumed)
	}
}

// TestCancelledAtTenRandomPlaces is the same within a process.
func TestCancelledAtTenRandomPlaces(t *testing.T) {
	s := newServer(t)
	files := map[string][]byte{"model.safetensors": content(6, 6_000_000), "config.json": []byte("{}")}
	s.Add("model", modelID, files)
	c := newClient(t, s)
	k := newTrickle(c, files["model.safetensors"])
	s.Between(k.between)
	for range k.rounds {
		ctx, cancel := context.WithCancel(context.Background())
		go func() { <-k.stopped; cancel() }()
		_, err := pullCtx(ctx, c, repo(""))
		cancel()
		if !errors.Is(err, context.Canceled) || !errors.Is(err, hub.ErrPartial) {
			t.Fatalf("%v", err)
		}
		explains(t, err, "cancelled", "of 6000002 bytes", "same command again")
		sound(t, c.Cache)
	}
	var last, highest int64
	info, err := c.Info(context.Background(), repo(""))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := c.Download(context.Background(), info, nil, func(done, total int64) {
		last, highest = done, max(highest, done)
		if total != 6_000_002 {
			t.Errorf("progress towards %d bytes", total)
		}
	})
	if err != nil || last != 6_000_002 || highest != last {
		t.Fatalf("%v, progress %d", err, last)
	}
	same(t, dir, files)
}

// TestDamagedRest: what an interrupted download left is not what it was.
func TestDamagedRest(t *testing.T) {
	raw := content(7, 100_000)
	for name, rest := range map[string][]byte{
		"other bytes": content(8, 40_000), "as long": content(8, 100_000), "longer": content(8, 100_001), "whole": raw, "empty": nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			files := map[string][]byte{"model.safetensors": raw}
			s.Add("model", modelID, files)
			c := newClient(t, s)
			blobs := mkdir(t, filepath.Join(c.Cache, "models--org--model", "blobs"))
			if err := os.WriteFile(filepath.Join(blobs, hubtest.SHA256(raw)+".incomplete"), rest, 0o666); err != nil {
				t.Fatal(err)
			}
			dir, err := pull(c, repo(""))
			if err != nil {
				t.Fatal(err)
			}
			same(t, dir, files)
			sound(t, c.Cache)
		})
	}
}

// TestCacheOfPython: the layout that huggingface_hub 0.34 makes for a snapshot,
// entry by entry, is used as it is, online and offline, and gains nothing but
// the listing that newer versions keep.
func TestCacheOfPython(t *testing.T) {
	s, files := newServer(t), modelFiles()
	commit := s.Add("model", modelID, files)
	c := newClient(t, s)
	base := filepath.Join(c.Cache, "models--org--model")
	put := func(name string, raw []byte) {
		t.Helper()
		path := filepath.Join(base, filepath.FromSlash(name))
		mkdir(t, filepath.Dir(path))
		if err := os.WriteFile(path, raw, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	put("refs/main", []byte(commit))
	put("../version.txt", []byte("1"))
	put(".no_exist/"+commit+"/adapter_config.json", nil)
	for name, raw := range files {
		etag := hubtest.BlobSHA1(raw)
		if len(raw) >= 1000 {
			etag = hubtest.SHA256(raw)
		}
		put("blobs/"+etag, raw)
		put("../.locks/models--org--model/"+etag+".lock", nil)
		entry := filepath.Join(base, "snapshots", commit, filepath.FromSlash(name))
		mkdir(t, filepath.Dir(entry))
		target := strings.Repeat("../", strings.Count(name, "/")+2) + "blobs/" + etag
		if err := os.Symlink(filepath.FromSlash(target), entry); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	before := layout(t, c.Cache)

	c.Offline = true
	dir, err := pull(c, repo(""))
	if err != nil {
		t.Fatal(err)
	}
	same(t, dir, files)
	info, _ := c.Info(context.Background(), repo(commit))
	if f, ok := info.File("tokenizer.json"); !ok || f.SHA256 != hubtest.SHA256(files["tokenizer.json"]) || f.Size != 2500 || !info.Cached {
		t.Errorf("%+v", f)
	}
	if diff := cmp.Diff(before, layout(t, c.Cache)); diff != "" {
		t.Error("offline changed the cache:", diff)
	}
	if len(s.Log()) > 0 {
		t.Errorf("offline asked for %v", s.Log())
	}

	c.Offline = false
	if dir, err = pull(c, repo("")); err != nil {
		t.Fatal(err)
	}
	same(t, dir, files)
	for _, q := range s.Log() {
		if strings.Contains(q.Path, "/resolve/") {
			t.Errorf("asked for %s", q.Path)
		}
	}
	var after []string
	for _, l := range layout(t, c.Cache) {
		if !strings.Contains(l, "/trees/") && !strings.HasPrefix(l, "CACHEDIR.TAG") {
			after = append(after, l)
		}
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
}

// TestFinishedButWrongSize: a blob that was cut short, by a disk or by hand, is
// downloaded again.
func TestFinishedButWrongSize(t *testing.T) {
	s, files := newServer(t), modelFiles()
	s.Add("model", modelID, files)
	c := newClient(t, s)
	if _, err := pull(c, repo("")); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(c.Cache, "models--org--model", "blobs", hubtest.SHA256(files["tokenizer.json"])), 100); err != nil {
		t.Fatal(err)
	}
	dir, err := pull(c, repo(""))
	if err != nil {
		t.Fatal(err)
	}
	same(t, dir, files)
}
