package hub_test

import (
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/hub"
)

const zeros = "0000000000000000000000000000000000000000"

// inside wants every path of the cache to stay where it belongs.
func inside(t *testing.T, r hub.Repo, f hub.File) {
	t.Helper()
	for _, p := range hub.Paths(r, f, zeros) {
		if !filepath.IsLocal(filepath.FromSlash(p)) || path.Clean(p) != p {
			t.Errorf("%+v of %+v leads to %q", f, r, p)
		}
	}
}

// FuzzListing: whatever passes as a listing has sizes and hashes that are some,
// and files that can be put into a snapshot stay in it.
func FuzzListing(f *testing.F) {
	f.Add([]byte(`[{"type":"file","path":"a/b.json","size":3,"oid":"` + zeros + `"}]`))
	f.Add([]byte(`[{"type":"file","path":"m.bin","size":3,"oid":"` + zeros + `","lfs":{"oid":"` + zeros + zeros[:24] + `","size":9}}]`))
	f.Add([]byte(`[{"path":"../x"}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		files, err := hub.ReadListing(raw)
		if err != nil {
			return
		}
		for _, file := range files {
			if file.Size < 0 || len(file.ETag()) != 40 && len(file.ETag()) != 64 {
				t.Errorf("%+v passed", file)
			}
			if hub.IsPortable(file.Name) {
				inside(t, repo(""), file)
			}
		}
	})
}

// FuzzParseRepo: a name that passes is one folder of the cache and one ref, and
// reads back as itself.
func FuzzParseRepo(f *testing.F) {
	for _, s := range []string{"org/name", "org/name@refs/pr/1", "a/..", "../a", "a/b@../c", `a/b@c\d`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := hub.ParseRepo(hub.Model, s)
		if err != nil {
			return
		}
		inside(t, r, hub.File{Name: "x", Blob: zeros})
		if strings.Count(hub.Paths(r, hub.File{}, zeros)[0], "/") != 0 {
			t.Errorf("%q is more than one folder", s)
		}
		again, err := hub.ParseRepo(hub.Model, r.String())
		if err != nil || again.ID != r.ID {
			t.Errorf("%q reads back as %+v, %v", r, again, err)
		}
	})
}

func TestWaitOf(t *testing.T) {
	for _, c := range []struct {
		key, value string
		want       time.Duration
	}{
		{"Retry-After", "7", 7 * time.Second}, {"Retry-After", "-7", 0}, {"Retry-After", "soon", 0}, {"Retry-After", "", 0},
		{"Retry-After", "99999999999999999999", 0}, {"Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT", 0},
		{"RateLimit", `"api";r=0;t=55`, 56 * time.Second}, {"RateLimit", `"api";r=10;t=55`, 0},
	} {
		if got := hub.WaitOf(http.Header{http.CanonicalHeaderKey(c.key): {c.value}}); got != c.want {
			t.Errorf("%s: %s: %v, want %v", c.key, c.value, got, c.want)
		}
	}
	later := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	if got := hub.WaitOf(http.Header{"Retry-After": {later}}); got < 50*time.Second || got > time.Minute {
		t.Errorf("%s: %v", later, got)
	}
}
