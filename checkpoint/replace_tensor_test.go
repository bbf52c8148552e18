package checkpoint_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/safetensors"
)

// TestReplace: a copy takes replaced tensors from elsewhere, in another dtype and
// shape too, adds those it has no place for, and keeps the bytes of all others.
func TestReplace(t *testing.T) {
	for _, name := range []string{"llama", "qwen2"} { // one file; three with an index
		t.Run(name, func(t *testing.T) {
			c := mustOpen(t, testkit.GoldenDir(t, name)+"/checkpoint")
			old := sums(t, c)
			made := func(n int, b byte) checkpoint.Tensor {
				return checkpoint.Tensor{DType: safetensors.F32, Shape: []int{n}, Read: func(dst []byte, at int64) error {
					for i := range dst {
						dst[i] = b + byte(at+int64(i))%7
					}
					return nil
				}}
			}
			out := filepath.Join(t.TempDir(), "out")
			mustWrite(t, c, out, checkpoint.Surgery{Replace: map[string]checkpoint.Tensor{
				"model.norm.weight": made(300_000, 5), "added.weight": made(3, 9),
			}}, checkpoint.WriteOptions{})
			got := mustOpen(t, out)
			for tensor, n := range map[string]int{"model.norm.weight": 300_000, "added.weight": 3} {
				info, ok := got.Tensor(tensor)
				if !ok || info.DType != safetensors.F32 || len(info.Shape) != 1 || info.Shape[0] != n {
					t.Fatalf("%s: %+v, want F32 [%d]", tensor, info, n)
				}
			}
			raw, err := got.Data("model.norm.weight")
			if err != nil {
				t.Fatal(err)
			}
			want := make([]byte, 1_200_000)
			_ = made(0, 5).Read(want, 0)
			if !bytes.Equal(raw, want) {
				t.Error("model.norm.weight does not hold what replaced it")
			}
			now := sums(t, got)
			for tensor, sum := range old {
				if tensor != "model.norm.weight" && now[tensor] != sum {
					t.Errorf("%s: its bytes changed", tensor)
				}
			}
			if len(now) != len(old)+1 {
				t.Errorf("%d tensors, want %d", len(now), len(old)+1)
			}
		})
	}
}
