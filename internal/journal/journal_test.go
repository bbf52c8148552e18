package journal_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/internal/journal"
)

func header() journal.Header {
	return journal.Header{Kind: "things", Version: 2, About: map[string]any{"model": "a", "keep": []int{0, 1}}}
}

// open opens a journal of strings and returns those that were there.
func open(t *testing.T, path string, h journal.Header, o journal.Options) (*journal.Journal, []string, error) {
	t.Helper()
	var found []string
	j, err := journal.Open(path, h, o, func(line []byte) error {
		var s string
		err := json.Unmarshal(line, &s)
		if err == nil {
			found = append(found, s)
		}
		return err
	})
	if err == nil {
		t.Cleanup(func() { _ = j.Close() })
	}
	return j, found, err
}

// TestCutTail: wherever a process was killed, what was whole comes back, and the
// file can be gone on with.
func TestCutTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _, err := open(t, path, header(), journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"one", "two\n", "drei"}
	for _, s := range all {
		if err := j.Append(s); err != nil {
			t.Fatal(err)
		}
	}
	_ = j.Close()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(raw) + 1 {
		if err := os.WriteFile(path, raw[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		want := all[:max(0, strings.Count(string(raw[:cut]), "\n")-1)]
		j, found, err := open(t, path, header(), journal.Options{})
		if err != nil || !slices.Equal(found, want) {
			t.Fatalf("cut at %d: %q, %v; want %q", cut, found, err, want)
		}
		if err := j.Append("more"); err != nil {
			t.Fatal(err)
		}
		_ = j.Close()
		if _, found, err := open(t, path, header(), journal.Options{Shared: true}); err != nil || !slices.Equal(found, append(slices.Clone(want), "more")) {
			t.Fatalf("cut at %d, then gone on: %q, %v", cut, found, err)
		}
	}
}

// TestRefuses names what a file is that cannot be gone on with, and leaves it as it is.
func TestRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		unfinished bool
		is         error
		want       string
	}{
		{name: "text", file: "hello\n", is: journal.ErrForeign},
		{name: "text without a line", file: "hello", is: journal.ErrForeign},
		{name: "other JSON", file: `{"a": 1}` + "\n", is: journal.ErrForeign},
		{name: "another kind", file: `{"journal":"tasks","version":2}` + "\n", is: journal.ErrForeign},
		{name: "a later version", file: `{"journal":"things","keep":[0,1],"model":"a","version":3}` + "\n", is: journal.ErrVersion, want: "its lines are of version 3, and this program's of 2"},
		{name: "another question", file: `{"journal":"things","keep":null,"version":2}` + "\n", want: `keep was null and is [0,1]; model was not said and is "a"`},
		{name: "from before versions", file: `{"keep":[0,1],"model":"a"}` + "\n", is: journal.ErrVersion, want: "version 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "j")
			if err := os.WriteFile(path, []byte(tt.file), 0o644); err != nil {
				t.Fatal(err)
			}
			_, _, err := open(t, path, header(), journal.Options{Unversioned: true})
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %v %q", err, tt.is, tt.want)
			}
			var other *journal.OtherError
			if tt.is == nil && !errors.As(err, &other) {
				t.Errorf("error %T, want an *OtherError", err)
			}
			if raw, _ := os.ReadFile(path); string(raw) != tt.file {
				t.Errorf("the file is now %q", raw)
			}
		})
	}
	old := header()
	old.Version = 1
	path := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(path, []byte(`{"keep":[0,1],"model":"a"}`+"\n\"kept\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, found, err := open(t, path, old, journal.Options{Unversioned: true}); err != nil || !slices.Equal(found, []string{"kept"}) {
		t.Errorf("version 1 from before versions: %q, %v", found, err)
	}
}

func TestTwoAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	a, _, err := open(t, path, header(), journal.Options{Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := open(t, path, header(), journal.Options{Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range []*journal.Journal{a, b, a} {
		if err := j.Append("x"); err != nil {
			t.Fatal(err)
		}
	}
	_, found, err := open(t, path, header(), journal.Options{Shared: true})
	if err != nil || len(found) != 3 {
		t.Errorf("%q, %v", found, err)
	}
	alone := filepath.Join(t.TempDir(), "k")
	if _, _, err := open(t, alone, header(), journal.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(t, alone, header(), journal.Options{}); err != nil && !errors.Is(err, journal.ErrInUse) {
		t.Errorf("a second writer: %v", err)
	} else if err == nil {
		t.Log("this system has no locks")
	}
}
