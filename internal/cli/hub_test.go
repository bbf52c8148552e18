package cli

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/hubtest"
)

// impatient makes the client of the scripts wait for milliseconds.
func impatient(c *hub.Client) {
	c.Retry = hub.Retry{Tries: 3, Base: time.Millisecond, Most: time.Millisecond, MostAsk: 2 * time.Second, Stall: time.Minute}
}

type hubKey struct{}

// setUpHub keeps scripts away from every hub but the one they start.
func setUpHub(e *testscript.Env) {
	s := hubtest.New()
	e.Defer(s.Close)
	e.Values[hubKey{}] = s
	e.Setenv("HF_HOME", filepath.Join(e.WorkDir, ".hf"))
	e.Setenv("HF_ENDPOINT", s.URL)
	e.Setenv("TOKEN", hubtest.Token)
}

// hubCommand drives the script's hub:
//
//	hub add model|dataset ID DIR     publishes a directory
//	hub private|gated model ID       restricts it
//	hub cut BYTES                    breaks every transfer of large files, both ways, after so many
//	hub stall BYTES                  lets them hang instead
//	hub fail CODE                    answers them with an error
//	hub damage                       sends other bytes
//	hub well                         takes all that back
//	hub asked REGEXP N               wants so many requests "METHOD /path" of that kind since the last `hub forget`
//	hub forget
//	hub has model ID FILE            wants the file there to be FILE of the script
//	hub secret                       wants the token not to have left the hub's own address
func hubCommand(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(hubKey{}).(*hubtest.Server)
	switch args[0] {
	case "add":
		s.Add(args[1], args[2], readFiles(ts, args[3]))
	case "private":
		s.Set(args[1], args[2], func(r *hubtest.Repo) { r.Private = true })
	case "gated":
		s.Set(args[1], args[2], func(r *hubtest.Repo) { r.Gated = true })
	case "cut", "stall", "fail":
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		s.Between(trouble(args[0], n))
	case "damage":
		s.Between(trouble(args[0], 0))
	case "well":
		s.Between(nil)
	case "asked":
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		wantAsked(ts, s, args[1], n)
	case "forget":
		s.Forget()
	case "has":
		files := s.Files(args[1], args[2], "main")
		raw, ok := files[filepath.Base(args[3])]
		if ok == neg || ok && string(raw) != ts.ReadFile(args[3]) {
			ts.Fatalf("%s has %d files; %s: there %v, %d bytes", args[2], len(files), args[3], ok, len(raw))
		}
	case "secret":
		for _, q := range s.Log() {
			if q.Auth != "" && "http://"+q.Host != s.URL {
				ts.Fatalf("%s was sent a token", q.Host)
			}
		}
	default:
		ts.Fatalf("hub %s: what?", args[0])
	}
}

func readFiles(ts *testscript.TestScript, dir string) map[string][]byte {
	files := map[string][]byte{}
	root := ts.MkAbs(dir)
	ts.Check(filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(rel)], err = os.ReadFile(path)
		return err
	}))
	return files
}

// trouble is what happens to requests of the storage.
func trouble(kind string, n int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case !strings.HasPrefix(r.URL.Path, "/objects/") && !strings.HasPrefix(r.URL.Path, "/parts/"):
			next.ServeHTTP(w, r)
		case kind == "fail":
			http.Error(w, "trouble", n)
		case kind == "damage":
			next.ServeHTTP(damaged{w}, r)
		case r.Method == http.MethodPut:
			panic(http.ErrAbortHandler)
		case kind == "cut":
			next.ServeHTTP(hubtest.Cut(w, n), r)
		default:
			next.ServeHTTP(hang{hubtest.Limit(w, n), r}, r)
		}
	}
}

// damaged changes every byte.
type damaged struct{ http.ResponseWriter }

func (d damaged) Write(p []byte) (int, error) {
	other := slices.Clone(p)
	for i := range other {
		other[i] ^= 0x55
	}
	return d.ResponseWriter.Write(other)
}

// hang keeps a connection open without another byte.
type hang struct {
	http.ResponseWriter
	r *http.Request
}

func (h hang) Write(p []byte) (int, error) {
	n, err := h.ResponseWriter.Write(p)
	if err != nil {
		_ = http.NewResponseController(h.ResponseWriter).Flush()
		<-h.r.Context().Done()
	}
	return n, err
}

func (h hang) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func wantAsked(ts *testscript.TestScript, s *hubtest.Server, pattern string, want int) {
	var asked []string
	for _, q := range s.Log() {
		line := fmt.Sprintf("%s %s", q.Method, q.Path)
		if strings.Contains(line, pattern) {
			asked = append(asked, line)
		}
	}
	if len(asked) != want {
		slices.Sort(asked)
		ts.Fatalf("%d requests %q, want %d: %s", len(asked), pattern, want, strings.Join(asked, "\n"))
	}
}

// TestHubExitCodes: what the hub's errors mean to a script, and that their
// remedy arrives as the hint.
func TestHubExitCodes(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"final", &hub.Error{Kind: hub.ErrCorrupt, Text: "x", Remedy: "do"}, exitFailed},
		{"gated", fmt.Errorf("x: %w", &hub.Error{Kind: hub.ErrGated, Text: "x", Remedy: "do"}), exitFailed},
		{"partial", &hub.Error{Kind: hub.ErrServer, Text: "x", Remedy: "do", Partial: true}, exitPartial},
		{"full", fmt.Errorf("x: %w", &hub.Error{Kind: hub.ErrNoSpace, Text: "x", Remedy: "do", Partial: true}), exitPartial},
		{"cancelled", &hub.Error{Kind: context.Canceled, Text: "x", Remedy: "do", Partial: true}, exitPartial},
		{"cancelled before anything came", &hub.Error{Kind: context.Canceled, Text: "x", Remedy: "do"}, exitCancelled},
	} {
		err := explained(c.err)
		if _, hint := describe(err); exitCode(err) != c.want || hint != "do" {
			t.Errorf("%s: exit code %d, want %d; hint %q", c.name, exitCode(err), c.want, hint)
		}
	}
	err := cancelled(explained(&hub.Error{Kind: context.Canceled, Text: "x", Remedy: "do", Partial: true}))
	if _, hint := describe(err); exitCode(err) != exitPartial || hint != "do" {
		t.Errorf("%v", err)
	}
}
