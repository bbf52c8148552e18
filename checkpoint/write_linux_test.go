package checkpoint_test

import (
	"context"
	"math"
	"path/filepath"
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
