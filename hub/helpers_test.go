package hub_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/hubtest"
)

// quick makes a client wait for milliseconds where others wait for seconds.
func quick() hub.Retry {
	return hub.Retry{Tries: 3, Base: time.Millisecond, Most: 2 * time.Millisecond, MostAsk: time.Second, Stall: time.Minute}
}

func newServer(t *testing.T) *hubtest.Server {
	t.Helper()
	s := hubtest.New()
	t.Cleanup(s.Close)
	return s
}

func newClient(t *testing.T, s *hubtest.Server) *hub.Client {
	t.Helper()
	return &hub.Client{Endpoint: s.URL, Token: hubtest.Token, TokenFrom: "HF_TOKEN", Cache: filepath.Join(t.TempDir(), "hub"), Retry: quick()}
}

// content makes n bytes that depend on the seed.
func content(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// modelFiles is a model like those of the hub, in small.
func modelFiles() map[string][]byte {
	return map[string][]byte{
		"config.json":                      []byte(`{"architectures":["LlamaForCausalLM"]}`),
		"tokenizer.json":                   content(1, 2500),
		"README.md":                        []byte("# A model\n"),
		"empty.txt":                        {},
		"model-00001-of-00002.safetensors": content(2, 300_000),
		"model-00002-of-00002.safetensors": content(3, 70_000),
		"model.safetensors.index.json":     []byte(`{"weight_map":{}}`),
		"sub/folder/with space & more.txt": []byte("deep"),
	}
}

const modelID = "org/model"

func repo(revision string) hub.Repo {
	return hub.Repo{Kind: hub.Model, ID: modelID, Revision: revision}
}

// pull brings all files.
func pull(c *hub.Client, r hub.Repo, names ...string) (string, error) {
	return pullCtx(context.Background(), c, r, names...)
}

func pullCtx(ctx context.Context, c *hub.Client, r hub.Repo, names ...string) (string, error) {
	info, err := c.Info(ctx, r)
	if err != nil {
		return "", err
	}
	return c.Download(ctx, info, names, nil)
}

// same compares a snapshot with what is on the server.
func same(t *testing.T, dir string, want map[string][]byte) {
	t.Helper()
	got := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		name := filepath.ToSlash(rel)
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		got[name] = true
		if string(raw) != string(want[name]) {
			t.Errorf("%s has %d bytes that are not the %d of the server", name, len(raw), len(want[name]))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Errorf("%v are there, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// layout describes a cache, one line an entry: links with their target, files
// with their size. Locks and temporary names are left out.
func layout(t *testing.T, cache string) []string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(cache, path)
		name := filepath.ToSlash(rel)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(name, ".locks/"):
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			lines = append(lines, name+" -> "+filepath.ToSlash(target))
		default:
			lines = append(lines, fmt.Sprintf("%s %d", name, info.Size()))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// matching are the lines of a layout that hold a text.
func matching(lines []string, text string) []string {
	var out []string
	for _, l := range lines {
		if strings.Contains(l, text) {
			out = append(out, l)
		}
	}
	return out
}
