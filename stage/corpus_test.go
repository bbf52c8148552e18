package stage

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/hubtest"
)

// hubEnv is an environment whose hub is a server of the test.
func hubEnv(t *testing.T) (Env, *hubtest.Server) {
	t.Helper()
	s := hubtest.New()
	t.Cleanup(s.Close)
	vars := map[string]string{"HF_ENDPOINT": s.URL, "HF_HOME": filepath.Join(t.TempDir(), "hf")}
	getenv := func(k string) string { return vars[k] }
	return Env{Getenv: getenv, Talk: Silent{}, Hub: func() (*hub.Client, error) {
		c, err := hub.FromEnv(getenv)
		if err == nil {
			c.Retry = hub.Retry{Tries: 3, Base: time.Millisecond, Most: time.Millisecond, MostAsk: 2 * time.Second, Stall: 10 * time.Second}
		}
		return c, err
	}}, s
}

func parquetOf(t *testing.T, texts ...string) []byte {
	t.Helper()
	type row struct {
		Text string `parquet:"text"`
	}
	var rows []row
	for _, text := range texts {
		rows = append(rows, row{text})
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, rows); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readCorpus(t *testing.T, c corpus) []string {
	t.Helper()
	var out []string
	for text, err := range data.Texts(c.files, "") {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
	}
	return out
}

// wikitext is a data set laid out as Salesforce/wikitext is.
func wikitext(t *testing.T) map[string][]byte {
	return map[string][]byte{
		"README.md": []byte("---\nconfigs:\n- config_name: wikitext-2-raw-v1\n  data_files:\n  - split: test\n    path: wikitext-2-raw-v1/test-*\n" +
			"  - split: train\n    path: wikitext-2-raw-v1/train-*\n- config_name: other\n  data_files: other/*\n---\n# WikiText\n"),
		"wikitext-2-raw-v1/train-00000-of-00002.parquet": parquetOf(t, "a", "b"),
		"wikitext-2-raw-v1/train-00001-of-00002.parquet": parquetOf(t, "c"),
		"wikitext-2-raw-v1/test-00000-of-00001.parquet":  parquetOf(t, "d"),
		"other/train.parquet":                            parquetOf(t, "e"),
	}
}

func TestHubData(t *testing.T) {
	env, s := hubEnv(t)
	commit := s.Add("dataset", "some/set", wikitext(t))
	got, err := openData(context.Background(), env, "data", "some/set:wikitext-2-raw-v1")
	if err != nil {
		t.Fatal(err)
	}
	if want := "some/set@" + commit + ":wikitext-2-raw-v1/train"; got.source != want {
		t.Errorf("source %s, want %s", got.source, want)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, readCorpus(t, got)); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
	for _, q := range s.Log() {
		if strings.Contains(q.Path, "test-") || strings.Contains(q.Path, "other") {
			t.Errorf("%s was asked for, and is no part of it", q.Path)
		}
	}
	// Again, by what the results call it: nothing is pulled, and no revision asked for.
	s.Forget()
	again, err := openData(context.Background(), env, "data", got.source)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got.files, again.files); diff != "" || len(s.Log()) > 0 {
		t.Errorf("%d requests, other files:\n%s", len(s.Log()), diff)
	}
}

// TestHubDataConverted: what a script makes is taken from the hub's conversion.
func TestHubDataConverted(t *testing.T) {
	env, s := hubEnv(t)
	commit := s.Add("dataset", "some/script", map[string][]byte{"plain_text/train/0000.parquet": parquetOf(t, "a"), "plain_text/validation/0000.parquet": parquetOf(t, "v")})
	s.Tag("dataset", "some/script", "refs/convert/parquet", commit)
	s.Add("dataset", "some/script", map[string][]byte{"README.md": []byte("# PIQA\n"), "script.py": []byte("pass")})
	got, err := openData(context.Background(), env, "data", "some/script:validation")
	if err != nil {
		t.Fatal(err)
	}
	if want := "some/script@" + commit + ":plain_text/validation"; got.source != want {
		t.Errorf("source %s, want %s", got.source, want)
	}
	if diff := cmp.Diff([]string{"v"}, readCorpus(t, got)); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
}

func TestHubDataErrors(t *testing.T) {
	env, s := hubEnv(t)
	s.Add("dataset", "some/set", wikitext(t))
	s.Add("dataset", "some/images", map[string][]byte{"a.png": {1}})
	s.Add("dataset", "some/gated", wikitext(t))
	s.Set("dataset", "some/gated", func(r *hubtest.Repo) { r.Gated = true })
	for _, c := range []struct{ arg, err string }{
		{"some/sett", "some/sett"},
		{"some/set:nothing", `some/set: has no config or split "nothing"; its configs: wikitext-2-raw-v1, other`},
		{"some/set:other/test", `some/set: config "other" has no split "test"; it has: other/train`},
		{"some/set@nowhere:other", "nowhere"},
		{"some/images", "some/images: no file that can be read is in it"},
		{"some/gated:other", "some/gated"},
		{"some/set.jsonl", "no such file"},
		{"/no/such/place", "no such file"},
	} {
		_, err := openData(context.Background(), env, "data", c.arg)
		if err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", c.arg, err, c.err)
		}
	}
}

// TestHubDataCut: a transfer that breaks leaves nothing that looks finished,
// and can be gone on with.
func TestHubDataCut(t *testing.T) {
	env, s := hubEnv(t)
	files := wikitext(t)
	files["other/train.parquet"] = parquetOf(t, strings.Repeat("a long text of many words ", 5000), "e")
	s.LFSSize = 100
	s.Add("dataset", "some/set", files)
	s.Between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasPrefix(r.URL.Path, "/objects/") || strings.HasPrefix(r.URL.Path, "/parts/") {
			http.Error(w, "trouble", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
	_, err := openData(context.Background(), env, "data", "some/set:other")
	if !errors.Is(err, ErrPartial) {
		t.Errorf("%v, want one that can be gone on with", err)
	}
	s.Between(nil)
	got, err := openData(context.Background(), env, "data", "some/set:other")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(readCorpus(t, got)); n != 2 {
		t.Errorf("%d texts, want 2", n)
	}
	if _, err := os.Stat(got.files[0]); err != nil {
		t.Error(err)
	}
}

func TestModelName(t *testing.T) {
	for in, want := range map[string]string{
		"org/name": "org/name", "org/name@v1": "org/name", "./org/name": "", "testdata": "", "a/b/c": "",
		filepath.Join("x", "models--org--na-me", "snapshots", "0123"):   "org/na-me",
		filepath.Join("x", "datasets--org--name", "snapshots", "0123"):  "",
		filepath.Join("x", "models--org--name", "elsewhere", "0123"):    "",
		filepath.Join("x", "models--org--..", "snapshots", "0123"):      "",
		filepath.Join("x", "models--a--b--c", "snapshots", "0123"):      "",
		filepath.Join("models--org--name", "snapshots", "0123", "more"): "",
	} {
		if got := modelName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
