package hub_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/hubtest"
)

func TestPullHasTheHubsLayout(t *testing.T) {
	s, files := newServer(t), modelFiles()
	commit := s.Add("model", modelID, files)
	c := newClient(t, s)
	dir, err := pull(c, repo(""))
	if err != nil {
		t.Fatal(err)
	}
	same(t, dir, files)
	base := "models--org--model/"
	want := []string{"CACHEDIR.TAG 101", base + "refs/main 40"}
	blobs := map[string]bool{}
	for name, raw := range files {
		etag := hubtest.BlobSHA1(raw)
		if len(raw) >= 1000 {
			etag = hubtest.SHA256(raw)
		}
		if !blobs[etag] {
			blobs[etag] = true
			want = append(want, fmt.Sprintf("%sblobs/%s %d", base, etag, len(raw)))
		}
		want = append(want, fmt.Sprintf("%ssnapshots/%s/%s -> %s../../blobs/%s", base, commit, name, strings.Repeat("../", strings.Count(name, "/")), etag))
	}
	slices.Sort(want)
	got := layout(t, c.Cache)
	got = slices.DeleteFunc(got, func(l string) bool { return strings.HasPrefix(l, base+"trees/") })
	got = slices.DeleteFunc(got, func(l string) bool { return strings.HasPrefix(l, "CACHEDIR") })
	want = slices.DeleteFunc(want, func(l string) bool { return strings.HasPrefix(l, "CACHEDIR") })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if raw, _ := os.ReadFile(filepath.Join(c.Cache, base, "refs", "main")); string(raw) != commit {
		t.Errorf("refs/main is %q, want %q without a newline", raw, commit)
	}
	if locks, _ := filepath.Glob(filepath.Join(c.Cache, ".locks", "models--org--model", "*.lock")); len(locks) != len(blobs) {
		t.Errorf("%d locks, want %d", len(locks), len(blobs))
	}
}

func TestPullAgainAsksForNoFile(t *testing.T) {
	s := newServer(t)
	s.Add("model", modelID, modelFiles())
	c := newClient(t, s)
	first, err := pull(c, repo(""))
	if err != nil {
		t.Fatal(err)
	}
	s.Forget()
	second, err := pull(c, repo(""))
	if err != nil || first != second {
		t.Fatalf("%s, %v; want %s", second, err, first)
	}
	if log := s.Log(); len(log) != 1 || !strings.HasSuffix(log[0].Path, "/revision/main") {
		t.Errorf("asked for %v, want the revision alone", log)
	}
}

func TestRevisions(t *testing.T) {
	s := newServer(t)
	old := map[string][]byte{"config.json": []byte("old"), "same.bin": content(1, 5000)}
	first := s.Add("model", modelID, old)
	s.Tag("model", modelID, "v1.0", first)
	s.Tag("model", modelID, "refs/pr/7", first)
	now := map[string][]byte{"config.json": []byte("new!"), "same.bin": content(1, 5000)}
	second := s.Add("model", modelID, now)
	c := newClient(t, s)
	for _, r := range []struct {
		revision, commit string
		files            map[string][]byte
	}{{"", second, now}, {"main", second, now}, {"v1.0", first, old}, {"refs/pr/7", first, old}, {first, first, old}} {
		dir, err := pull(c, repo(r.revision))
		if err != nil {
			t.Fatalf("%q: %v", r.revision, err)
		}
		if filepath.Base(dir) != r.commit {
			t.Errorf("%q: %s, want commit %s", r.revision, dir, r.commit)
		}
		same(t, dir, r.files)
	}
	gets := 0
	for _, q := range s.Log() {
		if strings.HasPrefix(q.Path, "/objects/") {
			gets++
		}
	}
	if gets != 1 {
		t.Errorf("a file that two commits share was downloaded %d times", gets)
	}
	s.Forget()
	if _, err := pull(c, repo(first)); err != nil || len(s.Log()) != 0 {
		t.Errorf("a commit that is in the cache needs no hub: %v, %v", s.Log(), err)
	}
	if got, err := os.ReadFile(filepath.Join(c.Cache, "models--org--model", "refs", "refs", "pr", "7")); err != nil || string(got) != first {
		t.Errorf("refs/refs/pr/7: %q, %v", got, err)
	}
}

func TestDatasets(t *testing.T) {
	s := newServer(t)
	files := map[string][]byte{"data/train-00000-of-00001.parquet": content(1, 9000), "README.md": []byte("x")}
	s.Add("dataset", "org/data", files)
	c := newClient(t, s)
	dir, err := pull(c, hub.Repo{Kind: hub.Dataset, ID: "org/data"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, dir, files)
	if !strings.Contains(filepath.ToSlash(dir), "/datasets--org--data/snapshots/") {
		t.Error(dir)
	}
}

func TestListingsComeInPages(t *testing.T) {
	s := newServer(t)
	s.PageSize = 3
	s.Add("model", modelID, modelFiles())
	info, err := newClient(t, s).Info(context.Background(), repo(""))
	if err != nil || len(info.Files) != len(modelFiles()) {
		t.Fatalf("%v, %v", info, err)
	}
	f, ok := info.File("tokenizer.json")
	if want := (hub.File{Name: "tokenizer.json", Size: 2500, Blob: f.Blob, SHA256: hubtest.SHA256(content(1, 2500))}); !ok || f != want {
		t.Errorf("%+v, want %+v", f, want)
	}
}

func TestTokenStaysWithTheHub(t *testing.T) {
	s := newServer(t)
	s.Add("model", modelID, modelFiles())
	c := newClient(t, s)
	var said []string
	c.Trace = func(text string) { said = append(said, text) }
	c.Note = c.Trace
	c.Parallel = 1
	if _, err := pull(c, repo("")); err != nil {
		t.Fatal(err)
	}
	hubHost, storageHost := strings.TrimPrefix(s.URL, "http://"), strings.TrimPrefix(s.Storage, "http://")
	seen := map[string]int{}
	for _, q := range s.Log() {
		seen[q.Host]++
		if q.Host == hubHost && q.Auth != "Bearer "+hubtest.Token || q.Host != hubHost && q.Auth != "" {
			t.Errorf("%s %s has Authorization %q", q.Host, q.Path, q.Auth)
		}
	}
	if seen[hubHost] == 0 || seen[storageHost] == 0 {
		t.Fatalf("asked %v, want both hosts", seen)
	}
	for _, line := range said {
		if strings.Contains(line, hubtest.Token) || strings.Contains(line, "Signature") {
			t.Errorf("said %q", line)
		}
	}
	if len(said) == 0 {
		t.Error("nothing was traced")
	}
}

func TestOffline(t *testing.T) {
	s := newServer(t)
	s.Add("model", modelID, modelFiles())
	c := newClient(t, s)
	if _, err := pull(c, repo(""), "config.json", "tokenizer.json"); err != nil {
		t.Fatal(err)
	}
	s.Forget()
	c.Offline = true
	if _, err := pull(c, repo(""), "config.json", "tokenizer.json"); err != nil {
		t.Fatal(err)
	}
	_, err := pull(c, repo(""))
	if !errors.Is(err, hub.ErrOffline) || !strings.Contains(err.Error(), "README.md") || !strings.Contains(err.Error(), "HF_HUB_OFFLINE") {
		t.Errorf("%v, want the files that are missing", err)
	}
	for _, r := range []hub.Repo{repo("v9"), {Kind: hub.Model, ID: "org/other"}} {
		if _, err := c.Info(context.Background(), r); !errors.Is(err, hub.ErrOffline) || !strings.Contains(err.Error(), r.ID) {
			t.Errorf("%v", err)
		}
	}
	if len(s.Log()) != 0 {
		t.Errorf("offline, and asked %v", s.Log())
	}
}

func TestUnreachableHubLeavesTheCache(t *testing.T) {
	s := newServer(t)
	s.Add("model", modelID, modelFiles())
	c := newClient(t, s)
	if _, err := pull(c, repo("")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	var notes []string
	c.Note = func(text string) { notes = append(notes, text) }
	dir, err := pull(c, repo(""))
	if err != nil {
		t.Fatal(err)
	}
	same(t, dir, modelFiles())
	if len(notes) != 1 || !strings.Contains(notes[0], "using what is in the cache") {
		t.Errorf("notes %q", notes)
	}
	_, err = pull(c, hub.Repo{Kind: hub.Model, ID: "org/other"})
	if !errors.Is(err, hub.ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

func TestCopiesWhereLinksCannotBe(t *testing.T) {
	s := newServer(t)
	files := modelFiles()
	files["copy of config.json"] = files["config.json"]
	s.Add("model", modelID, files)
	c := newClient(t, s)
	c.NoLinks = true
	dir, err := pull(c, repo(""))
	if err != nil {
		t.Fatal(err)
	}
	same(t, dir, files)
	if links := matching(layout(t, c.Cache), "->"); len(links) > 0 {
		t.Errorf("links: %v", links)
	}
	s.Forget()
	if _, err := pull(c, repo("")); err != nil || len(s.Log()) != 1 {
		t.Errorf("asked %v, %v", s.Log(), err)
	}
}

func TestParseRepo(t *testing.T) {
	for in, want := range map[string]hub.Repo{
		"org/name":                      {Kind: hub.Model, ID: "org/name"},
		"org/name@v1.0":                 {Kind: hub.Model, ID: "org/name", Revision: "v1.0"},
		"Qwen/Qwen1.5-7B@refs/pr/3":     {Kind: hub.Model, ID: "Qwen/Qwen1.5-7B", Revision: "refs/pr/3"},
		"a_b/c.d-e@feature/with-slash":  {Kind: hub.Model, ID: "a_b/c.d-e", Revision: "feature/with-slash"},
		"o/n@refs/convert/parquet":      {Kind: hub.Model, ID: "o/n", Revision: "refs/convert/parquet"},
		"0x/" + strings.Repeat("a", 96): {Kind: hub.Model, ID: "0x/" + strings.Repeat("a", 96)},
	} {
		if got, err := hub.ParseRepo(hub.Model, in); err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "name", "org/", "/name", "a/b/c", "../x", "org/..", "./x", "org/na me", "org/name@", "org/name@../../x",
		"org/name@/etc", "org/name@a..b", "org/name@a b", "org/name@-x", `org\name`, "org/name.git", "a--b/c", "org/-x", "org/x.", "org/name@x\n"} {
		if got, err := hub.ParseRepo(hub.Model, in); err == nil {
			t.Errorf("%q: %+v, want an error", in, got)
		}
	}
	if _, err := hub.ParseRepo("space", "a/b"); err == nil {
		t.Error("a kind that is none")
	}
}
