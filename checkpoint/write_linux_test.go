package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coppice-ml/coppice/checkpoint"
)

// A real full disk, where one can be had.
func TestDiskFullForReal(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("skipped: a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(mount, unix.MNT_DETACH) })
	dir := makeDir(t, map[string]string{"config.json": "{}", "model.safetensors": string(weights(t, nil, 200_000, "a", "b"))})
	c := mustOpen(t, dir)
	out := filepath.Join(mount, "out")
	failToWrite(t, context.Background(), c, out, checkpoint.WriteOptions{}, checkpoint.ErrNoSpace, "needed")
	blind := checkpoint.WriteOptions{}.WithFree(math.MaxInt64)
	failToWrite(t, context.Background(), c, out, blind, checkpoint.ErrNoSpace, "model.safetensors", "free some")
	failToWrite(t, context.Background(), c, out, blind.WithoutKernelCopy(), checkpoint.ErrNoSpace, "model.safetensors", "free some")
	made := []checkpoint.Part{{Bytes: 200_000, Step: 1000, Fill: func([]byte, int64) error { return nil }}}
	_, err := checkpoint.WriteFile(t.Context(), filepath.Join(mount, "m.gguf"), "GGUF", made, blind)
	if !errors.Is(err, checkpoint.ErrNoSpace) || !strings.Contains(err.Error(), "no part of it was left behind") {
		t.Errorf("a file that is made: %v", err)
	}
	if left := readDir(t, mount); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", unix.MS_RDONLY, ""); err != nil {
		t.Skipf("skipped: a file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(mount, unix.MNT_DETACH) })
	c := mustOpen(t, makeDir(t, layered(t, 1)))
	failToWrite(t, context.Background(), c, filepath.Join(mount, "out"), checkpoint.WriteOptions{}.WithFree(math.MaxInt64), nil, mount, "choose another")
}

// Neither writing nor a deep check may grow with the checkpoint.
func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: writes 400 MB")
	}
	c := mustOpen(t, sized(t, 500, false))
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // forget the peak of other tests
	for _, opt := range []checkpoint.WriteOptions{{}, checkpoint.WriteOptions{}.WithoutKernelCopy()} {
		mustWrite(t, c, filepath.Join(t.TempDir(), "out"), checkpoint.Surgery{Rename: dropLayers(1, 6, 11, 16)}, opt)
	}
	if problems := c.Problems(context.Background(), true, nil); len(problems) > 0 {
		t.Error(problems)
	}
	if peak := peakMemory(t); peak > 150<<20 {
		t.Errorf("peak resident set of %d MiB", peak>>20)
	}
}

func peakMemory(t *testing.T) int64 {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	var kib int64
	_, after, _ := strings.Cut(string(raw), "VmHWM:")
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
