package checkpoint_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/safetensors"
)

// sized makes a checkpoint of 20 layers and about the given size. The file is
// sparse unless fill is set, so that a test costs no disk.
func sized(t testing.TB, megabytes int, fill bool) string {
	t.Helper()
	dir := t.TempDir()
	const perLayer = 4
	columns := megabytes * 1_000_000 / (20 * perLayer * 1000 * 2)
	var tensors []safetensors.Tensor
	for i := range 20 {
		for k := range perLayer {
			tensors = append(tensors, safetensors.Tensor{Name: fmt.Sprintf("model.layers.%d.w%d", i, k),
				DType: safetensors.BF16, Shape: []int{1000, columns}})
		}
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at, err := safetensors.WriteHeader(f, tensors, map[string]string{"format": "pt"})
	if err != nil {
		t.Fatal(err)
	}
	var data int64
	for _, info := range tensors {
		data += info.Elements() * int64(info.DType.Size())
	}
	if fill {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = byte(i*i) & 0x3f
		}
		for left := data; left > 0; left -= int64(len(block)) {
			if _, err := f.Write(block[:min(left, int64(len(block)))]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Truncate(at + data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// BenchmarkWrite prunes a fifth of the layers, and copies and syncs the same
// file as cp would, to compare with. Compare them at the size
// of a real model:
//
//	COPPICE_BENCH_MB=2000 go test ./checkpoint -run '^$' -bench Write -benchtime 1x -count 10 | benchstat -col /how -
func BenchmarkWrite(b *testing.B) {
	megabytes, err := strconv.Atoi(os.Getenv("COPPICE_BENCH_MB"))
	if err != nil {
		megabytes = 64
	}
	c := mustOpen(b, sized(b, megabytes, true))
	b.Run("how=prune", func(b *testing.B) {
		for b.Loop() {
			w := mustWrite(b, c, filepath.Join(b.TempDir(), "out"), checkpoint.Surgery{Rename: dropLayers(1, 6, 11, 16)}, checkpoint.WriteOptions{})
			b.SetBytes(w.Bytes)
		}
	})
	b.Run("how=copy", func(b *testing.B) {
		for b.Loop() {
			b.SetBytes(copyAndSync(b, filepath.Join(c.Dir(), "model.safetensors"), filepath.Join(b.TempDir(), "out")))
		}
	})
}

func copyAndSync(b *testing.B, from, to string) int64 {
	src, err := os.Open(from)
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		b.Fatal(err)
	}
	defer dst.Close()
	n, err := io.Copy(dst, src)
	if err != nil {
		b.Fatal(err)
	}
	if err := dst.Sync(); err != nil {
		b.Fatal(err)
	}
	return n
}

func BenchmarkDeepCheck(b *testing.B) {
	dir := sized(b, 64, true)
	for b.Loop() {
		checkpoint.Check(context.Background(), dir, true, func(_, total int64) { b.SetBytes(total) })
	}
}
