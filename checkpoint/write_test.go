package checkpoint_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/checkpoint"
)

// failToWrite expects a write to fail and to leave the output's parent as it was.
func failToWrite(t *testing.T, ctx context.Context, c *checkpoint.Checkpoint, out string, opt checkpoint.WriteOptions, is error, want ...string) {
	t.Helper()
	parent := filepath.Dir(out)
	before := readDir(t, parent)
	_, err := checkpoint.Write(ctx, c, out, checkpoint.Surgery{Rename: dropLayers(1)}, opt)
	if err == nil {
		t.Fatal("written")
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("%v is not %v", err, is)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error lacks %q: %v", w, err)
		}
	}
	if diff := cmp.Diff(before, readDir(t, parent)); diff != "" {
		t.Errorf("left behind: %s", diff)
	}
}

func TestWriteExists(t *testing.T) {
	c := mustOpen(t, makeDir(t, layered(t, 2)))
	tests := []struct {
		name  string
		files map[string]string
		force bool
		ok    bool
		want  string
	}{
		{"checkpoint", map[string]string{"config.json": "{}", "model.safetensors": "old"}, false, false, "output exists"},
		{"empty", nil, false, false, "output exists"},
		{"checkpoint, forced", map[string]string{"config.json": "{}", "model.safetensors": "old", "coppice_plan.json": "{}"}, true, true, ""},
		{"empty, forced", nil, true, true, ""},
		{"documents, forced", map[string]string{"letter.odt": "dear"}, true, false, "letter.odt"},
		{"checkpoint and documents, forced", map[string]string{"config.json": "{}", "model.safetensors": "x", "letter.odt": "dear"}, true, false, "letter.odt"},
		{"home with dot files, forced", map[string]string{"config.json": "{}", "model.safetensors": "x", ".bashrc": "x"}, true, false, ".bashrc"},
		{"folders, forced", map[string]string{"config.json": "{}", "model.safetensors": "x", "src/main.c": "x"}, true, false, `folder "src"`},
		{"only notes, forced", map[string]string{"a.txt": "x", "b.json": "{}"}, true, false, "is not a checkpoint"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := makeDir(t, tt.files)
			opt := checkpoint.WriteOptions{Force: tt.force}
			if !tt.ok {
				before := readDir(t, out)
				failToWrite(t, context.Background(), c, out, opt, checkpoint.ErrExists, tt.want)
				if diff := cmp.Diff(before, readDir(t, out)); diff != "" {
					t.Error(diff)
				}
				return
			}
			mustWrite(t, c, out, checkpoint.Surgery{}, opt)
			mustOpen(t, out)
			if got := len(readDir(t, filepath.Dir(out))); got != 1 {
				t.Errorf("%d entries beside the output", got)
			}
		})
	}
}

func TestWriteOverFile(t *testing.T) {
	c := mustOpen(t, makeDir(t, layered(t, 1)))
	out := filepath.Join(makeDir(t, map[string]string{"f": "x"}), "f")
	failToWrite(t, context.Background(), c, out, checkpoint.WriteOptions{}, checkpoint.ErrExists)
	failToWrite(t, context.Background(), c, out, checkpoint.WriteOptions{Force: true}, checkpoint.ErrExists, "not a directory")
}

func TestWriteInside(t *testing.T) {
	parent := t.TempDir()
	src := filepath.Join(parent, "models", "src")
	if err := os.MkdirAll(filepath.Dir(src), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(makeDir(t, layered(t, 2)), src); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(parent, "link")
	if err := os.Symlink(src, link); err != nil {
		t.Skipf("skipped: no symbolic links here: %v", err)
	}
	c := mustOpen(t, src)
	viaLink := mustOpen(t, link)
	for _, out := range []string{src, src + "/.", link, filepath.Join(src, "out"), filepath.Join(src, "a", "b"),
		filepath.Join(link, "out"), filepath.Join(link, "a", "b"), filepath.Dir(src), parent} {
		for _, source := range []*checkpoint.Checkpoint{c, viaLink} {
			_, err := checkpoint.Write(context.Background(), source, out, checkpoint.Surgery{}, checkpoint.WriteOptions{Force: true})
			if !errors.Is(err, checkpoint.ErrInside) {
				t.Errorf("%s to %s: got %v", source.Dir(), out, err)
			}
		}
	}
	// A name that merely begins alike is apart.
	mustWrite(t, c, src+"-out", checkpoint.Surgery{}, checkpoint.WriteOptions{})
}

// The hub's cache holds links to blobs; the copy must hold the content, and
// must not replace what the links lead to.
func TestWriteFollowsLinks(t *testing.T) {
	blobs := makeDir(t, layered(t, 2))
	snapshot := t.TempDir()
	for name := range layered(t, 2) {
		if err := os.Symlink(filepath.Join(blobs, name), filepath.Join(snapshot, name)); err != nil {
			t.Skipf("skipped: no symbolic links here: %v", err)
		}
	}
	c := mustOpen(t, snapshot)
	out := filepath.Join(t.TempDir(), "out")
	w := mustWrite(t, c, out, checkpoint.Surgery{}, checkpoint.WriteOptions{})
	for _, name := range w.Files {
		if info, err := os.Lstat(filepath.Join(out, name)); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s is not a plain file (%v)", name, err)
		}
	}
	failToWrite(t, context.Background(), c, blobs, checkpoint.WriteOptions{Force: true}, checkpoint.ErrInside)
}

func TestWriteChecksSpace(t *testing.T) {
	c := mustOpen(t, makeDir(t, layered(t, 2)))
	out := filepath.Join(t.TempDir(), "not", "yet", "there")
	opt := checkpoint.WriteOptions{}.WithFree(100)
	_, err := checkpoint.Write(context.Background(), c, out, checkpoint.Surgery{}, opt)
	if !errors.Is(err, checkpoint.ErrNoSpace) || !strings.Contains(err.Error(), "needed, 100 bytes free") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Dir(out)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directories were made: %v", err)
	}
	mustWrite(t, c, out, checkpoint.Surgery{}, checkpoint.WriteOptions{})
}

func TestDiskFillsUp(t *testing.T) {
	c := mustOpen(t, makeDir(t, layered(t, 3)))
	var copied atomic.Int64
	full := checkpoint.WriteOptions{}.WithCopy(func(_, _ *os.File, _, _, n int64) (int64, error) {
		if copied.Add(1) > 2 {
			return 0, os.NewSyscallError("copy_file_range", syscall.ENOSPC)
		}
		return n, nil
	})
	failToWrite(t, context.Background(), c, filepath.Join(t.TempDir(), "out"), full, checkpoint.ErrNoSpace, "out: write ", "free some")
}

func TestSourceShrinks(t *testing.T) {
	dir := makeDir(t, layered(t, 1))
	c := mustOpen(t, dir)
	if err := os.Truncate(filepath.Join(dir, "model.safetensors"), 1400); err != nil {
		t.Fatal(err)
	}
	failToWrite(t, context.Background(), c, filepath.Join(t.TempDir(), "out"), checkpoint.WriteOptions{}, nil, "became shorter")
}

func TestWriteCancelled(t *testing.T) {
	c := mustOpen(t, makeDir(t, layered(t, 5)))
	why := errors.New("the user pressed a key")
	ctx, cancel := context.WithCancelCause(context.Background())
	calls := 0
	opt := checkpoint.WriteOptions{Progress: func(done, total int64) {
		if calls++; calls == 4 {
			cancel(why)
		}
	}}
	failToWrite(t, ctx, c, filepath.Join(t.TempDir(), "out"), opt, why)
	failToWrite(t, ctx, c, filepath.Join(t.TempDir(), "out"), checkpoint.WriteOptions{}, why)
}

func TestForcedWriteThatFailsKeepsTheOld(t *testing.T) {
	c := mustOpen(t, makeDir(t, layered(t, 2)))
	out := makeDir(t, map[string]string{"config.json": "{}", "model.safetensors": "old"})
	full := checkpoint.WriteOptions{Force: true}.WithCopy(func(_, _ *os.File, _, _, _ int64) (int64, error) { return 0, syscall.ENOSPC })
	failToWrite(t, context.Background(), c, out, full, checkpoint.ErrNoSpace)
	if got := readDir(t, out)["model.safetensors"]; got != "old" {
		t.Errorf("the old output has %q", got)
	}
}

func TestReadOnlyParent(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("skipped: root writes to directories whatever their permissions")
	}
	parent := t.TempDir()
	if err := os.Chmod(parent, 0o555); err != nil {
		t.Fatal(err)
	}
	c := mustOpen(t, makeDir(t, layered(t, 1)))
	failToWrite(t, context.Background(), c, filepath.Join(parent, "out"), checkpoint.WriteOptions{}, fs.ErrPermission, parent, "choose another")
}

func TestProgress(t *testing.T) {
	c := mustOpen(t, makeDir(t, layered(t, 3)))
	var last, total int64
	opt := checkpoint.WriteOptions{Progress: func(done, all int64) {
		if done < last {
			t.Errorf("progress went back from %d to %d", last, done)
		}
		last, total = done, all
	}}
	w := mustWrite(t, c, filepath.Join(t.TempDir(), "out"), checkpoint.Surgery{Rename: dropLayers(2)}, opt)
	if last != total || total != w.Bytes || total == 0 {
		t.Errorf("progress ended at %d of %d, %d bytes were written", last, total, w.Bytes)
	}
}
