package checkpoint_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/checkpoint"
)

// parts are a head that is made, a range of a file, and what is filled in steps.
func parts(t *testing.T) (all []checkpoint.Part, want []byte) {
	t.Helper()
	made := func(b []byte, step int64) checkpoint.Part {
		return checkpoint.Part{Bytes: int64(len(b)), Step: step, Fill: func(dst []byte, at int64) error {
			copy(dst, b[at:])
			return nil
		}}
	}
	random := rand.New(rand.NewPCG(1, 2))
	source := make([]byte, 18<<20)
	for i := 0; i < len(source); i += 4096 {
		source[i] = byte(random.Uint32())
	}
	path := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(path, source, 0o666); err != nil {
		t.Fatal(err)
	}
	head, tail := []byte("GGUF head"), bytes.Repeat([]byte("0123456789"), 1000)
	all = []checkpoint.Part{made(head, 9), {Path: path, Offset: 5, Bytes: 17 << 20}, made(tail, 70), {}}
	return all, bytes.Join([][]byte{head, source[5 : 5+17<<20], tail}, nil)
}

func TestWriteFile(t *testing.T) {
	all, want := parts(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "new", "m.gguf")
	var done, total int64
	opt := checkpoint.WriteOptions{Progress: func(d, n int64) { done, total = d, n }}
	for _, o := range []checkpoint.WriteOptions{opt, opt.WithoutKernelCopy()} {
		w, err := checkpoint.WriteFile(t.Context(), out, "GGUF", all, o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(out)
		if err != nil || !bytes.Equal(got, want) || w.Bytes != int64(len(want)) || done != total || total != w.Bytes {
			t.Fatalf("%d bytes of %d, %d of %d told; %v", len(got), len(want), done, total, err)
		}
		if left := readDir(t, filepath.Dir(out)); len(left) != 1 {
			t.Errorf("%d files, want one", len(left))
		}
		if err := os.Remove(out); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever goes wrong, what was there stays and nothing is left behind.
func TestWriteFileFails(t *testing.T) {
	all, _ := parts(t)
	broken := append(all[:2:2], checkpoint.Part{Bytes: 10, Step: 3, Fill: func([]byte, int64) error { return errors.New("no such row") }})
	full := func(dst, src *os.File, dstOff, srcOff, n int64) (int64, error) { return 0, syscall.ENOSPC }
	gone, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	var none checkpoint.WriteOptions
	for _, c := range []struct {
		name  string
		ctx   context.Context
		out   string // "" for a new one
		parts []checkpoint.Part
		opt   checkpoint.WriteOptions
		is    error
		want  string
	}{
		{"disk too small", t.Context(), "", all, none.WithFree(1000), checkpoint.ErrNoSpace, "needed"},
		{"disk that fills up", t.Context(), "", all, none.WithCopy(full), checkpoint.ErrNoSpace, "free some and run it again"},
		{"a part that cannot be made", t.Context(), "", broken, none, nil, "no such row"},
		{"cancelled", gone, "", all, none, stopped, "stopped"},
		{"an output that exists", t.Context(), "old.gguf", all, none, checkpoint.ErrExists, "output exists"},
		{"a directory", t.Context(), "folder", all, checkpoint.WriteOptions{Force: true}, checkpoint.ErrExists, "is a directory"},
		{"another kind of file", t.Context(), "letter.txt", all, checkpoint.WriteOptions{Force: true}, checkpoint.ErrExists, "does not begin with GGUF"},
		{"a link to nowhere", t.Context(), "link", all, checkpoint.WriteOptions{Force: true}, checkpoint.ErrExists, "link to nowhere"},
	} {
		dir := t.TempDir()
		for name, content := range map[string]string{"old.gguf": "GGUF of old", "letter.txt": "Dear all"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "folder"), 0o777), os.Symlink("nowhere", filepath.Join(dir, "link"))); err != nil {
			t.Fatal(err)
		}
		before := readDir(t, dir)
		out := c.out
		if out == "" {
			out = "new.gguf"
		}
		_, err := checkpoint.WriteFile(c.ctx, filepath.Join(dir, out), "GGUF", c.parts, c.opt)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if diff := cmp.Diff(before, readDir(t, dir)); diff != "" {
			t.Errorf("%s: left behind: %s", c.name, diff)
		}
	}
}

func TestWriteFileForce(t *testing.T) {
	all, want := parts(t)
	out := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(out, []byte("GGUF of old"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.WriteFile(t.Context(), out, "GGUF", all, checkpoint.WriteOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d: %v", len(got), len(want), err)
	}
}
